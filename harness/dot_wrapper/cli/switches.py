"""``gates``, ``preflight`` and ``attest``: the gates, the preflight checks, and attestations of what SQL cannot see."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from dot_wrapper.cli.output import Json, counted, print_json, print_rows, say, utc
from dot_wrapper.cli.session import open_ledger

app = typer.Typer()
gates = typer.Typer(no_args_is_help=True, help="The gates that DRY_RUN and REAL_RUN need.")
preflight = typer.Typer(no_args_is_help=True, help="The checks that a wrapped action needs.")
app.add_typer(gates, name="gates")
app.add_typer(preflight, name="preflight")


@gates.command("show")
def gates_show(as_json: Json = False) -> None:
    """List the gates: value, whether it opens and why not, and the last audited move.

    Example: dot-wrapper gates show
    """
    with open_ledger() as ledger:
        rows = ledger.select("select * from dot.v_dot_gate order by key")
    if as_json:
        print_json(rows)
        return
    host = {"host_value": "host's"} if any(row["is_governed_by_host"] for row in rows) else {}
    print_rows(
        rows,
        {
            "key": "gate",
            "value": "value",
            **host,
            "is_open": "open",
            "actor": "by",
            "changed_at": "at",
            "reason": "reason",
        },
    )
    for row in rows:
        if row["value"] == "true" and not row["is_open"]:
            say(f"{row['key']} is off: {row['off_because']}")
        if not row["is_audited"]:
            say(f"{row['key']} was changed past fn_dot_config_set: its value is not the last audited one")


@gates.command("holders")
def gates_holders(as_json: Json = False) -> None:
    """List the transactions that a gate switch has to wait for now, prepared ones included.

    Example: dot-wrapper gates holders
    """
    with open_ledger() as ledger:
        rows = ledger.select("select * from dot.v_dot_gate_holder order by pid, prepared_gid, locked_table")
    if as_json:
        print_json(rows)
        return
    for row in rows:
        row["who"] = f"backend {row['pid']}" if row["pid"] else f"prepared transaction {row['prepared_gid']}"
    print_rows(rows, {"who": "who", "login": "login", "application_name": "application", "locked_table": "holds"})
    say(f"{counted(len({row['who'] for row in rows}), 'transaction')} to wait for")


@gates.command("set")
def gates_set(
    key: Annotated[str, typer.Argument(help="The gate, as `dot-wrapper gates show` names it.")],
    value: Annotated[str, typer.Argument(help="true or false.")],
    actor: Annotated[str, typer.Option(help="Who moves it.")],
    reason: Annotated[str, typer.Option(help="Why, for the audit.")],
    as_json: Json = False,
) -> None:
    """Set a gate, audited. It waits for observations in flight; no later one commits with the old value.

    \b
    Example: dot-wrapper gates set process_dot_runtime.execute_enabled false \\
        --actor ana --reason 'end of trial'
    """
    with open_ledger() as ledger:
        before = ledger.call(
            "dot_gatekeeper", "fn_dot_config_set", {"key": key, "value": value, "actor": actor, "reason": reason}
        )
    if as_json:
        print_json({"key": key, "before": before, "after": value})
    else:
        say(f"{key}: {before} -> {value}")


@preflight.command("show")
def preflight_show(as_json: Json = False) -> None:
    """List the preflight checks and their verdicts.

    Example: dot-wrapper preflight show
    """
    with open_ledger() as ledger:
        rows = ledger.preflight()
    if as_json:
        print_json(rows)
    else:
        print_rows(rows, {"check_name": "check", "verdict": "verdict", "detail": "detail"})


@preflight.command("attest")
def preflight_attest(
    actor: Annotated[str, typer.Option(help="Who attests.")],
    finding: Annotated[str, typer.Option(help="What was found, for instance the snapshot's name.")],
    seconds: Annotated[int, typer.Option(min=1, max=604_800, help="For how long it holds.")] = 3600,
    verdict: Annotated[Literal["PASS", "WARN", "BLOCK"], typer.Option(help="What it comes to.")] = "PASS",
    check: Annotated[str, typer.Option(help="The check.")] = "fs_snapshot_present",
    as_json: Json = False,
) -> None:
    """Attest a check that SQL cannot make itself. Only the newest attestation counts.

    \b
    Example: dot-wrapper preflight attest --actor ana \\
        --finding 'snapshot 2026-11-21T02:00'
    """
    with open_ledger() as ledger:
        expires_at = ledger.call(
            "dot_gatekeeper",
            "fn_preflight_attest",
            {
                "check_name": check,
                "verdict": verdict,
                "valid_seconds": seconds,
                "actor": actor,
                "finding": finding,
            },
        )
    if as_json:
        print_json({"check_name": check, "verdict": verdict, "expires_at": expires_at})
    else:
        say(f"{check}: {verdict} until {utc(expires_at)}")


@app.command()
def attest(
    mechanism: Annotated[Literal["scheduler", "api_endpoint"], typer.Argument(help="What was looked at.")],
    present: Annotated[bool, typer.Option("--present/--absent", help="Whether it executes DOTs here.")],
    actor: Annotated[str, typer.Option(help="Who looked.")],
    finding: Annotated[str, typer.Option(help="What was found, and where.")],
    as_json: Json = False,
) -> None:
    """Attest a mechanism of the inventory that SQL cannot see. The newest attestation of each counts.

    \b
    Example: dot-wrapper attest scheduler --absent --actor ana \\
        --finding 'no crontab on the two hosts'
    """
    with open_ledger() as ledger:
        attested_at = ledger.call(
            "dot_gatekeeper",
            "fn_dot_mechanism_attest",
            {"mechanism": mechanism, "present": present, "actor": actor, "finding": finding},
        )
    if as_json:
        print_json({"mechanism": mechanism, "present": present, "attested_at": attested_at})
    else:
        say(f"{mechanism}: {'present' if present else 'absent'}, attested at {utc(attested_at)}")
