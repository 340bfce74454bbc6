-- Records many observations in one call, headers and components, one line of the arrays each: p_component_role is NULL for a header,
-- and for a component p_evidence_type, p_dry_run and p_parent_run_id are. Per line says what became of it: created, stored before
-- under its key (created = false), or refused (created is NULL, and the five refused_ columns say why). A component follows its
-- header: where the header's line was stored before under another run, its components of this batch go on with that run.
--
-- Rules, order of checks and refusals are those of fn_process_run_observe and fn_process_component_observe. New simulations are
-- stored together, by conditions that are those functions' own, and so are their events; whatever these leave goes through the
-- functions, one by one, and they say what is wrong with it. What the host refuses of the events of lines stored together ends
-- the batch.
--
-- Atomic: the first refusal is raised, its line named, and nothing is stored. Otherwise a refused line costs no other one.
-- The planner takes every batch for a line or two, and a plan made while the ledger was empty is kept while it grows. So nothing
-- here is joined to what has many lines: the rows that a line needs are looked up by their whole key, and the rest is grouped.
-- Locks: those of the functions. Plain lines are stored in the order of candidate and key, so that two batches of them wait for each
-- other in one order; where others are among them a deadlock is possible, and the batch is repeated. A line that goes through the
-- functions is a subtransaction: of many that write keep a batch below 64.
-- Raises what the functions raise, when atomic, and 40001 and 40P01 either way; 23502 (process_observe_batch_lines_not_null) and 23514
-- (process_observe_batch_lines_check) where the arrays do not fit. A component's line that says what only a header says is refused
-- as process_observe_batch_component_check.
create or replace function dot.fn_process_observe_batch(
    p_process_candidate_code text[],
    p_dot_code text[],
    p_process_run_id uuid[],
    p_correlation_id text[],
    p_component_role text[],
    p_evidence_type text[],
    p_dry_run boolean[],
    p_status text[],
    p_actor text[],
    p_idempotency_key text[],
    p_parent_run_id uuid[],
    p_input_ref text[],
    p_output_ref text[],
    p_error_ref text[],
    p_evidence_ref jsonb[],
    p_lease_token bigint[],
    p_atomic boolean,
    out line integer,
    out process_run_id uuid,
    out correlation_id text,
    out component_id uuid,
    out created boolean,
    out refused_sqlstate text,
    out refused_constraint text,
    out refused_message text,
    out refused_detail text,
    out refused_hint text
)
returns setof record
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $function$
declare
    v_lines integer := cardinality(p_process_candidate_code);
    v_runs integer[];
    v_components integer[];
    v_run_ids uuid[];
    v_correlation_ids text[];
    v_component_ids uuid[];
    v_events jsonb[];
    v_one record;
    v_asked_candidate text;
    v_asked_run_id uuid;
    v_asked_correlation_id text;
    v_told_run_id uuid;
    v_told_correlation_id text;
    v_table text;
    v_column text;
