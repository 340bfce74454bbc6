-- Who may record a part of a candidate: where its definition names a role for the part, the calling login is
-- a member of it. A role that was dropped since refuses every login but a superuser's. Raises
-- check_violation (23514), constraint process_candidate_<part>_role_check.
create or replace function dot.fn_candidate_role_assert(
    p_process_candidate_code text, p_part text, p_role regrole
)
returns void
language plpgsql volatile
as $function$
begin
    if (p_role is null or dot.fn_login_may_act(p_role)) is not true then
        raise check_violation using
            message = format('%s may not record the %s of %s', session_user, p_part,
                p_process_candidate_code),
            detail = format('Its definition gives that part to members of role %s.', p_role),
            hint = 'Call by a login that is a member of the role: a definition is not changed.',
            schema = 'dot', table = 'process_candidate',
            constraint = format('process_candidate_%s_role_check', p_part);
    end if;
end
$function$;

revoke all on function dot.fn_candidate_role_assert(text, text, regrole)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_candidate_role_assert(text, text, regrole) is
    'Refuses unless the calling login is a member of the role that the candidate gives this part to '
    '(23514).';
