-- The fast way of a batch: stores all of it by two INSERTs, and its events, where every line is plainly new
-- (fn_batch_events_wanted). Returns an id for each line, of the component or, for a header, of the run.
-- Returns NULL, with nothing stored, where a line is not, or does not stand up to the tables: then the batch
-- goes through the observe functions, whose rules these are.
--
-- The cast to arrays of the domains checks every element once: the INSERTs find columns of the right type.
-- LIMIT 1 keeps the look for a header from being made a join: each line is one look-up by the primary key,
-- also in a plan that was made while the table was empty. Headers are stored by candidate and key, then
-- components by candidate and run. A batch that goes line by line may meet this one in another order: 40P01.
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
    v_ids uuid[] := array(
        select case when l.role is null then l.run else gen_random_uuid() end
        from unnest(p_component_role, p_process_run_id) with ordinality as l (role, run, nth)
        order by l.nth
    );
    v_wanted text[];
    v_runs integer;
    v_components integer;
    v_now timestamptz;
begin
    v_wanted := dot.fn_batch_events_wanted(
        p_process_candidate_code, p_dot_code, p_process_run_id, p_component_role, p_evidence_type, p_dry_run,
        p_status, p_idempotency_key, p_parent_run_id, p_evidence_ref, p_lease_token, p_occurred_at
    );
    if v_wanted is null then
        return null;
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
            -- The key as text, so that the column's own domain is asked: 200 bytes, and 240 of a component.
            'SIMULATED_DRY_RUN', dot.fn_status_stored(l.status), l.actor, session_user, l.key::text,
            l.input, l.output, l.error, l.evidence
        from unnest(
            v_candidate, v_dot, v_run, v_correlation, v_role, p_status, v_actor, v_key, v_parent, v_input,
            v_output, v_error, v_evidence, p_occurred_at
        ) as l (
            candidate, dot, run, correlation, role, status, actor, key, parent, input, output, error,
            evidence, occurred_at
        )
        where l.role is null
        order by l.candidate collate "C", coalesce(l.key, l.run::text) collate "C";
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
            select r.correlation_id, r.evidence_type, r.status, r.observed_at
            from dot.process_run_observation as r
            where r.process_candidate_code = l.candidate and r.process_run_id = l.run
            limit 1
        ) as h
        where l.role is not null and h.correlation_id = l.correlation
            and h.evidence_type = 'SIMULATED_DRY_RUN'
            and dot.fn_takes_components(h.status)
        order by l.candidate collate "C", l.run, l.role collate "C", l.status = 'started' desc;
        get diagnostics v_components = row_count;

        if v_runs + v_components <> cardinality(v_ids) then
            -- Takes the INSERTs back: the one-by-one way says which line it is.
            raise check_violation using message = 'a component has no header that takes it';
        end if;
        if v_wanted <> '{}' then
            perform dot.fn_batch_events(
                p_process_candidate_code, p_process_run_id, p_component_role, p_status, p_idempotency_key,
                v_wanted
            );
        end if;
    exception when unique_violation or check_violation or not_null_violation then
        return null;
    end;

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
) is 'Stores a batch together where every line of it is plainly new; the id of each line, or NULL.';
