"""Ledger: the wrapper's own tables, append-only, and the bridge functions through which it reaches the host layer."""

from dot_wrapper.deploy.frozen_sql import apply, drop_tables, execute, revert, tables

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# What the tables check by.
CHECKS = (
    "functions/rules/fn_database_identity",
    "functions/rules/fn_is_admitted",
    "functions/rules/fn_is_run_status",
    "functions/rules/fn_component_stage",
    "functions/rules/fn_is_component_status",
    "functions/rules/fn_gates_at_commit",
)

# What the wrapper reads of a host: over its own tables here, over those of the host where it is adopted.
SEAMS = (
    "views/v_host_tool",
    "views/v_host_gate",
    "views/v_host_ledger",
)

BRIDGE = (
    "functions/bridge/fn_host_unreadable",
    "functions/bridge/fn_host_tools",
    "functions/bridge/fn_host_ledgers",
    "functions/bridge/fn_host_gate_words",
    "functions/bridge/fn_host_dot_described",
    "functions/bridge/fn_host_events_wanted",
    "functions/bridge/fn_host_dot_register",
    "functions/bridge/fn_host_gate_value",
    "functions/bridge/fn_host_gate_set",
    "functions/bridge/fn_host_event_set",
    "functions/bridge/fn_host_outbox_append",
    "functions/bridge/fn_host_outbox_after",
    "functions/bridge/fn_host_outbox_position_settled",
    "functions/bridge/fn_host_outbox_prune",
    "functions/bridge/fn_host_lease_acquire",
    "functions/bridge/fn_host_lease_extend",
    "functions/bridge/fn_host_lease_live_token",
    "functions/bridge/fn_host_lease_end",
    "functions/bridge/fn_host_command_log",
    "functions/bridge/fn_host_preflight",
)

APPLIES = CHECKS + SEAMS + BRIDGE

# Oldest first; a table that another refers to comes before it.
APPEND_ONLY = (
    "process_candidate",
    "process_run_observation",
    "process_component_observation",
    "preflight_attestation",
    "dot_config_audit",
    "dot_mechanism_attestation",
    "outbox_epoch",
)


def upgrade() -> None:
    apply(revision, CHECKS)
    execute(tables(__file__))
    for table in APPEND_ONLY:
        execute(f"""
create trigger {table}_append_only before update or delete on dot.{table}
    for each row execute function dot.fn_append_only_refuse();
create trigger {table}_append_only_truncate before truncate on dot.{table}
    for each statement execute function dot.fn_append_only_refuse();
alter table dot.{table} enable always trigger {table}_append_only;
alter table dot.{table} enable always trigger {table}_append_only_truncate;
""")
    # A constraint trigger alone can wait for the commit. A simulation has no admission, and is asked for nothing; IS NOT NULL is
    # what costs least of all that tells it.
    for table in ("process_run_observation", "process_component_observation"):
        execute(f"""
create constraint trigger {table}_gates_at_commit_check after insert on dot.{table}
    deferrable initially deferred
    for each row when (new.admission is not null) execute function dot.fn_gates_at_commit();
alter table dot.{table} enable always trigger {table}_gates_at_commit_check;
""")
    execute("""
-- The cursor moves; its one row never goes.
create trigger outbox_cursor_append_only before delete on dot.outbox_cursor
    for each row execute function dot.fn_append_only_refuse();
create trigger outbox_cursor_append_only_truncate before truncate on dot.outbox_cursor
    for each statement execute function dot.fn_append_only_refuse();
alter table dot.outbox_cursor enable always trigger outbox_cursor_append_only;
alter table dot.outbox_cursor enable always trigger outbox_cursor_append_only_truncate;
""")
    # Without a policy: only the owner reads or writes the ledger, whatever right a login has on all tables
    # of the database.
    for table in (*APPEND_ONLY, "outbox_cursor"):
        execute(f"alter table dot.{table} enable row level security")
    apply(revision, SEAMS)
    apply(revision, BRIDGE)


def downgrade() -> None:
    revert(revision, BRIDGE)
    revert(revision, SEAMS)
    drop_tables(
        (
            "process_component_observation",
            "process_run_observation",
            "process_candidate",
            "preflight_attestation",
            "dot_config_audit",
            "dot_mechanism_attestation",
            "outbox_epoch",
            "outbox_cursor",
        ),
        seeded={
            "outbox_cursor": "select c.epoch, c.xact_id, c.outbox_id from dot.outbox_cursor c"
            " except values (0, '0'::xid8, 0)"
        },
    )
    revert(revision, CHECKS)
