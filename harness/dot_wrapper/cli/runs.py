"""``runs``, ``show`` and ``leases``: the recorded runs, one run in full, and the leases."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from operator import eq, ge, lt
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import typer

from dot_wrapper.cli.ledgers import DatabaseUrls, LedgersFile, labelled, open_ledgers
from dot_wrapper.cli.output import Json, counted, print_json, print_rows, say, utc
from dot_wrapper.cli.session import open_ledger
from dot_wrapper.client.calls import EvidenceType
from dot_wrapper.client.errors import InputError, UnknownReference
from dot_wrapper.client.ledger import Ledger

EndState = Literal["blocked", "failed", "skipped", "completed", "prepared", "awaits_verifier", "stale", "open"]

GRADES: Final = {"SIMULATED_DRY_RUN": "simulated", "DRY_RUN": "dry", "REAL_RUN": "real"}
"""Short names of the evidence types, for a narrow column."""

OfCandidate = Annotated[str | None, typer.Option(help="Its candidate, where runs of several have the same id.")]


app = typer.Typer()


@app.command()
def runs(
    candidate: Annotated[str | None, typer.Option(help="Runs of this candidate alone.")] = None,
    state: Annotated[EndState | None, typer.Option(help="Runs in this state alone.")] = None,
    evidence_type: Annotated[EvidenceType | None, typer.Option(help="Runs of this evidence type alone.")] = None,
    since: Annotated[str | None, typer.Option(help="Runs observed at or after this time (ISO 8601).")] = None,
    until: Annotated[str | None, typer.Option(help="Runs observed before this time (ISO 8601).")] = None,
    occurred_since: Annotated[
        str | None, typer.Option(help="Runs that occurred, as their source says, at or after this time.")
    ] = None,
    occurred_until: Annotated[
        str | None, typer.Option(help="Runs that occurred, as their source says, before this time.")
    ] = None,
    correlation_id: Annotated[str | None, typer.Option(help="Runs with this correlation id alone.")] = None,
    parent: Annotated[UUID | None, typer.Option(help="Runs that this run is the parent of.")] = None,
    after: Annotated[UUID | None, typer.Option(help="The next page: runs older than this one.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many, the newest first.")] = 50,
    database_urls: DatabaseUrls = None,
    ledgers_file: LedgersFile = None,
    as_json: Json = False,
) -> None:
    """List runs, the newest first: candidate, evidence type, where it stands, when it was observed and occurred, by whom.

    A time without a zone is in UTC. A run whose source does not say when it occurred is in no range of that.

    \b
    Example: dot-wrapper runs --candidate bakery.orders --state completed \\
        --since 2026-11-01
    """
    # Imported here, because importing SQLAlchemy takes as long as all other imports of a command.
    from sqlalchemy import select, tuple_

    from dot_wrapper.client.views import RUNS

    run = RUNS.c
    conditions = (
        (eq, run.process_candidate_code, candidate),
        (eq, run.end_state, state),
        (eq, run.evidence_type, evidence_type),
        (ge, run.observed_at, _time("--since", since)),
        (lt, run.observed_at, _time("--until", until)),
        (ge, run.occurred_at, _time("--occurred-since", occurred_since)),
        (lt, run.occurred_at, _time("--occurred-until", occurred_until)),
        (eq, run.correlation_id, correlation_id),
        (eq, run.parent_run_id, parent),
    )
    query = (
        select(
            run.process_candidate_code,
            run.process_run_id,
            run.evidence_type,
            run.end_state,
            run.occurred_at,
            run.observed_at,
            run.last_observed_at,
            run.components,
            run.actor,
            run.session_actor,
            run.idempotency_key,
            run.correlation_id,
            run.parent_run_id,
        )
        .where(*(compare(column, value) for compare, column, value in conditions if value is not None))
        .order_by(run.observed_at.desc(), run.process_run_id.desc())
        .limit(limit)
    )
    with open_ledgers(database_urls, ledgers_file) as ledgers:
        if after is not None:
            last = next((run for _, run in ledgers.ask(lambda one: run_by_id(one, str(after), candidate)) if run), None)
            if last is None:
                raise UnknownReference(f"{after} is no run", hint="`dot-wrapper runs` lists the runs.")
            query = query.where(tuple_(run.observed_at, run.process_run_id) < (last["observed_at"], after))
        pages = ledgers.ask(lambda ledger: ledger.select(query))
    found = [labelled(name, row) for name, page in pages for row in page]
    found = sorted(found, key=lambda row: (row["observed_at"], row["process_run_id"]), reverse=True)[:limit]
    if as_json:
        print_json(found + ledgers.failed())
        ledgers.end()
        return
    # Seven columns are too wide for a terminal: related ones share one.
    print_rows(
        [
            {
                "run": f"{run['process_run_id']}\n{run['process_candidate_code']}"
                + (f"\nin {run['ledger']}" if ledgers.are_named else ""),
                "state": f"{run['end_state']}\n{GRADES[run['evidence_type']]}",
                "at": f"{utc(run['observed_at'])}\n{run['actor']}"
                + (f"\n{utc(run['occurred_at'])}" if run["occurred_at"] else ""),
            }
            for run in found
        ],
        {"run": "run, candidate", "state": "state", "at": "observed, by"},
        lines=True,
    )
    more = f", and perhaps more: --after {found[-1]['process_run_id']}" if len(found) == limit else ""
    say(f"{counted(len(found), 'run')}{more}")
    ledgers.end()


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="The id of a run.")],
    candidate: OfCandidate = None,
    as_json: Json = False,
) -> None:
    """Show all that was recorded of a run: header, components, verdict, what let it in (admission), what was refused, the order of events.

    Example: dot-wrapper show 0198c0de-0000-7000-8000-000000000001
    """
    with open_ledger() as ledger:
        found = run_by_id(ledger, run, candidate)
        if found is None:
            raise UnknownReference(f"{run} is no run", hint="`dot-wrapper runs` lists the runs.")
        found["component_rows"] = ledger.select(
            "select * from dot.v_process_run_component where process_candidate_code = %(process_candidate_code)s"
            " and process_run_id = %(process_run_id)s order by observed_at, component_role",
            found,
        )
        found["verdict"] = verdict_of_run(ledger, found)
        found["refusals"] = ledger.select(
            "select logged_at, actor, session_actor, detail from dot.v_dot_command_run where run_status = 'refused'"
            " and logged_at >= %(observed_at)s and detail ->> 'process_run_id' = %(process_run_id)s::text order by logged_at",
            found,
        )
    if as_json:
        print_json(found)
    else:
        _print_run(found)


def _print_run(run: dict[str, Any]) -> None:
    components = run["component_rows"]
    say(f"run {run['process_run_id']} of {run['process_candidate_code']}: {run['end_state']}", style="bold")
    if run["evidence_type"] == "REAL_RUN":
        verdict = run["verdict"]
        say(": ".join(filter(None, (summary_of(verdict), ", ".join(verdict["reasons"] + verdict["caveats"])))))
    shown = (
        "evidence_type",
        "status",
        "occurred_at",
        "dot_code",
        "correlation_id",
        "parent_run_id",
        "idempotency_key",
        "actor",
        "session_actor",
        "lease_token",
        "input_ref",
        "output_ref",
        "error_ref",
        "evidence_ref",
    )
    _print_fields("header", run, shown)
    for component in components:
        _print_fields(component["component_role"], component, [key for key in shown if key != "parent_run_id"])
    _print_admission(run["admission"])
    if run["refusals"]:
        print_rows(
            [_refusal(one) for one in run["refusals"]],
            {"at": "refused", "what": "what", "constraint": "constraint"},
            title="refused, and not recorded",
        )
    print_rows(
        [
            {
                "at": utc(row["observed_at"], "milliseconds"),
                "what": row.get("component_role", "header"),
                "status": row["status"],
            }
            for row in sorted((run, *components), key=lambda row: row["observed_at"])
        ],
        {"at": "observed", "what": "what", "status": "stored status"},
        title="timeline",
    )


def _refusal(logged: dict[str, Any]) -> dict[str, str]:
    """A refused call of the run, with what it would have recorded."""
    detail = logged["detail"]
    said = [f"{detail['component_role']} {detail['status']}"] if "component_role" in detail else []
    said += [f"{name} {detail[name]}" for name in ("input_ref", "output_ref", "error_ref") if name in detail]
    return {"at": utc(logged["logged_at"]), "what": "\n".join(said), "constraint": str(detail.get("constraint"))}


def _print_fields(title: str, row: dict[str, Any], shown: tuple[str, ...] | list[str]) -> None:
    fields = [{"field": key, "value": row[key]} for key in shown if row[key] is not None and row[key] != {}]
    print_rows(fields, {"field": "field", "value": "value"}, title=title, unfolded="field")


def _print_admission(admission: dict[str, Any] | None) -> None:
    if admission is None:
        say("admission: none, a simulated run needs no gate")
        return
    rows = [{"what": gate, "verdict": value, "detail": "gate"} for gate, value in admission["gates"].items()]
    rows += [
        {"what": one["check_name"], "verdict": one["verdict"], "detail": one["detail"]}
        for one in admission["preflight"]
    ]
    print_rows(rows, {"what": "admission", "verdict": "was", "detail": "detail"})


def run_by_id(ledger: Ledger, run: str, candidate: str | None) -> dict[str, Any] | None:
    """The run with an id; None if there is none. The key of a run is (candidate, id), so two candidates may have runs with one id.

    Raises:
        InputError: runs of several candidates have the id, and no candidate was named.
    """
    try:
        run_id = UUID(run)
    except ValueError:
        return None
    # Through the candidates, so that each is one look-up in the primary key.
    found = ledger.select(
        "select r.* from dot.v_process_candidate as c"
        " join dot.v_process_run as r on r.process_candidate_code = c.process_candidate_code and r.process_run_id = %s"
        " order by r.process_candidate_code",
        (run_id,),
    )
    if candidate is not None:
        found = [one for one in found if one["process_candidate_code"] == candidate]
    if len(found) > 1:
        candidates = ", ".join(one["process_candidate_code"] for one in found)
        raise InputError(f"{run} is a run of each of {candidates}: name one with --candidate")
    return found[0] if found else None


def verdict_of_run(ledger: Ledger, run: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict of a run of any evidence type, with a sentence for each of its reasons and caveats."""
    return ledger.select(
        """
        select process_candidate_code, process_run_id, evidence_type, end_state, verified, independently_verified, reasons,
            caveats, producer_session_actor, verifier_session_actor, same_session_actor, explanations
        from dot.v_process_run_why
        where process_candidate_code = %(process_candidate_code)s and process_run_id = %(process_run_id)s
        """,
        run,
    )[0]


def summary_of(verdict: Mapping[str, Any]) -> str:
    """A verdict in a few words."""
    if not verdict["verified"]:
        return "not verified"
    return "verified independently" if verdict["independently_verified"] else "verified, with caveats"


@app.command()
def leases(
    live: Annotated[bool, typer.Option("--live", help="Only those that are live now.")] = False,
    as_json: Json = False,
) -> None:
    """List the leases: who has which candidate, with which token, until when.

    Example: dot-wrapper leases --live
    """
    with open_ledger() as ledger:
        found = ledger.select("select * from dot.v_dot_lease where is_live or not %s order by lease_key", (live,))
    if as_json:
        print_json(found)
        return
    print_rows(
        found, {"lease_key": "lease", "is_live": "live", "holder": "holder", "token": "token", "expires_at": "until"}
    )
    say(f"{counted(len(found), 'lease')}, {sum(one['is_live'] for one in found)} live")


def _time(option: str, given: str | None) -> datetime | None:
    if given is None:
        return None
    try:
        time = datetime.fromisoformat(given.removesuffix(" UTC"))  # as it is printed
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"{option}: {given!a} is no time; write for instance 2026-11-21 or 2026-11-21T14:30"
        ) from error
