-- The newest candidate of the chain that a candidate is in, by `supersedes`: by the time of their source
-- where they have one, else by the order in which they were defined. A candidate that is not superseded
-- gives itself; an unknown one NULL.
create or replace function dot.fn_candidate_newest(p_process_candidate_code text)
returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
    set enable_seqscan = off set plan_cache_mode = force_generic_plan
as $function$
begin
    return (
        select newest.code
        from dot.process_candidate as c
        join dot.process_candidate as newest on newest.chain = c.chain
        where c.code = p_process_candidate_code
        order by newest.source_time desc, newest.chain_position desc
        limit 1
    );
end
$function$;

revoke all on function dot.fn_candidate_newest(text)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
-- The views ask it with their reader's rights.
grant execute on function dot.fn_candidate_newest(text) to dot_reader, dot_cataloguer, dot_writer;

comment on function dot.fn_candidate_newest(text) is
    'The newest candidate of a candidate''s chain; itself where it is not superseded.';
