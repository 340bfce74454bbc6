-- What no definition shows: one row for each thing that is wrong with what the rows hold, and none where all
-- is well. A restore, a copy or a statement past the functions leaves such things. Each look takes some rows
-- by an index, so that the cost grows with the gates and candidates, and not with the ledger.
create or replace view dot.v_dot_state with (security_barrier = true) as
select
    'gate_missing' as finding, g.key as subject,
    'it has no row or no value: it is off, and cannot be moved' as detail
from dot.v_dot_gate as g
where g.value is null

union all
select 'gate_not_opened_here', g.key, 'its value is true and it is off: ' || g.own_off_because
from dot.fn_gate_status() as g
where g.value = 'true' and g.own_off_because is not null

union all
select 'event_type_missing', t.event_type, 'it has no row: an observation of that type writes no event'
from unnest(array[
    'process.run.observed',
    'process.run.started',
    'process.run.completed',
    'process.run.failed',
    'process.run.cancelled',
    'process.component.observed',
    'process.component.step_started',
    'process.component.step_completed',
    'process.component.failed',
    'process.component.cancelled'
]) as t (event_type)
where not exists (select from dot.event_type as e where e.event_type = t.event_type)

union all
select 'cursor_missing', 'dot.outbox_cursor', 'it has no row: nothing is delivered'
where not exists (select from dot.outbox_cursor)

-- A position that nothing written here can come after: an epoch that was not begun, or a transaction that
-- this server has not had.
union all
select
    p.finding, p.subject,
    'it stands at epoch ' || p.epoch || ', transaction ' || p.xact_id || '; the last epoch is '
    || coalesce(l.epoch::text, 'none') || ', and this server''s next transaction '
    || pg_snapshot_xmax(pg_current_snapshot())
from (
    select 'cursor_ahead' as finding, 'dot.outbox_cursor' as subject, c.epoch, c.xact_id
    from dot.outbox_cursor as c
    union all
    select 'event_ahead' as finding, 'dot.event_outbox' as subject, o.epoch, o.xact_id
    from (
        select e.epoch, e.xact_id from dot.event_outbox as e
        order by e.epoch desc, e.xact_id desc, e.id desc
        limit 1
    ) as o
) as p
cross join dot.fn_database_identity() as i
left join (
    select e.epoch, e.system_identifier, e.database_oid
    from dot.outbox_epoch as e
    order by e.epoch desc
    limit 1
) as l on true
where p.epoch > coalesce(l.epoch, 0)
    or (
        p.epoch = l.epoch and p.xact_id >= pg_snapshot_xmax(pg_current_snapshot())
        and l.system_identifier = i.system_identifier and l.database_oid = i.database_oid
    )

-- The outbox needs no look: an id has to be unique in its transaction alone.
union all
select 'sequence_behind', s.name, 'it goes on at ' || s.next || ', and its table has ' || s.used
from (
    select 'dot.job_queue_job_id_seq' as name, q.last_value + q.is_called::integer as next, t.used
    from dot.job_queue_job_id_seq as q
    cross join (select max(j.job_id) as used from dot.job_queue as j) as t
) as s
where s.used >= s.next

-- A token that a run has had already would let a crashed holder of it go on.
union all
select
    'lease_behind', 'dot_exec:' || c.code,
    'it stands at token ' || coalesce(l.token::text, 'none') || ', and a run was under ' || r.lease_token
from dot.process_candidate as c
cross join lateral (
    select max(latest.lease_token) as lease_token
    from unnest(array['DRY_RUN', 'REAL_RUN']) as t (evidence_type)
    cross join lateral (
        select o.lease_token
        from dot.process_run_observation as o
        where o.process_candidate_code = c.code and o.evidence_type = t.evidence_type
            and o.evidence_type <> 'SIMULATED_DRY_RUN'
        order by o.lease_token desc
        limit 1
    ) as latest
) as r
left join dot.dot_iu_runtime_lease as l on l.lease_key = 'dot_exec:' || c.code
where r.lease_token > coalesce(l.token, 0);

revoke all on dot.v_dot_state
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_dot_state to dot_reader;

comment on view dot.v_dot_state is
    'What is wrong with the rows that no definition shows; no row where all is well.';
comment on column dot.v_dot_state.finding is 'What is wrong, in a word.';
comment on column dot.v_dot_state.subject is 'What it is wrong with.';
comment on column dot.v_dot_state.detail is 'What that means here.';