begin
    if num_nulls(
        p_process_candidate_code, p_dot_code, p_process_run_id, p_correlation_id, p_component_role, p_evidence_type, p_dry_run,
        p_status, p_actor, p_idempotency_key, p_parent_run_id, p_input_ref, p_output_ref, p_error_ref, p_evidence_ref,
        p_lease_token, p_atomic
    ) > 0 then
        raise not_null_violation using
            message = 'an array of a batch, or p_atomic, is NULL',
            hint = 'Pass every array, with NULL as the element of a line that has no such value.',
            schema = 'dot', constraint = 'process_observe_batch_lines_not_null';
    end if;
    if (
        v_lines <= 10000
        and v_lines = all (array[
            cardinality(p_dot_code), cardinality(p_process_run_id), cardinality(p_correlation_id),
            cardinality(p_component_role), cardinality(p_evidence_type), cardinality(p_dry_run), cardinality(p_status),
            cardinality(p_actor), cardinality(p_idempotency_key), cardinality(p_parent_run_id), cardinality(p_input_ref),
            cardinality(p_output_ref), cardinality(p_error_ref), cardinality(p_evidence_ref), cardinality(p_lease_token)
        ])
    ) is not true then
        raise check_violation using
            message = 'the arrays of a batch are not of one length',
            hint = 'Each has one element a line, NULL where the line has no such value, and at most 10,000.',
            schema = 'dot', constraint = 'process_observe_batch_lines_check';
    end if;

    -- Headers: new simulations of a known DOT that is the candidate's producer, under a key that is not stored.
    with
    asked as materialized (
        select l.*, dot.fn_status_stored(l.status) as stored_status
        from (
            select
                l.*,
                l.nth::integer as line,
                -- Of lines that compete for a row or a key the first comes first, whatever is wrong with it.
                min(l.nth) over (partition by l.process_candidate_code, l.process_run_id) as first_of_row,
                min(l.nth) over (partition by l.process_candidate_code, l.idempotency_key) as first_of_key
            from unnest(
                p_process_candidate_code, p_dot_code, p_process_run_id, p_correlation_id, p_component_role, p_evidence_type,
                p_dry_run, p_status, p_actor, p_idempotency_key, p_parent_run_id, p_input_ref, p_output_ref, p_error_ref,
                p_evidence_ref, p_lease_token
            ) with ordinality as l (
                process_candidate_code, dot_code, process_run_id, correlation_id, component_role, evidence_type, dry_run, status,
                actor, idempotency_key, parent_run_id, input_ref, output_ref, error_ref, evidence_ref, lease_token, nth
            )
            where l.component_role is null
        ) as l
        where l.nth = l.first_of_row
            and (l.idempotency_key is null or l.nth = l.first_of_key)
            and l.evidence_type = 'SIMULATED_DRY_RUN'
            and l.lease_token is null
            and dot.fn_run_input_problem(
                l.process_candidate_code, l.dot_code, l.process_run_id, l.correlation_id, l.evidence_type, l.dry_run, l.status,
                l.actor, l.idempotency_key, l.parent_run_id, l.input_ref, l.output_ref, l.error_ref, l.evidence_ref
            ) is null
    ),
    -- NULL: the DOT is not in the catalogue.
    wanted as materialized (
        select d.dot_code, d.stored_status, dot.fn_host_dot_event_wanted(d.dot_code, dot.fn_event_type('run', d.stored_status)) as event
        from (select distinct a.dot_code, a.stored_status from asked as a) as d
    ),
    plain as materialized (
        select a.*
        from asked as a
        join dot.process_candidate as c on c.code = a.process_candidate_code and c.producer_dot_code = a.dot_code
        where (a.dot_code in (select w.dot_code from wanted as w where w.event is not null)) is true
            and not exists (
                select from dot.process_run_observation as s
                where s.process_candidate_code = a.process_candidate_code and s.idempotency_key = a.idempotency_key
            )
    ),
    stored as (
        insert into dot.process_run_observation as r (
            process_run_id, parent_run_id, observed_at, dry_run, process_candidate_code, dot_code, correlation_id,
            evidence_type, status, actor, session_actor, idempotency_key, input_ref, output_ref, error_ref, evidence_ref
        )
        select
            a.process_run_id, a.parent_run_id, clock_timestamp(), a.dry_run, a.process_candidate_code, a.dot_code,
            a.correlation_id, a.evidence_type, a.stored_status, a.actor, session_user, a.idempotency_key, a.input_ref,
            a.output_ref, a.error_ref, dot.fn_evidence_stored(a.status, a.evidence_ref)
        from (
            select p.* from plain as p
            order by p.process_candidate_code, coalesce(p.idempotency_key, p.process_run_id::text)
        ) as a
        on conflict do nothing
        returning r.*
    )
    -- Which line each stored row is of: the one plain line of its run.
    select
        array_agg(f.line), array_agg(f.process_run_id), array_agg(f.correlation_id),
        (
            select array_agg(jsonb_build_object(
                'process_candidate_code', s.process_candidate_code, 'process_run_id', s.process_run_id,
                'correlation_id', s.correlation_id, 'parent_run_id', s.parent_run_id, 'dot_code', s.dot_code,
                'evidence_type', s.evidence_type, 'dry_run', s.dry_run, 'status', s.status, 'actor', s.actor
            ) order by s.process_candidate_code, coalesce(s.idempotency_key, s.process_run_id::text))
            from stored as s
            where (s.dot_code, s.status) in (select w.dot_code, w.stored_status from wanted as w where w.event)
        )
    into v_runs, v_run_ids, v_correlation_ids, v_events
    from (
        select max(b.line) as line, b.process_run_id, max(b.correlation_id) as correlation_id
        from (
            select p.line, p.process_candidate_code, p.process_run_id, p.correlation_id, false as is_stored from plain as p
            union all
            select null, s.process_candidate_code, s.process_run_id, null, true from stored as s
        ) as b
        group by b.process_candidate_code, b.process_run_id
        having bool_or(b.is_stored)
    ) as f;
    perform dot.fn_host_outbox_append(
        'process_run', e.event ->> 'process_run_id', dot.fn_event_type('run', e.event ->> 'status'), e.event
    ) from unnest(v_events) as e (event);
    return query
        select f.line, f.process_run_id, f.correlation_id, null::uuid, true, null, null, null, null, null
        from unnest(v_runs, v_run_ids, v_correlation_ids) as f (line, process_run_id, correlation_id);

    -- Components: of a simulation that is open to them, by the DOT that has the role, under a key that is not stored.
    with
    asked as materialized (
        select l.*, dot.fn_component_status_stored(l.status) as stored_status
        from (
            select
                l.*,
                min(l.nth) over (
                    partition by l.process_candidate_code, l.process_run_id, l.component_role, l.stage
                ) as first_of_row,
                min(l.nth) over (
                    partition by l.process_candidate_code, l.idempotency_key, l.component_role is null
                ) as first_of_key,
                -- Where the header is in this batch and not stored yet, its components wait for the run that it is stored under.
                bool_or(l.component_role is null and (l.line = any (v_runs)) is not true) over (
                    partition by l.process_candidate_code, l.process_run_id
                ) as header_is_left
            from (
                select
                    l.*,
                    l.nth::integer as line,
                    dot.fn_component_stage(dot.fn_component_status_stored(l.status)) as stage
                from unnest(
                    p_process_candidate_code, p_dot_code, p_process_run_id, p_correlation_id, p_component_role, p_evidence_type,
                    p_dry_run, p_status, p_actor, p_idempotency_key, p_parent_run_id, p_input_ref, p_output_ref, p_error_ref,
                    p_evidence_ref, p_lease_token
                ) with ordinality as l (
                    process_candidate_code, dot_code, process_run_id, correlation_id, component_role, evidence_type, dry_run, status,
                    actor, idempotency_key, parent_run_id, input_ref, output_ref, error_ref, evidence_ref, lease_token, nth
                )
            ) as l
        ) as l
        where l.nth = l.first_of_row
            and (l.idempotency_key is null or l.nth = l.first_of_key)
            and not l.header_is_left
            and num_nonnulls(l.evidence_type, l.dry_run, l.parent_run_id, l.lease_token) = 0
            and dot.fn_component_input_problem(
                l.process_candidate_code, l.dot_code, l.process_run_id, l.correlation_id, l.component_role, l.status, l.actor,
                l.idempotency_key, l.input_ref, l.output_ref, l.error_ref, l.evidence_ref
            ) is null
    ),
    -- NULL: the DOT is not in the catalogue.
    wanted as materialized (
        select d.dot_code, d.stored_status, dot.fn_host_dot_event_wanted(d.dot_code, dot.fn_event_type('component', d.stored_status)) as event
        from (select distinct a.dot_code, a.stored_status from asked as a) as d
    ),
    plain as materialized (
        select a.*, r.evidence_type as header_evidence_type
        from asked as a
        join dot.process_candidate as c
            on c.code = a.process_candidate_code
            and a.dot_code = case a.component_role
                when 'producer' then c.producer_dot_code
                when 'verifier' then c.verifier_dot_code
            end
        cross join lateral (
            select h.evidence_type
            from dot.process_run_observation as h
            where h.process_candidate_code = a.process_candidate_code
                and h.process_run_id = a.process_run_id
                and h.correlation_id = a.correlation_id
                and h.evidence_type = 'SIMULATED_DRY_RUN'
                and h.status not in ('failed', 'cancelled', 'skipped', 'blocked')
            limit 1
        ) as r
        where (a.dot_code in (select w.dot_code from wanted as w where w.event is not null)) is true
            and not exists (
                select from dot.process_component_observation as s
                where s.process_candidate_code = a.process_candidate_code and s.idempotency_key = a.idempotency_key
            )
    ),
    stored as (
        insert into dot.process_component_observation as k (
            process_run_id, observed_at, process_candidate_code, component_role, stage, dot_code, correlation_id,
            evidence_type, status, actor, session_actor, idempotency_key, input_ref, output_ref, error_ref, evidence_ref
        )
        select
            -- The verifier's row comes after its producer's, and is later even where both fall into one microsecond.
            a.process_run_id,
            clock_timestamp() + case a.component_role when 'verifier' then interval '1 microsecond' else interval '0' end,
            a.process_candidate_code, a.component_role, a.stage, a.dot_code, a.correlation_id, a.header_evidence_type,
            a.stored_status, a.actor, session_user, a.idempotency_key, a.input_ref, a.output_ref, a.error_ref,
            dot.fn_evidence_stored(a.status, a.evidence_ref)
        from (
            select p.* from plain as p
            order by p.process_candidate_code, p.process_run_id, p.component_role, p.stage = 'ended', p.stage
        ) as a
        on conflict do nothing
        returning k.*
    )
    select
        array_agg(f.line), array_agg(f.process_run_id), array_agg(f.correlation_id), array_agg(f.component_id),
        (
            select array_agg(jsonb_build_object(
                'process_candidate_code', s.process_candidate_code, 'process_run_id', s.process_run_id,
                'component_id', s.component_id, 'component_role', s.component_role, 'correlation_id', s.correlation_id,
                'dot_code', s.dot_code, 'evidence_type', s.evidence_type, 'status', s.status, 'actor', s.actor
            ) order by s.process_candidate_code, s.process_run_id, s.component_role, s.stage = 'ended', s.stage)
            from stored as s
            where (s.dot_code, s.status) in (select w.dot_code, w.stored_status from wanted as w where w.event)
        )
    into v_components, v_run_ids, v_correlation_ids, v_component_ids, v_events
    from (
        select
            max(b.line) as line, b.process_run_id, max(b.correlation_id) as correlation_id,
            max(b.component_id)::uuid as component_id
        from (
            select
                p.line, p.process_candidate_code, p.process_run_id, p.component_role, p.stage, p.correlation_id,
                null as component_id
            from plain as p
            union all
            select
                null, s.process_candidate_code, s.process_run_id, s.component_role, s.stage, null, s.component_id::text
            from stored as s
        ) as b
        group by b.process_candidate_code, b.process_run_id, b.component_role, b.stage
        having max(b.component_id) is not null
    ) as f;
    perform dot.fn_host_outbox_append(
        'process_run', e.event ->> 'process_run_id', dot.fn_event_type('component', e.event ->> 'status'), e.event
    ) from unnest(v_events) as e (event);
    return query
        select f.line, f.process_run_id, f.correlation_id, f.component_id, true, null, null, null, null, null
        from unnest(v_components, v_run_ids, v_correlation_ids, v_component_ids)
            as f (line, process_run_id, correlation_id, component_id);

    if coalesce(cardinality(v_runs), 0) + coalesce(cardinality(v_components), 0) = v_lines then
        return;
    end if;

    -- What is left, by the functions. A header before its components, and all of a run under its header's key, so that every batch
    -- goes through the keys in the same order.
    for v_one in
        select l.*
        from (
            select
                l.*,
                l.nth::integer as line,
                min(coalesce(l.idempotency_key, l.process_run_id::text)) filter (where l.component_role is null)
                    over run as run_key,
                min(l.nth) filter (where l.component_role is null) over run as run_line
            from unnest(
                p_process_candidate_code, p_dot_code, p_process_run_id, p_correlation_id, p_component_role, p_evidence_type,
                p_dry_run, p_status, p_actor, p_idempotency_key, p_parent_run_id, p_input_ref, p_output_ref, p_error_ref,
                p_evidence_ref, p_lease_token
            ) with ordinality as l (
                process_candidate_code, dot_code, process_run_id, correlation_id, component_role, evidence_type, dry_run,
                status, actor, idempotency_key, parent_run_id, input_ref, output_ref, error_ref, evidence_ref, lease_token,
                nth
            )
            window run as (partition by l.process_candidate_code, l.process_run_id)
        ) as l
        where not exists (select from unnest(v_runs || v_components) as f (line) where f.line = l.line)
        order by
            l.process_candidate_code, coalesce(l.run_key, l.idempotency_key, l.process_run_id::text), l.run_line,
            l.component_role is not null, l.component_role, l.line
    loop
        line := v_one.line;
        component_id := null;
        created := null;
        refused_sqlstate := null;
        refused_constraint := null;
        refused_message := null;
        refused_detail := null;
        refused_hint := null;
        begin
            if v_one.component_role is null then
                select o.process_run_id, o.correlation_id, o.created into process_run_id, correlation_id, created
                from dot.fn_process_run_observe(
                    v_one.process_candidate_code, v_one.dot_code, v_one.process_run_id, v_one.correlation_id,
                    v_one.evidence_type, v_one.dry_run, v_one.status, v_one.actor, v_one.idempotency_key,
                    v_one.parent_run_id, v_one.input_ref, v_one.output_ref, v_one.error_ref, v_one.evidence_ref,
                    v_one.lease_token
                ) as o;
                v_asked_candidate := v_one.process_candidate_code;
                v_asked_run_id := v_one.process_run_id;
                v_asked_correlation_id := v_one.correlation_id;
                v_told_run_id := process_run_id;
                v_told_correlation_id := correlation_id;
            else
                if num_nonnulls(v_one.evidence_type, v_one.dry_run, v_one.parent_run_id) > 0 then
                    raise check_violation using
                        message = 'evidence type, dry_run and parent_run_id are the header''s alone',
                        schema = 'dot', constraint = 'process_observe_batch_component_check';
                end if;
                process_run_id := v_one.process_run_id;
                correlation_id := v_one.correlation_id;
                if (process_run_id = v_asked_run_id and v_one.process_candidate_code = v_asked_candidate
                    and correlation_id = v_asked_correlation_id) is true
                then
                    process_run_id := v_told_run_id;
                    correlation_id := v_told_correlation_id;
                end if;
                select o.component_id, o.created into component_id, created
                from dot.fn_process_component_observe(
                    v_one.process_candidate_code, v_one.dot_code, process_run_id, correlation_id, v_one.component_role,
                    v_one.status, v_one.actor, v_one.idempotency_key, v_one.input_ref, v_one.output_ref, v_one.error_ref,
                    v_one.evidence_ref, v_one.lease_token
                ) as o;
            end if;
        exception when integrity_constraint_violation then
            get stacked diagnostics
                refused_sqlstate = returned_sqlstate,
                refused_constraint = constraint_name,
                refused_message = message_text,
                refused_detail = pg_exception_detail,
                refused_hint = pg_exception_hint,
                v_table = table_name,
                v_column = column_name;
            if p_atomic then
                raise exception using
                    errcode = refused_sqlstate,
                    message = format('line %s: %s', line, refused_message),
                    detail = refused_detail, hint = refused_hint,
                    schema = 'dot', table = v_table, column = v_column, constraint = refused_constraint;
            end if;
            refused_detail := nullif(refused_detail, '');
            refused_hint := nullif(refused_hint, '');
            process_run_id := null;
            correlation_id := null;
        end;
        return next;
    end loop;
end
$function$;

revoke all on function dot.fn_process_observe_batch(
    text[], text[], uuid[], text[], text[], text[], boolean[], text[], text[], text[], uuid[], text[], text[], text[], jsonb[],
    bigint[], boolean
) from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_process_observe_batch(
    text[], text[], uuid[], text[], text[], text[], boolean[], text[], text[], text[], uuid[], text[], text[], text[], jsonb[],
    bigint[], boolean
) to dot_writer;

comment on function dot.fn_process_observe_batch(
    text[], text[], uuid[], text[], text[], text[], boolean[], text[], text[], text[], uuid[], text[], text[], text[], jsonb[],
    bigint[], boolean
) is 'Records many observations in one call, a line of the arrays each, and says per line: created, stored before, or refused.';
