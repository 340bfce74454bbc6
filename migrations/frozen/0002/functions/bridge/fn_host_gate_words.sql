-- Bridge to what the host says of gates: of those that it governs each with its value, by key. words is
-- NULL where that cannot be read, and problem says why: an answer, because the preflight and the gates
-- report it. A plain read: nothing of the wrapper's may hold up the host's own switch. Where a key
-- stands twice, true is sorted first and the last value counts: any other value wins.
grant create on schema dot to dot_bridge;

create or replace function dot.fn_host_gate_words(p_keys text[], out words jsonb, out problem text)
returns record
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set row_security = off
as $function$
begin
    if current_user <> 'dot_bridge' then
        raise insufficient_privilege using
            message = 'a bridge function runs as dot_bridge alone',
            constraint = 'bridge_definer_check';
    end if;
    begin
        select coalesce(jsonb_object_agg(g.key, g.value order by g.value = 'true' desc nulls last), '{}')
        into words
        from dot.v_host_gate g
        where g.key = any (p_keys);
    exception when syntax_error_or_access_rule_violation or data_exception or cardinality_violation then
        words := null;
        problem := sqlerrm;
    end;
end
$function$;

alter function dot.fn_host_gate_words(text[]) owner to dot_bridge;

revoke create on schema dot from dot_bridge;

revoke all on function dot.fn_host_gate_words(text[])
    from public, dot_owner, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_host_gate_words(text[]) to dot_owner;

comment on function dot.fn_host_gate_words(text[]) is
    'Bridge: what the host says of the gates that it governs; NULL and the problem where it cannot be read.';
