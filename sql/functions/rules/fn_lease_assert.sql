-- Single flight: the caller's token must be the live one of the candidate's lease, held by the caller's own
-- login, and not lower than p_used_token, one that was used before: the header's for a component, the latest
-- run's for a header. No message prints a token. Raises check_violation (23514), constraint lease_live_check
-- or lease_fencing_check. p_held keeps the lease from being taken over until the caller's transaction ends,
-- and an old snapshot does, which may show a lease that has ended since. Such a transaction cannot be
-- prepared: prepared, it would keep all others from the candidate without end.
create or replace function dot.fn_lease_assert(
    p_process_candidate_code text, p_lease_token bigint, p_used_token bigint, p_held boolean
)
returns void
language plpgsql volatile
as $function$
declare
    v_locked boolean := p_held or current_setting('transaction_isolation') is distinct from 'read committed';
    v_live_token bigint := dot.fn_host_lease_live_token(
        'dot_exec:' || p_process_candidate_code, session_user, v_locked
    );
begin
    if v_locked then
        perform dot.fn_prepare_forbid();
    end if;
    if (p_lease_token = v_live_token) is not true then
        raise check_violation using
            message = format('the lease token is not the live one of dot_exec:%s', p_process_candidate_code),
            detail = case
                when p_lease_token is null then 'No token was given.'
                when v_live_token is null
                    then format('%s holds no live lease of this candidate.', session_user)
                else format('%s has acquired the lease again since.', session_user)
            end,
            hint = 'Acquire the lease with fn_dot_iu_runtime_lease_acquire and pass the token it returns.',
            schema = 'dot',
            constraint = 'lease_live_check';
    end if;
    if p_lease_token < p_used_token then
        raise check_violation using
            message = format('the lease token of dot_exec:%s is lower than one that was used',
                p_process_candidate_code),
            detail = 'Tokens only grow: the lease table was put back to an older state.',
            hint = 'Acquire the lease again, until its token has passed that one.',
            schema = 'dot',
            constraint = 'lease_fencing_check';
    end if;
end
$function$;

revoke all on function dot.fn_lease_assert(text, bigint, bigint, boolean)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_lease_assert(text, bigint, bigint, boolean) is
    'Refuses unless the token is the live one of the candidate''s lease and not lower than the header''s '
    '(23514).';
