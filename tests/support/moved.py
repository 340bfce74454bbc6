"""Databases that are moved: what is in them beforehand, how one looks afterwards, and the commands of docs/howto/moving.md."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from dot_wrapper.client import database
from dot_wrapper.files import ROOT
from dot_wrapper.operations import doctor
from dot_wrapper.operations.scratch import as_owner
from dot_wrapper.proving.databases import database_url, drop_database
from support import GATES, PAIR, Connection, define_pair_as, observe_component, observe_run, poll_until, rows, value
from support.documents import Block, Session, blocks
from tools.scratch import programs

PAGE = ROOT / "docs" / "howto" / "moving.md"

OTHER_PAIR = "shop.refunds"
EVENTS = ("process.run.started", "process.component.step_completed")


def connect(url: str) -> Connection:
    """A connection as the login of the URL, here a superuser."""
    return psycopg.connect(url, autocommit=True, row_factory=dict_row)


def fill(url: str) -> None:
    """Everything that a move can leave wrong: open gates, an attestation that holds, a live lease with an unfinished run under it,
    a verified run, events of which one is delivered, and an attested mechanism."""
    with connect(url) as session:
        for pair in (PAIR, OTHER_PAIR):
            define_pair_as(session, pair)
        for gate in GATES:
            session.execute("select dot.fn_dot_config_set(%s, 'true', 'ana', 'a trial')", (gate,))
        session.execute("select dot.fn_preflight_attest('fs_snapshot_present', 'PASS', 3600, 'ana', 'snapshot 4711')")
        session.execute("select dot.fn_dot_mechanism_attest('scheduler', false, 'ana', 'no crontab on the two hosts')")
        for event in EVENTS:
            session.execute("select dot.fn_event_type_set(%s, true, 'ana', 'the pager wants it')", (event,))
        for pair in (PAIR, OTHER_PAIR):
            token = acquire(session, pair)
            run = observe_real(session, pair, token)
            if pair == PAIR:
                observe_component(session, run, "producer", lease_token=token, process_candidate_code=pair)
                observe_component(session, run, "verifier", lease_token=token, process_candidate_code=pair)
                session.execute(
                    "select dot.fn_dot_iu_runtime_lease_release(%s, 'tester', %s)", (f"dot_exec:{pair}", token)
                )
        first, *_ = poll_until(session, 4)
        session.execute("select dot.fn_dot_outbox_ack(%s, %s, %s)", (first["epoch"], first["xact_id"], first["id"]))


def acquire(session: Connection, pair: str) -> int:
    return int(value(session, "select dot.fn_dot_iu_runtime_lease_acquire(%s, 'tester', 3600)", f"dot_exec:{pair}"))


def observe_real(session: Connection, pair: str, token: int) -> uuid.UUID:
    run = uuid.uuid4()
    observe_run(session, process_run_id=run, evidence_type="REAL_RUN", lease_token=token, process_candidate_code=pair)
    return run


@dataclass(frozen=True)
class Look:
    """How a database stands: what a move may change, and what it must not."""

    owners: dict[str, int]
    """Which role owns how many bridge functions, and how many other objects."""
    triggers: dict[str, int]
    open_gates: int
    live_leases: int
    tokens: dict[str, int]
    attested: bool
    """Whether the newest attestation counts here."""
    waiting: int
    """Events that are not acknowledged."""
    shown: int
    """Events that the relay is shown."""
    evidence: dict[str, int]
    """Rows of each table that is never changed."""
    verified: bool


EVIDENCE = (
    "process_candidate",
    "process_run_observation",
    "process_component_observation",
    "event_outbox",
    "dot_mechanism_attestation",
)

_OWNERS = """
select o.owner || ' ' || o.kind as what, count(*) as n from (
    select p.proowner::regrole::text as owner,
        case when starts_with(p.proname, 'fn_host_') then 'bridge' else 'other' end as kind
    from pg_proc as p where p.pronamespace = 'dot'::regnamespace
    union all
    select c.relowner::regrole::text, 'other' from pg_class as c where c.relnamespace = 'dot'::regnamespace
    union all
    select n.nspowner::regrole::text, 'other' from pg_namespace as n where n.nspname = 'dot'
) as o group by 1
"""


def look(url: str) -> Look:
    """How a database stands, by a superuser."""
    with connect(url) as session:
        return Look(
            owners={one["what"]: one["n"] for one in rows(session, _OWNERS)},
            triggers={
                one["tgenabled"]: one["n"]
                for one in rows(
                    session,
                    "select tgenabled::text, count(*) as n from pg_trigger join pg_class as c on c.oid = tgrelid"
                    " where c.relnamespace = 'dot'::regnamespace and not tgisinternal group by 1",
                )
            },
            open_gates=value(session, "select count(*) from dot.dot_config where value = 'true'"),
            live_leases=value(session, "select count(*) from dot.dot_iu_runtime_lease where expires_at > now()"),
            tokens={
                one["lease_key"]: one["token"]
                for one in rows(session, "select lease_key, token from dot.dot_iu_runtime_lease")
            },
            attested=value(
                session,
                "select verdict <> 'BLOCK' from dot.fn_preflight_attestation('fs_snapshot_present')",
            ),
            waiting=value(session, "select depth from dot.v_dot_outbox"),
            shown=shown(session),
            evidence={one: value(session, f"select count(*) from dot.{one}") for one in EVIDENCE},
            verified=value(
                session,
                "select coalesce(bool_and(verified), false) from dot.v_process_verification_v3 where process_candidate_code = %s",
                PAIR,
            ),
        )


def safe(source: Look) -> Look:
    """How a database has to look after `restored`: as the one it came from, with nothing that lets a run in."""
    return replace(source, open_gates=0, live_leases=0, attested=False, tokens=dict.fromkeys(source.tokens, 2_000_000))


def shown(session: Connection) -> int:
    """How many events the relay is shown; -1 where it cannot ask."""
    try:
        return int(value(session, "select count(*) from dot.fn_dot_outbox_poll(10000)"))
    except psycopg.errors.InsufficientPrivilege:
        return -1


@dataclass(frozen=True)
class Server:
    """A server of the tests' own."""

    version: int
    superuser: str

    def url(self, name: str, login: str | None = None) -> str:
        return database_url(self.superuser, name, login)

    def use_ids(self, number: int) -> None:
        """Uses up transaction ids."""
        with connect(self.superuser) as session:
            session.execute(
                sql.SQL(
                    "do $use$ begin for i in 1..{} loop perform pg_current_xact_id(); commit; end loop; end $use$"
                ).format(number)
            )

    def clean(self) -> None:
        """Drops every database and role that a test has made."""
        with connect(self.superuser) as session:
            for one in rows(
                session, "select datname from pg_database where not datistemplate and datname <> 'postgres'"
            ):
                drop_database(self.superuser, one["datname"])
            for one in rows(
                session, "select rolname from pg_roles where rolname ~ '^(dot_|restorer)' order by rolname"
            ):
                session.execute(sql.SQL("drop role {}").format(sql.Identifier(one["rolname"])))


