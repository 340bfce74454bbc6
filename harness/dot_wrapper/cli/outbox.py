"""``outbox``: the events that observations write: state, delivery by hand, and removal of delivered ones."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer
from psycopg.types.numeric import Int4

from dot_wrapper.cli.output import Json, counted, print_error, print_json, print_rows, say
from dot_wrapper.cli.session import open_ledger
from dot_wrapper.client.errors import DotWrapperError

REMOVED_AT_ONCE: Final = 1000
"""Events that one transaction removes at most."""

PROGRESS_EVERY: Final = 100_000
"""Removed events between two lines of progress."""

app = typer.Typer()
commands = typer.Typer(no_args_is_help=True, help="The events that observations write, and how far they are delivered.")
app.add_typer(commands, name="outbox")


@commands.command("show")
def show(as_json: Json = False) -> None:
    """Show depth and lag of the outbox, counted from the cursor, and which event types are active.

    Example: dot-wrapper outbox show
    """
    with open_ledger() as ledger:
        states = ledger.select("select * from dot.v_dot_outbox")
        if not states:
            raise DotWrapperError("the outbox has no cursor", hint="`dot-wrapper doctor` says what else is wrong.")
        state = states[0]
        types = ledger.select("select * from dot.v_dot_event_type order by event_type")
    if as_json:
        print_json({**state, "event_types": types})
        return
    say(f"waiting: {counted(state['depth'], 'event')}, the oldest for {state['lag_seconds']} s")
    say(f"the cursor stands at {state['cursor_epoch']} {state['cursor_xact_id']} {state['cursor_id']}")
    print_rows(types, {"event_type": "event type", "active": "active"})


@commands.command("poll")
def poll(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the oldest first.")] = 100,
    as_json: Json = False,
) -> None:
    """Show the events after the cursor, the oldest first. Nothing moves until `dot-wrapper outbox ack`.

    Example: dot-wrapper outbox poll --limit 10 --json
    """

    with open_ledger() as ledger:
        events = ledger.select("select * from dot.fn_dot_outbox_poll(%s)", (limit,), role="dot_relay")
    if as_json:
        print_json(events)
        return
    print_rows(
        [
            {
                **event,
                "position": f"{event['epoch']} {event['xact_id']} {event['id']}",
                "payload": _lines(event["payload"]),
            }
            for event in events
        ],
        {"position": "position", "type": "type", "payload": "payload"},
        lines=True,
    )
    say(counted(len(events), "event"))


@commands.command("ack")
def ack(
    epoch: Annotated[int, typer.Argument(min=0, max=2**31 - 1, help="The epoch of the last event delivered.")],
    xact_id: Annotated[
        int, typer.Argument(min=0, max=2**64 - 1, help="The transaction of the last event delivered, as poll shows it.")
    ],
    event_id: Annotated[
        int, typer.Argument(metavar="ID", min=0, max=2**63 - 1, help="The id of the last event delivered.")
    ],
    as_json: Json = False,
) -> None:
    """Acknowledge all events up to a position that poll has shown.

    Example: dot-wrapper outbox ack 1 1234 17
    """
    position = {"epoch": epoch, "xact_id": str(xact_id), "id": event_id}
    with open_ledger() as ledger:
        ledger.call("dot_relay", "fn_dot_outbox_ack", position)
    if as_json:
        print_json(position)
    else:
        say(f"delivered up to {epoch} {xact_id} {event_id}")


@commands.command("prune")
def prune(as_json: Json = False) -> None:
    """Remove the events that were acknowledged and are older than seven days. The rest stays.

    A thousand a transaction: it may be interrupted, and goes on where it was.

    Example: dot-wrapper outbox prune
    """
    removed = 0
    with open_ledger() as ledger:
        while now := ledger.call("dot_relay", "fn_dot_outbox_prune", {"limit": Int4(REMOVED_AT_ONCE)}):
            removed += now
            if removed % PROGRESS_EVERY < now:
                print_error(f"{counted(removed, 'event')} removed so far")
    if as_json:
        print_json({"removed": removed})
    else:
        say(f"removed: {counted(removed, 'event')}")


@commands.command("switch")
def switch(
    event_type: Annotated[str, typer.Argument(help="The event type, as `dot-wrapper outbox show` names it.")],
    active: Annotated[bool, typer.Option("--on/--off", help="Whether observations of that type write an event.")],
    actor: Annotated[str, typer.Option(help="Who switches it.")],
    reason: Annotated[str, typer.Option(help="Why, for the audit.")],
    as_json: Json = False,
) -> None:
    """Switch an event type on or off, audited.

    \b
    Example: dot-wrapper outbox switch process.run.failed --on --actor ana \\
        --reason 'pager wants it'
    """
    arguments = {"event_type": event_type, "active": active, "actor": actor, "reason": reason}
    with open_ledger() as ledger:
        before = ledger.call("dot_gatekeeper", "fn_event_type_set", arguments)
    if as_json:
        print_json({"event_type": event_type, "before": before, "after": active})
    else:
        say(f"{event_type}: {'on' if before else 'off'} -> {'on' if active else 'off'}")


def _lines(payload: dict[str, Any]) -> str:
    return "\n".join(f"{key}: {value}" for key, value in payload.items() if value is not None)
