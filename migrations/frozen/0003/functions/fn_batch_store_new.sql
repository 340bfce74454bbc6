-- The fast way of a batch: stores by two INSERTs what is plainly new, and leaves the rest to the observe
-- functions, whose rules these are. A run is left where one of its lines is not ordinary: anything but a
-- simulation without a lease token, started, completed or failed; a candidate that gives its parts to roles
-- or pins its output; evidence with a key of meaning; a header whose key is stored, a component where the
-- run has one already. What a line does not stand up to further on (a domain, another unique key, the header
-- of a component) leaves the whole batch, and nothing of it stays stored.
-- Returns an id for each line that it stored, of the component or, for a header, of the run; NULL for each
-- line that is left.
--
-- The cast to arrays of the domains checks every element once: the INSERTs find columns of the right type.
-- The planner takes every batch for a line or two, and a plan made while the ledger was empty is kept while
-- it grows: each row is looked up by its whole key, with a LIMIT that keeps the planner from reading all of
-- the ledger first. Rows are stored in the order of candidate and key, so that two batches wait for each
-- other in one order.
create or replace function dot.fn_batch_store_new(
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
    p_occurred_at timestamptz[]
)
returns uuid[]
language plpgsql volatile
as $function$
declare
    c_none constant uuid[] := array_fill(null::uuid, array[cardinality(p_process_candidate_code)]);
    v_candidate dot.code[];
    v_dot dot.code[];
    v_run dot.run_id[];
    v_correlation dot.code[];
    v_role dot.component_role[];
    v_actor dot.code[];
    v_key dot.component_key[];
    v_parent dot.run_id[];
    v_input dot.ref[];
    v_output dot.ref[];
    v_error dot.ref[];
    v_evidence dot.evidence[];
    v_left uuid[];
    v_ids uuid[];
    v_wanted text[];
    v_expected integer;
    v_compete boolean;
    v_runs integer;
    v_components integer;
    v_now timestamptz;
    v_epoch integer;
