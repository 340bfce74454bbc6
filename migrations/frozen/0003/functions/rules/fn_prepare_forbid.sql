-- Keeps the transaction from being prepared: one that has listened cannot be (0A000). A prepared transaction
-- keeps its locks without end, so what others wait for is never taken in one. LISTEN takes effect at commit,
-- and UNLISTEN has ended it by then: no session is left listening. Where no transaction can be prepared at
-- all nothing is done.
create or replace function dot.fn_prepare_forbid()
returns void
language plpgsql volatile
as $function$
begin
    if current_setting('max_prepared_transactions') <> '0' then
        listen dot_wrapper;
        unlisten dot_wrapper;
    end if;
end
$function$;

revoke all on function dot.fn_prepare_forbid()
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_prepare_forbid() is 'Keeps the transaction from being prepared.';
