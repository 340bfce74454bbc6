"""What can be done to a database that is in use so that it no longer keeps a promise."""

from __future__ import annotations

from support.tampers import ALL, replaced, view

_BY_NAME = {one.name: one.done for one in ALL}

SABOTAGES: dict[str, str] = {
    **{
        name: _BY_NAME[name]
        for name in (
            "function body emptied",
            "verdict view says verified",
            "CHECK of the same name weakened",
            "append-only trigger never fires",
            "writer may write the ledger",
            "definer back door",
            "search_path of a definer reset",
            "definer made invoker",
            "execute for PUBLIC",
            "unique index made plain",
            "trigger disabled",
            "trigger for replicas only",
            "trigger function swapped",
            "trigger narrowed to DELETE",
            "extra trigger that changes rows",
            "rule that swallows rows",
            "foreign key dropped",
            "plpgsql body changed",
            "SQL body changed",
            "function dropped",
            "barrier dropped",
            "policy hides rows",
            "NOT NULL dropped",
            "latch dropped",
            "domain CHECK replaced",
            "view runs as its reader",
            "right on a column",
            "writer lost execute",
            "row security off",
            "default rights in the schema",
        )
    },
    "outbox swallows its events": "create rule r as on insert to dot.event_outbox do instead nothing",
    "host trigger rewrites the actor": (
        "create schema host; grant usage on schema host to public;"
        " create function host.rewrite() returns trigger language plpgsql as"
        " $$ begin new.actor := 'another'; return new; end $$;"
        " create trigger rewrite before insert on dot.process_run_observation for each row execute function host.rewrite()"
    ),
    "comparison changed": replaced("fn_is_ref", "<= 1024", "<= 2048"),
    "operands swapped": view("v_process_run_runtime_v2", r"verifier_first_at > k\.producer_completed_at", "producer_completed_at > k.verifier_first_at"),
    "a gate left out": replaced("fn_gate_keys", "process_dot_runtime.real_run_enabled", "process_dot_runtime.execute_enabled"),
    "gate row deleted": "delete from dot.dot_config where key = 'process_dot_runtime.real_run_enabled'",
    "gate opened past its function": "update dot.dot_config set value = 'true' where key = 'process_dot_runtime.real_run_enabled'",
    "event type deleted": "delete from dot.event_type where event_type = 'process.run.started'",
    "cursor ahead": "update dot.outbox_cursor set epoch = 7",
}  # fmt: skip
"""Statements of a superuser, by what they do. The last four change rows and no definition."""
