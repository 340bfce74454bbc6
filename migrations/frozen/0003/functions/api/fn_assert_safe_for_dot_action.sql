-- Raises unless each required check is there exactly once and every verdict is exactly PASS or WARN. No
-- rows, a check missing or twice, or an unknown word blocks as BLOCK does; the message names all that block.
-- Returns the rows that let the action pass, for the record. Raises check_violation (23514), constraint
-- preflight_check.
create or replace function dot.fn_assert_safe_for_dot_action()
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $function$
declare
    v_rows jsonb;
    v_blocking text;
begin
    select jsonb_agg(to_jsonb(g)) into v_rows from dot.fn_preflight_guard() as g;

    select string_agg(format('%s (%s)', b.check_name, b.why), '; ' order by b.check_name) into v_blocking
    from (
        select
            r.check_name,
            coalesce(r.verdict, 'no verdict') || ': ' || coalesce(r.detail, 'no detail') as why
        from jsonb_to_recordset(v_rows) as r (check_name text, verdict text, detail text)
        where (r.verdict in ('PASS', 'WARN')) is not true
        union all
        select q.check_name, format('reported %s times, not once', count(r.check_name))
        from unnest(array[
            'fs_snapshot_present', 'gates_readable', 'catalogue_present', 'lease_table_usable'
        ]) as q (check_name)
        left join jsonb_to_recordset(v_rows) as r (check_name text) on r.check_name = q.check_name
        group by q.check_name
        having count(r.check_name) <> 1
    ) as b;
    if v_blocking is not null then
        raise check_violation using
            message = 'preflight blocks: ' || v_blocking,
            hint = 'See fn_preflight_guard(). A gatekeeper attests fs_snapshot_present with '
                'fn_preflight_attest.',
            schema = 'dot',
            constraint = 'preflight_check';
    end if;
    return v_rows;
end
$function$;

revoke all on function dot.fn_assert_safe_for_dot_action()
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_assert_safe_for_dot_action() to dot_writer;

comment on function dot.fn_assert_safe_for_dot_action() is
    'Refuses (23514) unless every required preflight check is there once with PASS or WARN; returns the '
    'rows.';
