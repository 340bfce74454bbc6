-- What a seam stands on, for messages and from its definition: the tables of a host, NULL where it is the
-- wrapper's own; and whether a table of the wrapper's counts too, beside them.
create or replace function dot.fn_seam_tables(p_seam text, out host text, out has_own boolean)
returns record
language plpgsql volatile
as $function$
begin
    select
        string_agg(distinct c.oid::regclass::text, ', ')
            filter (where c.relnamespace <> 'dot'::regnamespace),
        coalesce(bool_or(c.relnamespace = 'dot'::regnamespace), false)
    into host, has_own
    from pg_rewrite r
    join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
    join pg_class c on d.refclassid = 'pg_class'::regclass and c.oid = d.refobjid
    where r.ev_class = to_regclass('dot.' || p_seam)
        and c.oid <> r.ev_class
        and c.relnamespace <> 'pg_catalog'::regnamespace;
end
$function$;

revoke all on function dot.fn_seam_tables(text)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_seam_tables(text) is
    'The tables of a host that a seam stands on, NULL where there are none; and whether own ones count too.';
