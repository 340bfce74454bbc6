-- Whether a batch goes the fast way: NULL where it does not, else the event types that it has to place. It
-- does where every DOT is in the catalogue and every line plainly new: a simulation without a lease token,
-- started, completed or failed; a DOT in its part of a candidate that gives its parts to no role and pins no
-- output; evidence without a key of meaning; a header whose key is not stored, a component of a run that has
-- no component yet. The INSERTs refuse what else there is: domains, unique keys, a component without header.
--
-- Rows are looked up by a unique key, or by the part of one that names the run, and as a value: an EXISTS
-- may be hashed, which reads the whole table.
create or replace function dot.fn_batch_events_wanted(
    p_process_candidate_code text[],
    p_dot_code text[],
    p_process_run_id uuid[],
    p_component_role text[],
    p_evidence_type text[],
    p_dry_run boolean[],
    p_status text[],
    p_idempotency_key text[],
    p_parent_run_id uuid[],
    p_evidence_ref jsonb[],
    p_lease_token bigint[],
    p_occurred_at timestamptz[]
)
returns text[]
language plpgsql volatile
as $function$
begin
    if (
        select bool_and((
            l.token is null
            and l.status in ('started', 'completed', 'failed')
            and dot.fn_is_plain_evidence(l.evidence)
            and (l.occurred_at is null or dot.fn_is_time(l.occurred_at))
            and case
                when l.role is null then
                    l.evidence_type = 'SIMULATED_DRY_RUN' and l.dry_run
                    and (
                        select c.producer_dot_code = l.dot and c.producer_role is null
                        from dot.process_candidate as c where c.code = l.candidate
                    )
                    and (
                        select true from dot.process_run_observation as r
                        where r.process_candidate_code = l.candidate and r.idempotency_key = l.key
                        limit 1
                    ) is null
                else
                    num_nonnulls(l.evidence_type, l.dry_run, l.parent) = 0
                    and (
                        select not c.pins_output and case l.role
                            when 'producer' then c.producer_dot_code = l.dot and c.producer_role is null
                            when 'verifier' then c.verifier_dot_code = l.dot and c.verifier_role is null
                        end
                        from dot.process_candidate as c where c.code = l.candidate
                    )
                    and (
                        select true from dot.process_component_observation as k
                        where k.process_candidate_code = l.candidate and k.process_run_id = l.run
                        limit 1
                    ) is null
            end
        ) is true)
        from unnest(
            p_process_candidate_code, p_dot_code, p_process_run_id, p_component_role, p_evidence_type,
            p_dry_run, p_status, p_idempotency_key, p_parent_run_id, p_evidence_ref, p_lease_token,
            p_occurred_at
        ) as l (
            candidate, dot, run, role, evidence_type, dry_run, status, key, parent, evidence, token,
            occurred_at
        )
    ) is not true then
        return null;
    end if;
    return dot.fn_host_events_wanted(
        array(select distinct l.dot from unnest(p_dot_code) as l (dot)),
        array(
            select distinct case
                when l.role is null then dot.fn_event_type('run', dot.fn_status_stored(l.status))
                else dot.fn_event_type('component', dot.fn_component_status_stored(l.status))
            end
            from unnest(p_component_role, p_status) as l (role, status)
        )
    );
end
$function$;

revoke all on function dot.fn_batch_events_wanted(
    text[], text[], uuid[], text[], text[], boolean[], text[], text[], uuid[], jsonb[], bigint[],
    timestamptz[]
) from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_batch_events_wanted(
    text[], text[], uuid[], text[], text[], boolean[], text[], text[], uuid[], jsonb[], bigint[],
    timestamptz[]
) is 'Whether a batch goes the fast way: NULL where not, else the event types that it has to place.';
