-- Refuses an idempotency key that comes again with another payload: unique_violation (23505), constraint
-- idempotency_payload_mismatch, the differing fields named in DETAIL.
create or replace function dot.fn_payload_mismatch_refuse(
    p_table text, p_idempotency_key text, p_process_run_id uuid, p_differing text[]
)
returns void
language plpgsql immutable
as $function$
begin
    raise unique_violation using
        message = format('idempotency key %s was used with another payload', p_idempotency_key),
        detail = format('Stored for run %s. Differing fields: %s.', p_process_run_id,
            array_to_string(p_differing, ', ')),
        hint = 'Repeat a call with what it was first sent with; record something else under another key.',
        schema = 'dot',
        table = p_table,
        constraint = 'idempotency_payload_mismatch';
end
$function$;

revoke all on function dot.fn_payload_mismatch_refuse(text, text, uuid, text[])
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_payload_mismatch_refuse(text, text, uuid, text[]) is
    'Refuses an idempotency key that comes again with another payload, naming the fields (23505).';
