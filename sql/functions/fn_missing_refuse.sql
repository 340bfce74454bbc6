-- Refuses a required argument that is NULL: not_null_violation (23502), constraint `<table>_<argument>_not_null`.
create or replace function dot.fn_missing_refuse(p_table text, p_argument text)
returns void
language plpgsql immutable
as $function$
begin
    raise not_null_violation using
        message = format('%s is required', p_argument),
        hint = format('Pass p_%s; NULL is never replaced by a default.', p_argument),
        schema = 'dot',
        table = p_table,
        column = p_argument,
        constraint = format('%s_%s_not_null', p_table, p_argument);
end
$function$;

revoke all on function dot.fn_missing_refuse(text, text) from public;

comment on function dot.fn_missing_refuse(text, text) is 'Refuses a required argument that is NULL (23502).';
