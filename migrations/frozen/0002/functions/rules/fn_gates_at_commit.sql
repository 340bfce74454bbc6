-- Asks the gates of a stored dry or real run again when its transaction commits, where a host governs one of
-- them: the host's switch takes no latch of the wrapper's, and may have closed a gate since. Where none does,
-- no gate was closed since: a switch waits for the latch, which this transaction holds to its end.
--
-- It is deferred, and a caller may make it fire earlier (SET CONSTRAINTS), which is refused: its answer would
-- be old at the commit. It fired at the commit where nothing called it, or the COMMIT of a procedure did, and
-- the statement of the session does not have the word that only SET CONSTRAINTS has.
-- Raises 25000 (gate_commit_check), and what fn_gates_assert raises.
create or replace function dot.fn_gates_at_commit()
returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $function$
declare
    v_host record := dot.fn_host_gate_words(dot.fn_gate_keys(new.evidence_type));
    v_called_by text;
begin
    if v_host.words = '{}' then
        return null;
    end if;
    get diagnostics v_called_by = pg_context;
    if split_part(v_called_by, e'\n', 2) !~ '^(.*COMMIT)?$' or current_query() ~* 'constraints' then
        raise invalid_transaction_state using
            message = format('%s is refused: its gates are to be asked at the commit, not before',
                new.evidence_type),
            hint = 'Leave the constraints of schema dot deferred: no SET CONSTRAINTS ... IMMEDIATE.',
            schema = 'dot', constraint = 'gate_commit_check';
    end if;
    perform dot.fn_gates_assert(new.evidence_type, false);
    return null;
end
$function$;

revoke all on function dot.fn_gates_at_commit()
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_gates_at_commit() is
    'Trigger: asks the gates of a dry or real run again at the commit, where a host governs one.';
