-- The revision that this database is at, so that a program can tell it from the one it was written for.
create or replace view dot.v_dot_schema_revision with (security_barrier = true) as
select a.version_num as revision
from dot.alembic_version as a;

revoke all on dot.v_dot_schema_revision from public;
grant select on dot.v_dot_schema_revision to dot_reader;

comment on view dot.v_dot_schema_revision is 'The revision that this database is at.';
comment on column dot.v_dot_schema_revision.revision is 'The revision of the schema.';
