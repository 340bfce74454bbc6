-- Asks what a host says of the gates of a dry or real run again when its transaction commits: the host's
-- switch takes no latch of the wrapper's, and may have closed a gate since. The wrapper's own rows are not
-- asked: a switch of theirs waits for the latch, which this transaction holds to its end. So nothing is
-- asked where no host governs a gate, nor of a row that was stored elsewhere and came by a restore or a
-- replica.
--
-- The trigger is deferred, and a caller may make it fire earlier (SET CONSTRAINTS), which is refused: its
-- answer would be old at the commit.
-- Raises 25000 (gate_commit_check), and what fn_gate_refuse raises.
create or replace function dot.fn_gates_at_commit()
returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $function$
declare
    v_keys text[] := dot.fn_gate_keys(new.evidence_type);
    v_host record;
    v_called_by text;
begin
    if new.xact_id <> pg_current_xact_id() then
        return null;
    end if;
    v_host := dot.fn_host_gate_words(v_keys);
    if v_host.words = '{}' then
        return null;
    end if;
    -- The second line of PG_CONTEXT names what called this trigger. It is empty where the session's
    -- COMMIT fired it, and ends in COMMIT where that of a PL/pgSQL procedure did. A called statement
    -- has the word SQL before its text, in each language of the server's messages: refused. SET
    -- CONSTRAINTS of the session itself has no such line: the session's statement has the two words,
    -- with white space and comments between them. That statement is the whole string that the client
    -- sent, literals too.
    get diagnostics v_called_by = pg_context;
    if split_part(v_called_by, e'\n', 2) !~ '^(((?!SQL).)*PL/pgSQL.* COMMIT)?$'
        or current_query() ~* '\mset(\s|--[^\n\r]*[\n\r]|/\*.*\*/)+constraints\M'
    then
        raise invalid_transaction_state using
            message = format('%s is refused: the host''s gates are asked at the commit, not before',
                new.evidence_type),
            hint = 'Leave the constraints of schema dot deferred: no SET CONSTRAINTS ... IMMEDIATE.',
            schema = 'dot', constraint = 'gate_commit_check';
    end if;
    perform dot.fn_gate_refuse(new.evidence_type, g.key, g.own_off_because, g.host_off_because)
    from dot.fn_gate_state(v_keys, false) as g
    where g.host_off_because is not null;
    return null;
end
$function$;

revoke all on function dot.fn_gates_at_commit()
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_gates_at_commit() is
    'Trigger: asks a host''s gates of a dry or real run again at the commit, where it governs one.';
