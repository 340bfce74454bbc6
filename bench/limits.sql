-- What the wrapper is measured against: the ledger's tables once more, with the same columns, CHECKs, indexes and foreign keys,
-- and a function that does nothing but the INSERT of fn_process_run_observe. All of it is derived from the catalog, so that it
-- follows the schema.
create schema bench;
grant usage on schema bench to dot_owner;

create table bench.process_run_observation (like dot.process_run_observation including all);
create table bench.process_component_observation (like dot.process_component_observation including all);
-- The same without its CHECKs, and of the types below the domains: what is left is the row and its indexes.
create table bench.unchecked (like dot.process_run_observation including defaults including indexes);
alter table bench.process_run_observation owner to dot_owner;
alter table bench.unchecked owner to dot_owner;
alter table bench.process_component_observation owner to dot_owner;

do $do$
declare
    v_statement text;
begin
    for v_statement in
        select format('alter table bench.unchecked alter column %I type %s', a.attname, t.typbasetype::regtype)
        from pg_attribute as a
        join pg_type as t on t.oid = a.atttypid
        where a.attrelid = 'bench.unchecked'::regclass and t.typtype = 'd'
    loop
        execute v_statement;
    end loop;

    for v_statement in
        select format(
            'alter table bench.%I add constraint %I %s', t.relname, c.conname,
            replace(pg_get_constraintdef(c.oid), 'REFERENCES dot.', 'REFERENCES bench.')
        )
        from pg_constraint as c
        join pg_class as t on t.oid = c.conrelid
        where c.contype = 'f' and c.connamespace = 'dot'::regnamespace
    loop
        execute v_statement;
    end loop;

    -- The same signature, definer and path as fn_process_run_observe. Its p_ parameters are what the INSERT takes.
    select format(
        $create$
        create function bench.fn_insert(%s) returns %s
        language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
        set enable_seqscan = off set plan_cache_mode = force_generic_plan
        as $body$
        begin
            insert into bench.process_run_observation (
                process_run_id, parent_run_id, observed_at, lease_token, dry_run, process_candidate_code, dot_code,
                correlation_id, evidence_type, status, actor, session_actor, idempotency_key, input_ref, output_ref,
                error_ref, evidence_ref
            )
            values (
                p_process_run_id, p_parent_run_id, clock_timestamp(), p_lease_token, p_dry_run, p_process_candidate_code,
                p_dot_code, p_correlation_id, p_evidence_type, p_status, p_actor, session_user, p_idempotency_key,
                p_input_ref, p_output_ref, p_error_ref, p_evidence_ref
            )
            on conflict do nothing
            returning true into created;
            process_run_id := p_process_run_id;
            correlation_id := p_correlation_id;
        end
        $body$
        $create$,
        pg_get_function_arguments(p.oid), pg_get_function_result(p.oid)
    )
    into strict v_statement
    from pg_proc as p
    where p.oid = 'dot.fn_process_run_observe'::regproc;
    execute v_statement;
end
$do$;

alter function bench.fn_insert owner to dot_owner;
