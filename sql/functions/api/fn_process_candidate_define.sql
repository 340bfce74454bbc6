-- Names a pair of a producer DOT and a verifier DOT, once and for good: who could edit a pair would rewrite
-- past verdicts. What a definition may ask for beside the pair, each optional and none of it by default:
--   p_producer_role, p_verifier_role  only members of the role record that part (23514 otherwise)
--   p_pins_output                     a verifier's end is refused unless its input_ref is the producer's
--                                     output_ref
--   p_max_age                         a verification older than this has the caveat older_than_max_age; a
--                                     month is 30 days
--   p_supersedes                      the candidate that this one follows: that one takes no more dry and
--                                     real runs
--   p_source_time                     the time of what both were made from, a manifest for instance: it
--                                     orders their chain
-- The same again under its code is nothing new (created = false; the first description and source_time
-- stay); another definition under the code is refused with the differing fields named.
-- Locks: where it supersedes one, the first candidate of the chain until the transaction ends: definitions
-- are numbered one by one. Such a transaction cannot be prepared.
-- Raises:
--   23502  process_candidate_<argument>_not_null
--   23503  process_candidate_<argument>_fkey
--   23505  process_candidate_pair_conflict
--   23514  process_candidate_<argument>_check, process_candidate_pair_check,
--          process_candidate_source_time_chain_check
--   40001  a definition that clashes is not visible in this transaction: retry it
--   55P03  a lock was not got in 2 s
create or replace function dot.fn_process_candidate_define(
    p_code text,
    p_producer_dot_code text,
    p_verifier_dot_code text,
    p_actor text,
    p_description text default null,
    p_producer_role text default null,
    p_verifier_role text default null,
    p_pins_output boolean default false,
    p_max_age interval default null,
    p_supersedes text default null,
    p_source_time timestamptz default null,
    out code text,
    out created boolean
)
returns record
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
    set enable_seqscan = off set plan_cache_mode = force_generic_plan set lock_timeout = '2s'
as $function$
declare
    v_problem text := case
        when p_code is null then 'code_not_null'
        when p_producer_dot_code is null then 'producer_dot_code_not_null'
        when p_verifier_dot_code is null then 'verifier_dot_code_not_null'
        when p_actor is null then 'actor_not_null'
        when p_pins_output is null then 'pins_output_not_null'
        when dot.fn_is_code(p_code, 200) is not true then 'code_check'
        when dot.fn_is_code(p_producer_dot_code, 200) is not true then 'producer_dot_code_check'
        when dot.fn_is_code(p_verifier_dot_code, 200) is not true then 'verifier_dot_code_check'
        when dot.fn_is_code(p_actor, 200) is not true then 'actor_check'
        when p_description is not null and dot.fn_is_line(p_description) is not true
            then 'description_check'
        when p_max_age is not null
            and (p_max_age > interval '0' and p_max_age <= interval '100 years') is not true
            then 'max_age_check'
        when p_supersedes is not null and dot.fn_is_code(p_supersedes, 200) is not true
            then 'supersedes_check'
        when p_source_time is not null and dot.fn_is_time(p_source_time) is not true then 'source_time_check'
    end;
    v_producer_role regrole := (select r.oid from pg_roles r where r.rolname = p_producer_role);
    v_verifier_role regrole := (select r.oid from pg_roles r where r.rolname = p_verifier_role);
    v_unknown text;
    v_chain text := p_code;
    v_position bigint := 1;
    v_before record;
    v_stored dot.process_candidate%rowtype;
    v_differing text[];
