-- Raises unless each required check is there exactly once and every verdict is exactly PASS or WARN. No
-- rows, a check missing or twice, or an unknown word blocks as BLOCK does; the message names all that block.
-- Returns the rows that let the action pass, for the record.
-- Raises:
--   23514  preflight_check
create or replace function dot.fn_assert_safe_for_dot_action()
returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $function$
declare
    c_required constant text[] := array[
        'fs_snapshot_present', 'gates_readable', 'catalogue_present', 'lease_table_usable'
    ];
    v_rows jsonb;
    v_reported text[];
    v_blocking text[];
    v_required text;
begin
    select
        jsonb_agg(to_jsonb(g)),
        array_agg(g.check_name),
        array_agg(format('%s (%s: %s)', g.check_name, coalesce(g.verdict, 'no verdict'),
            coalesce(g.detail, 'no detail'))) filter (where (g.verdict in ('PASS', 'WARN')) is not true)
    into v_rows, v_reported, v_blocking
    from dot.fn_preflight_guard() as g;
    foreach v_required in array c_required loop
        if (cardinality(array_positions(v_reported, v_required)) = 1) is not true then
            v_blocking := v_blocking || format('%s (reported %s times, not once)', v_required,
                coalesce(cardinality(array_positions(v_reported, v_required)), 0));
        end if;
    end loop;
    if v_blocking is not null then
        raise check_violation using
            message = 'preflight blocks: ' || array_to_string(array(
                select b.why from unnest(v_blocking) as b (why) order by b.why collate "C"
            ), '; '),
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
