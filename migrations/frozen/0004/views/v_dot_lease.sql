-- The leases as they stand. A row is never deleted, so one that is over still shows who had it last. One
-- that ends more than an hour from now was written by a clock that ran ahead, and is over.
create or replace view dot.v_dot_lease with (security_barrier = true) as
select
    l.lease_key,
    case
        when starts_with(l.lease_key, 'dot_exec:') then substr(l.lease_key, 10)
    end as process_candidate_code,
    l.expires_at > statement_timestamp()
        and l.expires_at <= statement_timestamp() + interval '1 hour' as is_live,
    l.holder,
    l.session_actor,
    l.token,
    l.acquired_at,
    l.expires_at
from dot.dot_iu_runtime_lease as l
cross join (values (true)) as one_row (unused);

revoke all on dot.v_dot_lease
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_dot_lease to dot_reader, dot_gatekeeper, dot_writer;

comment on view dot.v_dot_lease is
    'The leases: live or over, holder, token, and the candidate they are for.';
comment on column dot.v_dot_lease.lease_key is
    'What is leased: dot_exec:<candidate> for the runs of a candidate.';
comment on column dot.v_dot_lease.process_candidate_code is
    'The candidate that it is for; NULL where it is for none.';
comment on column dot.v_dot_lease.is_live is 'Whether it is live now.';
comment on column dot.v_dot_lease.holder is 'Who holds it, as the call claims.';
comment on column dot.v_dot_lease.session_actor is 'The database login that took it.';
comment on column dot.v_dot_lease.token is 'The fencing token, which only grows.';
comment on column dot.v_dot_lease.acquired_at is 'When it was acquired.';
comment on column dot.v_dot_lease.expires_at is 'When it ends or ended.';
