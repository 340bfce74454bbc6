-- Names a pair of a producer DOT and a verifier DOT, once and for good: who could edit a pair would rewrite past verdicts.
-- The same pair again under its code is nothing new (created = false, the first description stays); another pair under the
-- code is refused. Raises 23502, 23514 (process_candidate_*_check), 23503 (process_candidate_producer_dot_code_fkey,
-- ..._verifier_dot_code_fkey), 23505 (process_candidate_pair_conflict), 40001 (retry).
create or replace function dot.fn_process_candidate_define(
    p_code text,
    p_producer_dot_code text,
    p_verifier_dot_code text,
    p_actor text,
    p_description text default null,
    out code text,
    out created boolean
)
returns record
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $function$
declare
    v_problem text := case
        when p_code is null then 'code_not_null'
        when p_producer_dot_code is null then 'producer_dot_code_not_null'
        when p_verifier_dot_code is null then 'verifier_dot_code_not_null'
        when p_actor is null then 'actor_not_null'
        when dot.fn_is_code(p_code, 200) is not true then 'code_check'
        when dot.fn_is_code(p_producer_dot_code, 200) is not true then 'producer_dot_code_check'
        when dot.fn_is_code(p_verifier_dot_code, 200) is not true then 'verifier_dot_code_check'
        when dot.fn_is_code(p_actor, 200) is not true then 'actor_check'
        when p_description is not null and dot.fn_is_prose(p_description) is not true then 'description_check'
    end;
    v_unknown text;
    v_stored dot.process_candidate%rowtype;
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
        when dot.fn_host_dot_known(p_producer_dot_code) is not true then 'producer_dot_code'
        when dot.fn_host_dot_known(p_verifier_dot_code) is not true then 'verifier_dot_code'
    end;
    if v_unknown is not null then
        raise foreign_key_violation using
            message = format('the %s of %s is not in the catalogue', v_unknown, p_code),
            hint = 'Register it with fn_dot_tool_register.',
            schema = 'dot', table = 'process_candidate', constraint = format('process_candidate_%s_fkey', v_unknown);
    end if;

    insert into dot.process_candidate as c
        (code, producer_dot_code, verifier_dot_code, description, actor, session_actor, defined_at)
    values (p_code, p_producer_dot_code, p_verifier_dot_code, p_description, p_actor, session_user, clock_timestamp())
    on conflict do nothing
    returning true into created;

    code := p_code;
    if created then
        return;
    end if;
    select c.* into v_stored from dot.process_candidate c where c.code = p_code;
    if v_stored.code is null then
        raise serialization_failure using
            message = format('the definition of %s is not visible in this transaction', p_code),
            hint = 'Retry the whole transaction.';
    end if;
    if (v_stored.producer_dot_code, v_stored.verifier_dot_code)
        is distinct from (p_producer_dot_code, p_verifier_dot_code)
    then
        raise unique_violation using
            message = format('process candidate %s is another pair', p_code),
            detail = format('Its producer is %s, its verifier %s.', v_stored.producer_dot_code, v_stored.verifier_dot_code),
            hint = 'A pair is never changed: define the new one under a code of its own.',
            schema = 'dot', table = 'process_candidate', constraint = 'process_candidate_pair_conflict';
    end if;
    created := false;
end
$function$;

revoke all on function dot.fn_process_candidate_define(text, text, text, text, text)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_process_candidate_define(text, text, text, text, text) to dot_cataloguer;

comment on function dot.fn_process_candidate_define(text, text, text, text, text) is
    'Names a producer/verifier pair, insert-only: the same again is nothing new, another pair under the code is refused.';
