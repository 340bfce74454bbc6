-- Whether the calling login may act as a role: it inherits the role's rights or may set it. From 16 on a
-- membership can confer neither (a creator's, which has ADMIN alone), and does not count; on 15 each
-- membership confers one of the two.
create or replace function dot.fn_login_may_act(p_role regrole)
returns boolean
language plpgsql volatile
as $function$
begin
    if current_setting('server_version_num')::integer < 160000 then
        return pg_has_role(session_user, p_role, 'member');
    end if;
    return pg_has_role(session_user, p_role, 'usage') or pg_has_role(session_user, p_role, 'set');
end
$function$;

revoke all on function dot.fn_login_may_act(regrole)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_login_may_act(regrole) is
    'Whether the calling login inherits a role''s rights or may set it.';
