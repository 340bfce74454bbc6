"""``board``, ``why``, ``inventory`` and ``funnel``: verdicts and totals, from the views."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dot_wrapper.cli.output import Json, counted, print_json, print_rows, say, utc
from dot_wrapper.cli.runs import OfCandidate, run_by_id, summary_of, verdict_of_run
from dot_wrapper.cli.session import open_ledger
from dot_wrapper.client.errors import UnknownReference
from dot_wrapper.client.ledger import Ledger

app = typer.Typer()


@app.command()
def board(as_json: Json = False) -> None:
    """List the candidates and whether each is verified, by its latest real run: why not, or with which caveats.

    Example: dot-wrapper board --json
    """
    with open_ledger() as ledger:
        rows = ledger.select(
            """
            select process_candidate_code, verified, independently_verified, reasons, caveats, last_verified_run_id,
                superseded_by, simulated_runs, dry_runs, real_runs
            from dot.v_process_board
            order by process_candidate_code
            """
        )
    if as_json:
        print_json(rows)
        return
    for row in rows:
        later = [f"superseded by {row['superseded_by']}"] if row["superseded_by"] else []
        row["remarks"] = row["reasons"] + row["caveats"] + later
    print_rows(
        rows,
        {
            "process_candidate_code": "candidate",
            "verified": "verified",
            "remarks": "remarks",
            "simulated_runs": "sim",
            "dry_runs": "dry",
            "real_runs": "real",
        },
    )
    verified = [row["independently_verified"] for row in rows if row["verified"]]
    independently = f", {sum(verified)} of them independently" if verified else ""
    say(f"{counted(len(rows), 'candidate')}, {len(verified)} verified{independently}")


@app.command()
def why(
    subject: Annotated[str, typer.Argument(help="A process candidate, or the id of a run.")],
    candidate: OfCandidate = None,
    as_json: Json = False,
) -> None:
    """Say why a candidate, or one run of it, is not verified, one line per missing condition; where it is, with which caveats.

    Example: dot-wrapper why bakery.orders
    """
    with open_ledger() as ledger:
        verdict = _candidate_verdict(ledger, subject) or _run_verdict(ledger, subject, candidate)
    if verdict is None:
        raise UnknownReference(
            f"{subject} is no process candidate and no run",
            hint="`dot-wrapper board` lists the candidates, `dot-wrapper runs` the runs.",
        )
    # In the order of the words: a jsonb object has an order of its own.
    verdict["explanations"] = {word: verdict["explanations"][word] for word in verdict["reasons"] + verdict["caveats"]}
    if as_json:
        print_json(verdict)
        return
    is_run = "process_run_id" in verdict
    say(
        f"{f'run {subject} of ' if is_run else ''}{verdict['process_candidate_code']}: {summary_of(verdict)}",
        style="bold",
    )
    if is_run:
        say(f"{verdict['evidence_type']}, {verdict['end_state']}")
    else:
        _print_candidate(verdict)
    if verdict["explanations"]:
        print_rows(
            [{"word": word, "meaning": meaning} for word, meaning in verdict["explanations"].items()],
            {"word": "caveat" if verdict["verified"] else "reason", "meaning": "meaning"},
        )


def _candidate_verdict(ledger: Ledger, candidate: str) -> dict[str, Any] | None:
    found = ledger.select(
        """
        select process_candidate_code, producer_dot_code, verifier_dot_code, verified, latest_real_run_id, latest_real_run_at,
            last_verified_run_id, last_verified_at, reasons, independently_verified, caveats, producer_session_actor,
            verifier_session_actor, same_session_actor, superseded_by, explanations
        from dot.v_process_board
        where process_candidate_code = %s
        """,
        (candidate,),
    )
    return found[0] if found else None


def _run_verdict(ledger: Ledger, run_id: str, candidate: str | None) -> dict[str, Any] | None:
    """The verdict of one run of any evidence type."""
    run = run_by_id(ledger, run_id, candidate)
    return run and verdict_of_run(ledger, run)


def _print_candidate(verdict: dict[str, Any]) -> None:
    say(f"producer {verdict['producer_dot_code']}, verifier {verdict['verifier_dot_code']}")
    if verdict["superseded_by"]:
        say(f"superseded by {verdict['superseded_by']}: it takes simulations only")
    if verdict["latest_real_run_id"]:
        say(f"latest real run: {verdict['latest_real_run_id']} at {utc(verdict['latest_real_run_at'])}")
    if verdict["last_verified_run_id"] and not verdict["verified"]:
        say(
            f"last verified run: {verdict['last_verified_run_id']} at {utc(verdict['last_verified_at'])};"
            " a newer one is not"
        )


@app.command()
def inventory(as_json: Json = False) -> None:
    """List every mechanism that could execute a DOT here, and what is known of it (document 02).

    Example: dot-wrapper inventory
    """
    with open_ledger() as ledger:
        rows = ledger.select("select * from dot.v_dot_execution_inventory order by position")
    if as_json:
        print_json(rows)
        return
    answers = {
        "can_inject_process_run_id": "inject run id",
        "can_dry_run": "dry run",
        "avoids_mutation": "no mutation",
        "logs_observation": "logs",
        "emits_events": "events",
    }
    # Nine columns are too wide for most terminals: the five short answers share one.
    for row in rows:
        row["answers"] = "\n".join(f"{label}: {row[key] or '-'}" for key, label in answers.items())
        row["verdict"] = f"{row['verdict']}\n({row['basis']})"
    print_rows(
        rows,
        {
            "mechanism": "mechanism",
            "mechanism_exists": "exists",
            "answers": "answers",
            "verdict": "verdict",
        },
        unfolded="answers",
        lines=True,
    )


@app.command()
def funnel(
    dots: Annotated[bool, typer.Option("--dots", help="One row per DOT instead of the totals.")] = False,
    as_json: Json = False,
) -> None:
    """Show how far the DOTs came: declared, executed, observed (simulated apart), verified.

    Example: dot-wrapper funnel --dots
    """
    with open_ledger() as ledger:
        total = ledger.select("select * from dot.v_dot_funnel_total")[0]
        rows = ledger.select("select * from dot.v_dot_funnel order by dot_code") if dots or as_json else []
    if as_json:
        print_json({"total": total, "dots": rows})
    elif dots:
        print_rows(
            rows,
            {
                "dot_code": "DOT",
                "category": "category",
                "usage_count": "used",
                "invoked": "invoked",
                "observed": "observed",
                "simulated": "simulated",
                "verified": "verified",
                **({"blocked_runs": "blocked"} if "blocked_runs" in total else {}),
            },
        )
    else:
        stages = {
            "declared_dots": "declared in the catalogue",
            "executed_dots": "executed: used, or the producer of a dry or real run",
            "observed_dots": "observed in a dry or real run",
            "verified_dots": "in a verified pair",
            "simulated_dots": "apart: seen in simulated runs, which prove nothing about the DOT",
            "backfilled_dots": "apart: a last_executed that is a backfill, and counts for nothing",
        }
        if "blocked_runs" in total:  # the optional amendment is on
            stages["blocked_runs"] = "apart: refused calls that a blocked header tells of; not DOTs but calls"
        print_rows(
            [{"stage": meaning, "dots": total[key]} for key, meaning in stages.items()],
            {"stage": "funnel", "dots": "DOTs"},
        )
