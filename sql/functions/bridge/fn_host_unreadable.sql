-- Refuses because a seam could not be read: the host took away a right, a table or a column that it stands
-- on, or put row security before it. Of the bridge alone, for its functions that read a seam.
-- Raises 55000 (host_readable_check).
grant create on schema dot to dot_bridge;

create or replace function dot.fn_host_unreadable(p_problem text)
returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set row_security = on
as $function$
begin
    if current_user <> 'dot_bridge' then
        raise insufficient_privilege using
            message = 'a bridge function runs as dot_bridge alone',
            constraint = 'bridge_definer_check';
    end if;
    raise object_not_in_prerequisite_state using
        message = 'what the wrapper reads of its host cannot be read: ' || p_problem,
        hint = 'The host''s tables or rights were changed: dot-wrapper adopt --check says what to do.',
        constraint = 'host_readable_check';
end
$function$;

alter function dot.fn_host_unreadable(text) owner to dot_bridge;

revoke create on schema dot from dot_bridge;

revoke all on function dot.fn_host_unreadable(text)
    from public, dot_owner, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_host_unreadable(text) is
    'Bridge: refuses because a seam cannot be read.';
