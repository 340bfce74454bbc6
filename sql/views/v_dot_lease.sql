-- The leases as they stand. A row is never deleted, so one that is over still shows who had it last.
-- A view of one table could be written through by a login that may write all data, with the rights of the view's owner: it is
-- a join, which cannot.
create or replace view dot.v_dot_lease with (security_barrier = true) as
select
    l.lease_key,
    case when starts_with(l.lease_key, 'dot_exec:') then substr(l.lease_key, 10) end as process_candidate_code,
    l.expires_at > statement_timestamp() as is_live,
    l.holder,
    l.session_actor,
    l.token,
    l.acquired_at,
    l.expires_at
from dot.dot_iu_runtime_lease as l
cross join (values (true)) as one_row (unused);

revoke all on dot.v_dot_lease
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_dot_lease to dot_reader;

comment on view dot.v_dot_lease is 'The leases: live or over, holder, token, and the candidate they are for.';
