-- Takes dot.gate_latch until the transaction ends, in the mode of its purpose: `observe` (ROW SHARE) lets
-- others observe and attest, `attest` (SHARE UPDATE EXCLUSIVE) lets others observe and orders attestations
-- and audit rows, `switch` (EXCLUSIVE) waits for all. No transaction that has it can be prepared, and from
-- here to its end it waits at most 5 s for each lock: a switch would wait with it.
-- Raises 55P03 where that time runs out; fn_dot_config_set names the holders.
create or replace function dot.fn_gate_latch(p_purpose text)
returns void
language plpgsql volatile
as $function$
begin
    if (current_setting('lock_timeout')::interval between '1 ms' and '5 s') is not true then
        perform set_config('lock_timeout', '5s', true);
    end if;
    case p_purpose
        when 'observe' then lock table dot.gate_latch in row share mode;
        when 'attest' then lock table dot.gate_latch in share update exclusive mode;
        when 'switch' then lock table dot.gate_latch in exclusive mode;
    end case;
    perform dot.fn_prepare_forbid();
end
$function$;

revoke all on function dot.fn_gate_latch(text)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_gate_latch(text) is
    'Takes the gate latch to observe, attest or switch; a transaction that has it cannot be prepared.';
