-- The revision that this database is at, so that a program can tell it from the one it was written for. A
-- view of one table could be written through by a login that may write all data, with the rights of the
-- view's owner: it is a join, which cannot.
create or replace view dot.v_dot_schema_revision with (security_barrier = true) as
select a.version_num as revision
from dot.alembic_version as a
cross join (values (true)) as one_row (unused);

revoke all on dot.v_dot_schema_revision
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_dot_schema_revision to dot_reader;

comment on view dot.v_dot_schema_revision is 'The revision that this database is at.';
comment on column dot.v_dot_schema_revision.revision is 'The revision of the schema.';
