"""``board``, ``why``, ``inventory`` and ``funnel``: verdicts and totals, from the views."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal

import typer

from dot_wrapper.cli.ledgers import DatabaseUrls, LedgersFile, labelled, open_ledgers
from dot_wrapper.cli.output import Json, age, counted, print_json, print_rows, say, short_name, utc
from dot_wrapper.cli.runs import GRADES, OfCandidate, run_by_id, summary_of, verdict_of_run
from dot_wrapper.cli.session import open_ledger
from dot_wrapper.client.errors import UnknownReference
from dot_wrapper.client.ledger import Ledger

Outcome = Literal["failed", "warned", "skipped", "passed", "prepared", "awaits_verifier", "stale", "open", "never"]

app = typer.Typer()


@app.command()
def board(
    state: Annotated[
        Outcome | None, typer.Option(help="Candidates whose newest run came to this, or had none (never).")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Candidates with this producer: its code, or the end of it.")
    ] = None,
    superseded: Annotated[bool, typer.Option("--superseded", help="Those too that another candidate follows.")] = False,
    wide: Annotated[bool, typer.Option("--wide", help="Full codes and run counts, for a wide terminal.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="At most so many.")] = 20,
    database_urls: DatabaseUrls = None,
    ledgers_file: LedgersFile = None,
    as_json: Json = False,
) -> None:
    """List the candidates: what was last seen of each, simulated or not, and whether it is verified by its latest real run.

    Those that failed come first, then those that warned or were skipped. What was seen in a simulated run verifies nothing.

    Example: dot-wrapper board --state failed --model orders
    """
    with open_ledgers(database_urls, ledgers_file) as ledgers:
        boards = ledgers.ask(lambda ledger: _board(ledger, state, model, superseded, limit))
    rows = sorted((labelled(name, row) for name, (page, _) in boards for row in page), key=_rank)[:limit]
    total = sum((Counter(counts) for _, (_, counts) in boards), Counter())
    if as_json:
        print_json(rows + ledgers.failed())
        ledgers.end()
        return
    for row in rows:
        row |= _shown(row, wide)
    columns = {"ledger": "ledger"} if ledgers.are_named else {}
    columns |= {"name": "candidate", "seen": "last seen", "when": "when, UTC", "verdict": "verified"}
    if wide:
        columns |= {"simulated_runs": "sim", "dry_runs": "dry", "real_runs": "real"}
    print_rows(rows, columns, unfolded="when")
    independently = f", {total['independently']} of them independently" if total["verified"] else ""
    say(f"{counted(total['candidates'], 'candidate')}, {total['verified']} verified{independently}")
    if total["candidates"] > len(rows):
        say(f"and {total['candidates'] - len(rows)} more: --limit, --state, --model")
    ledgers.end()


def _rank(row: dict[str, Any]) -> tuple[object, ...]:
    """The order of a board, as of the query of one: first what needs to be looked at."""
    seen = row["last_seen"]
    first = ("failed", "warned", "skipped")
    return first.index(seen) if seen in first else len(first), seen is None, seen or "", row["process_candidate_code"]


def _board(
    ledger: Ledger, state: str | None, model: str | None, superseded: bool, limit: int
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """A page of the board, and how many candidates it is a page of."""
    rows = ledger.select(
        """
        with chosen as (
            select v3.process_candidate_code, v3.producer_dot_code, v3.verified, v3.independently_verified, v3.reasons,
                v3.caveats, v3.last_verified_run_id, v3.last_verified_at, v3.superseded_by, seen.outcome as last_seen,
                seen.ran_at, seen.actor, seen.process_run_id as last_seen_run_id, seen.evidence_type as last_seen_as,
                seen.evidence_ref -> 'failures' as failures,
                count(*) over () as candidates,
                count(*) filter (where v3.verified) over () as verified_candidates,
                count(*) filter (where v3.independently_verified) over () as independently
            from dot.v_process_verification_v3 as v3
            join dot.v_process_last_seen as seen on seen.process_candidate_code = v3.process_candidate_code
            where (%(superseded)s or v3.superseded_by is null)
                and (%(state)s::text is null or coalesce(seen.outcome, 'never') = %(state)s)
                and (%(model)s::text is null or v3.producer_dot_code = %(model)s
                    or right(v3.producer_dot_code, length(%(model)s) + 1) = '.' || %(model)s)
            order by array_position('{failed,warned,skipped}', seen.outcome), seen.outcome, v3.process_candidate_code
            limit %(limit)s
        )
        select chosen.*, c.simulated_runs, c.dry_runs, c.real_runs
        from chosen
        join dot.v_process_run_count as c on c.process_candidate_code = chosen.process_candidate_code
        order by array_position('{failed,warned,skipped}', last_seen), last_seen, chosen.process_candidate_code
        """,
        {"superseded": superseded, "state": state, "model": model, "limit": limit},
    )
    totals = {"candidates": "candidates", "verified_candidates": "verified", "independently": "independently"}
    total = dict.fromkeys(totals.values(), 0)
    for row in rows:
        total |= {name: row.pop(column) for column, name in totals.items()}
    return rows, total


def _shown(row: dict[str, Any], wide: bool) -> dict[str, str]:
    """The cells of a row of the board, two lines each."""
    name, pair = (str, str) if wide else (short_name, _short_pair)
    failures = f" ({row['failures']})" if row["failures"] else ""
    # What follows from the columns beside it is not said again.
    remarks = [word for word in row["reasons"] if word not in ("no_run", "no_real_run")] + row["caveats"]
    if row["superseded_by"]:
        remarks.append(f"superseded by {pair(row['superseded_by'])}")
    verdict = "yes" if row["verified"] else "no"
    if row["last_verified_at"]:
        verdict += f", {'' if row['verified'] else 'last '}{age(row['last_verified_at'])}"
    return {
        "name": f"{name(row['process_candidate_code'])}\n  of {name(row['producer_dot_code'])}",
        "seen": f"{row['last_seen']}{failures}\nby {row['actor']}" if row["last_seen"] else "never",
        "when": f"{utc(row['ran_at'])[:16]}\n{GRADES[row['last_seen_as']]}" if row["ran_at"] else "",
        "verdict": "\n".join(filter(None, (verdict, ", ".join(remarks)))),
    }


def _short_pair(code: str) -> str:
    """The short name of a candidate with what tells it from others of its test: the node that it is of."""
    return "@".join(map(short_name, code.split("@")))


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
                hint=ledger.hint_of_unknown(subject)
                or "`dot-wrapper board` lists the candidates, `dot-wrapper runs` the runs.",
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
        at = verdict["latest_real_run_at"]
        say(f"latest real run: {verdict['latest_real_run_id']} at {utc(at)}, {age(at)}")
    if verdict["last_verified_run_id"] and not verdict["verified"]:
        at = verdict["last_verified_at"]
        say(f"last verified run: {verdict['last_verified_run_id']} at {utc(at)}, {age(at)}; a newer one is not")


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
