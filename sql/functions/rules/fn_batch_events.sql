-- Places the events of what was stored together, those of the wanted types: of the headers first, then of
-- the components, each in the order in which they were stored. Events tell what stands in the tables, so
-- each row is read back by its primary key. LIMIT 1 keeps that from being made a join, see
-- fn_batch_store_new.
create or replace function dot.fn_batch_events(
    p_process_candidate_code text[], p_process_run_id uuid[], p_component_role text[], p_status text[],
    p_idempotency_key text[], p_wanted text[]
)
returns void
language plpgsql volatile
as $function$
declare
    v_epoch integer := dot.fn_outbox_epoch(true);
begin
    perform dot.fn_host_outbox_append(v_epoch, 'process_run', e.run::text, e.type, e.payload)
    from (
        select l.run, h.type, h.payload
        from unnest(p_process_candidate_code, p_process_run_id, p_component_role, p_idempotency_key)
            as l (candidate, run, role, key)
        cross join lateral (
            select dot.fn_event_type('run', r.status) as type, dot.fn_run_event(r) as payload
            from dot.process_run_observation as r
            where r.process_candidate_code = l.candidate and r.process_run_id = l.run
            limit 1
        ) as h
        where l.role is null and h.type = any (p_wanted)
        order by l.candidate collate "C", coalesce(l.key, l.run::text) collate "C"
    ) as e;
    perform dot.fn_host_outbox_append(v_epoch, 'process_run', e.run::text, e.type, e.payload)
    from (
        select l.run, h.type, h.payload
        from unnest(p_process_candidate_code, p_process_run_id, p_component_role, p_status)
            as l (candidate, run, role, status)
        cross join lateral (
            select dot.fn_event_type('component', k.status) as type, dot.fn_component_event(k) as payload
            from dot.process_component_observation as k
            where k.process_candidate_code = l.candidate and k.process_run_id = l.run
                and k.component_role = l.role
                and k.stage = dot.fn_component_stage(dot.fn_component_status_stored(l.status))
            limit 1
        ) as h
        where l.role is not null and h.type = any (p_wanted)
        order by l.candidate collate "C", l.run, l.role collate "C", l.status = 'started' desc
    ) as e;
end
$function$;

revoke all on function dot.fn_batch_events(text[], uuid[], text[], text[], text[], text[])
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_batch_events(text[], uuid[], text[], text[], text[], text[]) is
    'Places the wanted events of a batch that was stored together.';