begin
    if v_problem is not null then
        perform dot.fn_input_refuse('process_candidate', v_problem);
    end if;
    if (p_producer_dot_code <> p_verifier_dot_code) is not true then
        raise check_violation using
            message = format('%s cannot verify itself', p_producer_dot_code),
            hint = 'Producer and verifier are two DOTs.',
            schema = 'dot', table = 'process_candidate', constraint = 'process_candidate_pair_check';
    end if;
    v_unknown := case
        when dot.fn_host_events_wanted(array[p_producer_dot_code], '{}') is null then 'producer_dot_code'
        when dot.fn_host_events_wanted(array[p_verifier_dot_code], '{}') is null then 'verifier_dot_code'
        when p_producer_role is not null and v_producer_role is null then 'producer_role'
        when p_verifier_role is not null and v_verifier_role is null then 'verifier_role'
        when p_supersedes is not null
            and not exists (select from dot.process_candidate c where c.code = p_supersedes)
            then 'supersedes'
    end;
    if v_unknown is not null then
        raise foreign_key_violation using
            message = format('the %s of %s is not known', v_unknown, p_code),
            hint = case
                when v_unknown like '%\_dot\_code' then dot.fn_dot_unknown_hint()
                when v_unknown like '%\_role' then 'Name a role of this server exactly as pg_roles has it.'
                else 'Define the candidate that it names first; v_process_candidate lists those that are.'
            end,
            schema = 'dot', table = 'process_candidate',
            constraint = format('process_candidate_%s_fkey', v_unknown);
    end if;

    select c.* into v_stored from dot.process_candidate c where c.code = p_code;
    if v_stored.code is null then
        if p_supersedes is not null then
            select c.chain into v_chain from dot.process_candidate c where c.code = p_supersedes;
            perform dot.fn_prepare_forbid();
            perform from dot.process_candidate c where c.code = v_chain for no key update;
            select max(c.chain_position) + 1 as position, count(c.source_time) > 0 as is_timed into v_before
            from dot.process_candidate c where c.chain = v_chain;
            v_position := v_before.position;
            if (v_before.is_timed = (p_source_time is not null)) is not true then
                raise check_violation using
                    message = format('%s and the candidates before it must all have a source_time, or none',
                        p_code),
                    detail = format('%s %s one.', p_supersedes,
                        case when v_before.is_timed then 'has' else 'has not' end),
                    hint = 'A chain is ordered by the time of its source, or else by the order of '
                        'definition.',
                    schema = 'dot', table = 'process_candidate',
                    constraint = 'process_candidate_source_time_chain_check';
            end if;
        end if;
        insert into dot.process_candidate as c (
            defined_at, source_time, max_age, producer_role, verifier_role, chain_position, pins_output,
            code, producer_dot_code, verifier_dot_code, supersedes, chain, description, actor, session_actor
        )
        values (
            clock_timestamp(), p_source_time, p_max_age, v_producer_role, v_verifier_role, v_position,
            p_pins_output, p_code, p_producer_dot_code, p_verifier_dot_code, p_supersedes, v_chain,
            p_description, p_actor, session_user
        )
        on conflict do nothing
        returning true into created;
        code := p_code;
        if created then
            return;
        end if;
        select c.* into v_stored from dot.process_candidate c where c.code = p_code;
        if v_stored.code is null then
            raise serialization_failure using
                message = format('a definition that clashes with %s is not visible in this transaction',
                    p_code),
                hint = 'Retry the whole transaction.';
        end if;
    end if;

    v_differing := array_remove(array[
        case when v_stored.producer_dot_code <> p_producer_dot_code then 'producer_dot_code' end,
        case when v_stored.verifier_dot_code <> p_verifier_dot_code then 'verifier_dot_code' end,
        case when v_stored.producer_role is distinct from v_producer_role then 'producer_role' end,
        case when v_stored.verifier_role is distinct from v_verifier_role then 'verifier_role' end,
        case when v_stored.pins_output <> p_pins_output then 'pins_output' end,
        case when v_stored.max_age is distinct from p_max_age then 'max_age' end,
        case when v_stored.supersedes is distinct from p_supersedes then 'supersedes' end
    ], null);
    if (v_differing = '{}') is not true then
        raise unique_violation using
            message = format('process candidate %s is defined otherwise', p_code),
            detail = format('Its producer is %s, its verifier %s. Differing fields: %s.',
                v_stored.producer_dot_code, v_stored.verifier_dot_code, array_to_string(v_differing, ', ')),
            hint = 'A definition is never changed: define the new one under a code of its own, and let it '
                'supersede this one.',
            schema = 'dot', table = 'process_candidate', constraint = 'process_candidate_pair_conflict';
    end if;
    code := p_code;
    created := false;
end
$function$;

revoke all on function dot.fn_process_candidate_define(
    text, text, text, text, text, text, text, boolean, interval, text, timestamptz
) from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_process_candidate_define(
    text, text, text, text, text, text, text, boolean, interval, text, timestamptz
) to dot_cataloguer;

comment on function dot.fn_process_candidate_define(
    text, text, text, text, text, text, text, boolean, interval, text, timestamptz
) is 'Names a producer/verifier pair and what it asks for, insert-only: another definition under the code '
    'is refused.';