begin
    select
        array_agg(distinct l.run) filter (where l.is_ordinary is not true),
        array_agg(case when l.role is null then l.run else gen_random_uuid() end order by l.nth),
        count(*) filter (where l.is_ordinary)
    into v_left, v_ids, v_expected
    from (
        select
            l.nth, l.run, l.role,
            l.token is null
            and l.status in ('started', 'completed', 'failed')
            and not l.evidence ?| array['wrapper_phase', 'skipped', 'attempt']
            and (l.occurred_at is null or dot.fn_is_time(l.occurred_at))
            and case
                when l.role is null then
                    l.evidence_type = 'SIMULATED_DRY_RUN' and l.dry_run
                    and exists (
                        select from dot.process_candidate as c
                        where c.code = l.candidate and c.producer_dot_code = l.dot
                            and c.producer_role is null
                    )
                    and (
                        select true from dot.process_run_observation as r
                        where r.process_candidate_code = l.candidate and r.idempotency_key = l.key
                        limit 1
                    ) is null
                else
                    num_nonnulls(l.evidence_type, l.dry_run, l.parent) = 0
                    and exists (
                        select from dot.process_candidate as c
                        where c.code = l.candidate and not c.pins_output and case l.role
                            when 'producer' then c.producer_dot_code = l.dot and c.producer_role is null
                            when 'verifier' then c.verifier_dot_code = l.dot and c.verifier_role is null
                        end
                    )
                    and (
                        select true from dot.process_component_observation as k
                        where k.process_candidate_code = l.candidate and k.process_run_id = l.run
                        limit 1
                    ) is null
            end as is_ordinary
        from unnest(
            p_process_candidate_code, p_dot_code, p_process_run_id, p_component_role, p_evidence_type,
            p_dry_run, p_status, p_idempotency_key, p_parent_run_id, p_evidence_ref, p_lease_token,
            p_occurred_at
        ) with ordinality as l (
            candidate, dot, run, role, evidence_type, dry_run, status, key, parent, evidence, token,
            occurred_at, nth
        )
    ) as l;
    if v_expected = 0 then
        return c_none;
    end if;
    if v_left is not null then
        select
            array_agg(case when (l.run = any (v_left)) is not true then l.id end order by l.nth),
            count(*) filter (where (l.run = any (v_left)) is not true),
            count(l.key)
                > count(distinct (l.candidate, l.role is null, l.key)) filter (where l.key is not null)
        into v_ids, v_expected, v_compete
        from unnest(p_process_candidate_code, p_process_run_id, p_component_role, p_idempotency_key, v_ids)
            with ordinality as l (candidate, run, role, key, id, nth);
        -- Of lines under one key the first is to come first, fast or slow.
        if v_compete then
            return c_none;
        end if;
    end if;

    v_wanted := dot.fn_host_events_wanted(
        array(select distinct l.dot from unnest(p_dot_code) as l (dot)),
        array(
            select case
                when l.is_header then dot.fn_event_type('run', dot.fn_status_stored(l.status))
                else dot.fn_event_type('component', dot.fn_component_status_stored(l.status))
            end
            from (
                select distinct l.role is null, l.status
                from unnest(p_component_role, p_status) as l (role, status)
            ) as l (is_header, status)
        )
    );
    if v_wanted is null then
        return c_none;
    end if;

    begin
        v_candidate := p_process_candidate_code;
        v_dot := p_dot_code;
        v_run := p_process_run_id;
        v_correlation := p_correlation_id;
        v_role := p_component_role;
        v_actor := p_actor;
        v_key := p_idempotency_key;
        v_parent := p_parent_run_id;
        v_input := p_input_ref;
        v_output := p_output_ref;
        v_error := p_error_ref;
        v_evidence := p_evidence_ref;

        insert into dot.process_run_observation (
            process_run_id, parent_run_id, observed_at, occurred_at, dry_run, process_candidate_code,
            dot_code, correlation_id, evidence_type, status, actor, session_actor, idempotency_key,
            input_ref, output_ref, error_ref, evidence_ref
        )
        select
            l.run, l.parent, clock_timestamp(), l.occurred_at, true, l.candidate, l.dot, l.correlation,
            'SIMULATED_DRY_RUN', dot.fn_status_stored(l.status), l.actor, session_user, l.key::text, l.input,
            l.output, l.error, l.evidence
        from unnest(
            v_ids, v_candidate, v_dot, v_run, v_correlation, v_role, p_status, v_actor, v_key, v_parent,
            v_input, v_output, v_error, v_evidence, p_occurred_at
        ) as l (
            id, candidate, dot, run, correlation, role, status, actor, key, parent, input, output, error,
            evidence, occurred_at
        )
        where l.id is not null and l.role is null
        order by l.candidate, coalesce(l.key, l.run::text);
        get diagnostics v_runs = row_count;

        -- The parts of a run are stored in one moment, and ordered by the microsecond.
        v_now := clock_timestamp();
        insert into dot.process_component_observation (
            component_id, process_run_id, observed_at, occurred_at, process_candidate_code, component_role,
            stage, dot_code, correlation_id, evidence_type, status, actor, session_actor, idempotency_key,
            input_ref, output_ref, error_ref, evidence_ref
        )
        select
            l.id, l.run,
            greatest(v_now, h.observed_at)
                + case l.role when 'producer' then 1 else 3 end * interval '1 microsecond'
                + case l.status when 'started' then 0 else 1 end * interval '1 microsecond',
            l.occurred_at, l.candidate, l.role,
            dot.fn_component_stage(dot.fn_component_status_stored(l.status)), l.dot, l.correlation,
            h.evidence_type, dot.fn_component_status_stored(l.status), l.actor, session_user, l.key, l.input,
            l.output, l.error, l.evidence
        from unnest(
            v_ids, v_candidate, v_dot, v_run, v_correlation, v_role, p_status, v_actor, v_key, v_input,
            v_output, v_error, v_evidence, p_occurred_at
        ) as l (
            id, candidate, dot, run, correlation, role, status, actor, key, input, output, error, evidence,
            occurred_at
        )
        cross join lateral (
            select r.evidence_type, r.observed_at
            from dot.process_run_observation as r
            where r.process_candidate_code = l.candidate and r.process_run_id = l.run
                and r.correlation_id = l.correlation
                and r.evidence_type = 'SIMULATED_DRY_RUN'
                and r.status not in ('failed', 'cancelled', 'skipped', 'blocked')
            limit 1
        ) as h
        where l.id is not null and l.role is not null
        order by l.candidate, l.run, l.role, l.status = 'started' desc;
        get diagnostics v_components = row_count;

        if v_runs + v_components <> v_expected then
            raise check_violation using message = 'some line was not stored';
        end if;
    exception when integrity_constraint_violation then
        return c_none;
    end;

    if v_wanted <> '{}' then
        v_epoch := dot.fn_outbox_epoch(true);
        perform dot.fn_host_outbox_append(v_epoch, 'process_run', e.run::text, e.type, e.payload)
        from (
            select l.run, h.type, h.payload
            from unnest(v_ids, v_candidate, v_run, v_role, v_key) as l (id, candidate, run, role, key)
            cross join lateral (
                select dot.fn_event_type('run', r.status) as type, dot.fn_run_event(r) as payload
                from dot.process_run_observation as r
                where r.process_candidate_code = l.candidate and r.process_run_id = l.run
                limit 1
            ) as h
            where l.id is not null and l.role is null and h.type = any (v_wanted)
            order by l.candidate, coalesce(l.key, l.run::text)
        ) as e;
        perform dot.fn_host_outbox_append(v_epoch, 'process_run', e.run::text, e.type, e.payload)
        from (
            select l.run, h.type, h.payload
            from unnest(v_ids, v_candidate, v_run, v_role, p_status) as l (id, candidate, run, role, status)
            cross join lateral (
                select dot.fn_event_type('component', k.status) as type, dot.fn_component_event(k) as payload
                from dot.process_component_observation as k
                where k.process_candidate_code = l.candidate and k.process_run_id = l.run
                    and k.component_role = l.role
                    and k.stage = dot.fn_component_stage(dot.fn_component_status_stored(l.status))
                limit 1
            ) as h
            where l.id is not null and l.role is not null and h.type = any (v_wanted)
            order by l.candidate, l.run, l.role, l.status = 'started' desc
        ) as e;
    end if;
    return v_ids;
end
$function$;

revoke all on function dot.fn_batch_store_new(
    text[], text[], uuid[], text[], text[], text[], boolean[], text[], text[], text[], uuid[], text[],
    text[], text[], jsonb[], bigint[], timestamptz[]
) from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_batch_store_new(
    text[], text[], uuid[], text[], text[], text[], boolean[], text[], text[], text[], uuid[], text[],
    text[], text[], jsonb[], bigint[], timestamptz[]
) is 'Stores what is plainly new of a batch; the id of each line that it stored, NULL for one that is left.';
