-- A column that costs the catalog alone.
alter table dot.process_run_observation add column made_up_reason text;

-- squawk-ignore require-table-schema
create table dot.made_up_note (
    note_id bigint generated always as identity constraint made_up_note_pkey primary key,
    code dot.code not null,
    body text not null
);
create function dot.fn_made_up_refuse() returns trigger
language plpgsql security invoker
as $function$
begin
    raise restrict_violation using message = 'notes are kept';
end
$function$;
revoke all on function dot.fn_made_up_refuse() from public;
create trigger made_up_note_refuse before update on dot.made_up_note
    for each row execute function dot.fn_made_up_refuse();
alter table dot.made_up_note enable always trigger made_up_note_refuse;
-- Rows, so that a rehearsal has some to rewrite and to read.
insert into dot.made_up_note (code, body)
select 'note.' || i, 'a note' from generate_series(1, 1000) as i;
