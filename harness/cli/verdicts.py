"""``board``, ``why``, ``inventory``, ``funnel``: what the views say."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from harness.cli.output import Json, print_json, print_rows, say
from harness.errors import UnknownReference
from harness.ledger import Ledger

REASONS: Final = {
    "no_run": "No run of this candidate was ever observed. Record one.",
    "no_real_run": "Only simulated or dry runs were observed, and they can never verify. It takes a REAL_RUN.",
    "producer_missing": "The latest real run has no producer row.",
    "producer_not_completed": "The producer of the latest real run has not completed.",
    "verifier_missing": "The latest real run has no verifier row: nothing looked at what it produced.",
    "verifier_not_completed": "The verifier of the latest real run has not completed.",
    "correlation_differs": "A component of the latest real run carries another correlation id than its header.",
    "verifier_not_after_producer": "The verifier began before the producer had ended: it did not look at this output.",
}
"""What each reason of ``v_process_verification_v3`` means, for people."""


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    for command in (board, why, inventory, funnel):
        app.command()(command)


def board(as_json: Json = False) -> None:
    """List the candidates and whether each is verified, by its latest real run.

    Example: dot-wrapper board --json
    """
    with Ledger() as ledger:
        rows = ledger.select(
            """
            select v.process_candidate_code, v.verified, v.reasons, v.last_verified_run_id,
                c.simulated_runs, c.dry_runs, c.real_runs
            from dot.v_process_verification_v3 as v
            join dot.v_process_run_count as c using (process_candidate_code)
            order by v.process_candidate_code
            """
        )
    if as_json:
        print_json(rows)
        return
    print_rows(
        rows,
        {
            "process_candidate_code": "candidate",
            "verified": "verified",
            "reasons": "why not",
            "simulated_runs": "sim",
            "dry_runs": "dry",
            "real_runs": "real",
        },
    )
    say(f"{len(rows)} candidates, {sum(row['verified'] for row in rows)} verified")


def why(
    candidate: Annotated[str, typer.Argument(help="The process candidate.")],
    as_json: Json = False,
) -> None:
    """Say why a candidate is not verified, one line per missing condition.

    Example: dot-wrapper why bakery.orders
    """
    with Ledger() as ledger:
        rows = ledger.select(
            "select * from dot.v_process_verification_v3 where process_candidate_code = %s", (candidate,)
        )
    if not rows:
        raise UnknownReference(
            f"process candidate {candidate} is not defined", hint="`dot-wrapper board` lists the candidates."
        )
    verdict = rows[0]
    if as_json:
        print_json({**verdict, "explanations": {reason: REASONS[reason] for reason in verdict["reasons"]}})
        return
    say(f"{candidate}: {'verified' if verdict['verified'] else 'not verified'}", style="bold")
    say(f"producer {verdict['producer_dot_code']}, verifier {verdict['verifier_dot_code']}")
    if verdict["latest_real_run_id"]:
        say(f"latest real run: {verdict['latest_real_run_id']} at {verdict['latest_real_run_at']}")
    if verdict["last_verified_run_id"] and not verdict["verified"]:
        say(
            f"last verified run: {verdict['last_verified_run_id']} at {verdict['last_verified_at']}; a newer one is not"
        )
    if verdict["same_session_actor"]:
        say(f"producer and verifier were recorded by the same login, {verdict['producer_session_actor']}")
    if verdict["reasons"]:
        print_rows(
            [{"reason": reason, "meaning": REASONS[reason]} for reason in verdict["reasons"]],
            {"reason": "reason", "meaning": "meaning"},
        )


def inventory(as_json: Json = False) -> None:
    """List every mechanism that could execute a DOT here, and what is known of it (document 02).

    Example: dot-wrapper inventory
    """
    with Ledger() as ledger:
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
    # Nine columns do not fit most terminals: the five short answers share one.
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


def funnel(
    dots: Annotated[bool, typer.Option("--dots", help="One row per DOT instead of the totals.")] = False,
    as_json: Json = False,
) -> None:
    """Show how far the DOTs came: declared, executed, observed (simulated apart), verified.

    Example: dot-wrapper funnel --dots
    """
    with Ledger() as ledger:
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
        print_rows(
            [{"stage": meaning, "dots": total[key]} for key, meaning in stages.items()],
            {"stage": "funnel", "dots": "DOTs"},
        )
