-- Refuses a dry or real run because a gate is off: who has to open it depends on whose row keeps it off.
-- Raises check_violation (23514): gate_operator_runtime_enabled_check, gate_execute_enabled_check or
-- gate_real_run_enabled_check.
create or replace function dot.fn_gate_refuse(
    p_evidence_type text, p_key text, p_own_off_because text, p_host_off_because text
)
returns void
language plpgsql volatile
as $function$
begin
    raise check_violation using
        message = format('%s is refused: gate %s is off', p_evidence_type, p_key),
        detail = format('Gate %s: %s.', p_key, concat_ws('; ', p_own_off_because, p_host_off_because)),
        hint = concat_ws(' ', 'SIMULATED_DRY_RUN needs no gate.',
            case when p_own_off_because is not null
                then 'A gatekeeper opens a gate with fn_dot_config_set.' end,
            case when p_host_off_because is not null
                then 'The host''s owner opens the host''s.' end),
        schema = 'dot', table = 'dot_config',
        constraint = format('gate_%s_check', split_part(p_key, '.', 2));
end
$function$;

revoke all on function dot.fn_gate_refuse(text, text, text, text)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_gate_refuse(text, text, text, text) is
    'Refuses a dry or real run because a gate is off (23514), and says who opens it.';