def section(heading: str) -> list[Block]:
    """The blocks below a heading of the page, up to the next one."""
    text = PAGE.read_text(encoding="utf-8")
    parts = re.split(r"^## (.*)$", text, flags=re.MULTILINE)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    of_it = blocks(found[heading])
    assert of_it, heading
    return of_it


@dataclass(frozen=True)
class Mover:
    """Runs the page's commands: from the database OLD to the database NEW, with the programs of the new server."""

    old: str
    new: str
    version: int
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def follow(self, heading: str, replaced: Mapping[str, str] | None = None) -> None:
        """Runs every command below a heading, and compares what they print.

        Args:
            replaced: what the page has otherwise for this version.
        """
        if not (self.folder / "sql").exists():
            (self.folder / "sql").symlink_to(ROOT / "sql")
        path = (str(programs(self.version)), str(Path(sys.executable).parent), os.environ["PATH"])
        environment = {
            "OLD": self.old,
            "NEW": self.new,
            "DATABASE_URL": self.new,
            **self.environment,
        }
        environment["PATH"] = os.pathsep.join((str(self.folder / "bin"), *path))
        # No login of these tests is called as the page calls its own.
        with Session("user=unnamed", self.folder, environment) as session:
            for block in section(heading):
                text = block.text
                for shown, here in (replaced or {}).items():
                    text = text.replace(shown, here)
                session.run(Block(block.language, text, block.line, block.shown))


def findings(url: str) -> dict[str, str]:
    """What the doctor finds that is not well, by check, without what is so for every server of the tests."""
    with database.connect(url) as connection:
        found = doctor.examine(connection).findings
    of_the_server = {"fsync", "full_page_writes", "synchronous_commit", "checkpoints"}
    return {one.check: one.level for one in found if one.level not in ("ok",) and one.check not in of_the_server}


def copy(mover: Mover, login: str | None = None, *, with_roles: bool = True) -> None:
    """Dumps OLD and restores it as NEW, by a superuser or a login that gets from it what it can."""
    done = programs(mover.version)
    dump = mover.folder / "copy.dump"
    if with_roles and login is None:
        with connect(mover.new) as session:
            session.execute((ROOT / "sql" / "roles.sql").read_bytes())
    subprocess.run([done / "pg_dump", "--format=custom", f"--file={dump}", mover.old], check=True)
    target = make_conninfo(mover.new, **({"user": login} if login else {}))
    every = ["--exit-on-error"] if with_roles and login is None else []
    subprocess.run(
        [done / "pg_restore", *every, f"--dbname={target}", dump], check=bool(every), stderr=subprocess.DEVNULL
    )


def act_as_server_user(folder: Path, version: int, *names: str) -> None:
    """Lets the page's commands run as the user whose folder it is: no server runs as root. A server that they start has its socket
    in the folder, and no port."""
    shims = folder / "bin"
    shims.mkdir()
    for name in names:
        program = [*as_owner(folder), str(programs(version) / name)]
        if name == "pg_ctl":
            program += ["-w", "-o", f"-h '' -k {folder}"]
        (shims / name).write_text(f'#!/bin/sh\nexec {shlex.join(program)} "$@"\n')
        (shims / name).chmod(0o755)
