"""Host layer: catalogue, configuration, command log, leases, queue, events, and the business table that stays
untouched; and the domains that a text has to keep to.

The system the wrapper was designed for has these tables; this revision makes them for a fresh database. The
wrapper relies on the columns below and reaches them through ``fn_host_*`` alone (revision 0002).

Every text is collated by its bytes ("C"). The rules of another collation change with a library of the
system: an index that was built under the old ones then misses rows, and a key that is unique is stored twice.
"""

from dot_wrapper.deploy.frozen_sql import apply, drop_tables, execute, revert, tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

APPLIES = (
    "functions/rules/fn_is_code",
    "functions/rules/fn_is_ref",
    "functions/rules/fn_is_line",
    "functions/rules/fn_is_bounded_evidence",
    "functions/rules/fn_is_evidence",
    "functions/rules/fn_is_run_id",
    "functions/rules/fn_append_only_refuse",
    "functions/rules/fn_event_outbox_refuse",
)


# What a fresh database holds. The downgrade compares with it, so each row is written once.
CONFIG_SEEDS = """\
    ('iu_core.operator_runtime_enabled', 'false'),
    ('process_dot_runtime.execute_enabled', 'false'),
    ('process_dot_runtime.real_run_enabled', 'false'),
    ('queue.worker.enabled', 'false')"""
COMMAND_SEEDS = """\
    ('dot_wrapper.rehearse', false, 'The caller path without execution: a SIMULATED_DRY_RUN.'),
    ('dot_wrapper.execute', true, 'The caller path for a DRY_RUN (plan) or REAL_RUN (apply).'),
    ('dot_wrapper.preflight_attest', false, 'An attestation made or renewed by a program.')"""
EVENT_TYPE_SEEDS = """\
    ('process.run.observed', false),
    ('process.run.started', false),
    ('process.run.completed', false),
    ('process.run.failed', false),
    ('process.run.cancelled', false),
    ('process.component.observed', false),
    ('process.component.step_started', false),
    ('process.component.step_completed', false),
    ('process.component.failed', false),
    ('process.component.cancelled', false)"""

# What the bridge does to each table of the host layer: row security lets it do that and nothing else. The
# grants are below.
BRIDGE_MAY = {
    "dot_tools": ("select", "insert", "update"),
    "dot_config": ("select", "insert", "update"),
    "dot_iu_command_catalog": ("select",),
    "dot_iu_command_run": ("select", "insert"),
    "dot_iu_runtime_lease": ("select", "insert", "update"),
    "job_queue": (),
    "event_type": ("select", "update"),
    "event_outbox": ("select", "insert", "delete"),
    "universal_edges": (),
}
ROWS = {
    "select": "using (true)",
    "insert": "with check (true)",
    "update": "using (true) with check (true)",
    "delete": "using (true)",
}


def upgrade() -> None:
    # Functions are born executable by PUBLIC. Each file revokes that; this catches one that forgets. Only the
    # form without a schema has an effect.
    execute("alter default privileges for role dot_owner revoke execute on functions from public")
    execute(
        "grant usage on schema dot to dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader"
    )
    apply(revision, APPLIES)
    execute(tables(__file__))
    execute(f"insert into dot.dot_config (key, value) values\n{CONFIG_SEEDS}")
    execute(f"insert into dot.dot_iu_command_catalog (command_name, mutating, description) values\n{COMMAND_SEEDS}")
    execute(f"insert into dot.event_type (event_type, active) values\n{EVENT_TYPE_SEEDS}")
    for table, verbs in BRIDGE_MAY.items():
        policies = "".join(
            f"create policy {table}_bridge_{verb} on dot.{table} for {verb} to dot_bridge {ROWS[verb]};\n"
            for verb in verbs
        )
        execute(f"alter table dot.{table} enable row level security;\n{policies}")


def downgrade() -> None:
    drop_tables(
        (
            "dot_tools",
            "dot_config",
            "dot_iu_command_run",
            "dot_iu_command_catalog",
            "dot_iu_runtime_lease",
            "job_queue",
            "event_outbox",
            "event_type",
            "universal_edges",
        ),
        seeded={
            "dot_config": f"select c.key, c.value from dot.dot_config c except values {CONFIG_SEEDS}",
            "dot_iu_command_catalog": "select c.command_name, c.mutating, c.description"
            " from dot.dot_iu_command_catalog c"
            f" except values {COMMAND_SEEDS}",
            "event_type": f"select e.event_type, e.active from dot.event_type e except values {EVENT_TYPE_SEEDS}",
        },
    )
    execute("alter table dot.alembic_version disable row level security")
    execute("drop domain dot.code, dot.component_key, dot.ref, dot.run_id, dot.evidence, dot.component_role")
    revert(revision, APPLIES)
    execute(
        "revoke usage on schema dot from dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader"
    )
    execute("alter default privileges for role dot_owner grant execute on functions to public")
