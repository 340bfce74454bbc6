"""Checks a live database: settings, guards, vacuum, gates, outbox, runs and leases. Changes nothing.

The catalog and the statistics are read as the login itself, the wrapper's views as ``dot_reader``. A check that the login may not
make is reported as hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal, LiteralString

import psycopg
from psycopg.rows import dict_row

from dot_wrapper.client.database import reading, transaction
from dot_wrapper.client.errors import NotInstalled
from dot_wrapper.operations import drift, schema
from dot_wrapper.operations.adoption import checking

Level = Literal["ok", "warn", "fail", "hidden"]
Rows = list[dict[str, Any]]

DEAD_SHARE: Final = 0.2  # of a table's rows; autovacuum's own default for when it vacuums
DEAD_ROWS: Final = 1000  # the share of a smaller table means nothing
TIMEOUTS: Final = "set local lock_timeout = '5s'; set local statement_timeout = '20s'"
"""A session that waits for a lock makes later requests for it wait too, so it gives up early."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Above these a check warns. Seconds, except for the depth.

    Attributes:
        transaction: how long a transaction may hold the outbox back; ten times as long is a failure.
        outbox_lag, outbox_depth: how long, and how many, events may wait; ten times as much is a failure.
        open_run: how long a run may be unfinished.
        open_gate: how long a gate may be open.
    """

    transaction: int = 300
    outbox_lag: int = 300
    outbox_depth: int = 10_000
    open_run: int = 86_400
    open_gate: int = 86_400


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding of a check.

    Attributes:
        check: the check's name, the same in every version.
        level: ok, warn, fail, or hidden from this login.
        figure: what was found, for people.
        advice: what to do; None if nothing.
        numbers: the figures, for programs.
    """

    check: str
    level: Level
    figure: str
    advice: str | None = None
    numbers: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Examination:
    """The findings of all checks; where the wrapper is not installed, only that."""

    installed: bool
    findings: tuple[Finding, ...]


@dataclass(slots=True)
class _Database:
    """The database that is examined, and what the first checks learnt about it.

    Attributes:
        state: its revision; None while it is not known.
        drifted: the kinds of the objects that drifted, in the words of ``sql/drift.sql``.
    """

    connection: psycopg.Connection[Any]
    limits: Limits
    role: str
    state: schema.State | None = None
    drifted: set[str] = field(default_factory=set)

    @property
    def is_installed(self) -> bool:
        return self.state is None or self.state.installed is not None

    @property
    def may_run_foreign_code(self) -> bool:
        """Whether the views may call code that is not this software's, with the rights of this login."""
        known = self.state is not None and self.state.installed != schema.UNKNOWN
        if known and self.state is not None and not self.state.in_step:
            return True
        return not self.drifted.isdisjoint(_KINDS_WITH_CODE)


Check = Callable[[_Database], Iterator[Finding]]


def examine(
    connection: psycopg.Connection[Any], limits: Limits | None = None, *, role: str = "dot_reader"
) -> Examination:
    """Makes every check on a connection in autocommit mode.

    Args:
        role: the role that reads the wrapper's views.

    Raises:
        psycopg.Error: the connection was lost, or the server refused what every login may read.
    """
    database = _Database(connection, limits or Limits(), role)
    found: list[Finding] = []
    for name, check in CHECKS.items():
        if not database.is_installed:
            break
        if name in _READS_VIEWS and database.may_run_foreign_code:
            figure = "not looked at: what it reads is not this software's, and would run as this login"
            found.append(Finding(name, "hidden", figure, "See `schema` and `guards`."))
            continue
        try:
            found += check(database)
        except psycopg.errors.InsufficientPrivilege:
            found.append(Finding(name, "hidden", "not visible to this login", "A DBA grants it dot_reader."))
        except UnicodeDecodeError:
            figure = "not looked at: a name is in the encoding of another database of this server"
            found.append(Finding(name, "hidden", figure, "Look for it in pg_roles and pg_database."))
        except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled):
            figure = "not looked at: a table was locked, or it took too long"
            found.append(Finding(name, "hidden", figure, "See pg_locks for who holds it, and try again."))
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.InvalidParameterValue):
            figure = "not looked at: what it reads is not there"
            found.append(Finding(name, "hidden", figure, "See `schema` and `guards`."))
    return Examination(database.is_installed, tuple(found))


_READS_VIEWS: Final = ("adoption", "gates", "state", "outbox", "runs")
_KINDS_WITH_CODE: Final = (
    "view",
    "function",
    "rule",
    "policy",
    "type",
    "schema",
    "other",
    "column",
    drift.ADOPTED_CODE,
)


def _schema(database: _Database) -> Iterator[Finding]:
    state = database.state = schema.state(database.connection)
    if state.installed is None:
        yield Finding("schema", "fail", "the wrapper is not installed", state.advice)
    elif state.installed == schema.FOREIGN:
        yield Finding(
            "schema", "fail", "it, or something in it, belongs to another role than the wrapper's", state.advice
        )
    elif state.installed == schema.UNKNOWN:
        yield Finding("schema", "hidden", "not visible to this login", state.advice)
    elif not state.in_step:
        yield Finding("schema", "fail", f"revision {state.installed}, needed {state.software}", state.advice)
    else:
        yield Finding("schema", "ok", f"revision {state.installed}")


def _guards(database: _Database) -> Iterator[Finding]:
    try:
        report = drift.examine(database.connection)
    except NotInstalled:
        yield Finding("guards", "hidden", "not compared: the schema is of another revision", "See `schema`.")
        return
    database.drifted = {one.kind for one in report.of("drift")}
    levels: dict[drift.Level, Level] = {"drift": "fail", "warn": "warn"}
    for one in report.differences:
        if one.level in levels:
            advice = f"{one.cure or '`dot-wrapper drift` shows all of it.'} Then look at what was written meanwhile."
            yield Finding("guards", levels[one.level], str(one), advice)
    if not any(one.level in levels for one in report.differences):
        figure = f"{report.rows} definitions, rights and roles are those of {report.against}"
        yield Finding("guards", "ok", figure, numbers={"rows": report.rows})


_DATABASES: Final = """
select o.datname as name,
    coalesce(array_agg(l.rolname::text order by l.rolname) filter (where l.rolname is not null), '{}') as logins
from pg_database as o
left join pg_roles as l on l.rolcanlogin and not l.rolsuper
    and has_database_privilege(l.oid, o.oid, 'connect')
    and has_database_privilege(l.oid, current_database(), 'connect')
    and exists (select from pg_roles as r where r.rolname = any(%s) and pg_has_role(l.oid, r.oid, 'member'))
where o.datallowconn and o.datname <> current_database()
    and exists (
        select from pg_shdepend as s
        where s.dbid = o.oid and s.refclassid = 'pg_authid'::regclass and s.refobjid = to_regrole('dot_owner')
            and s.deptype = 'o'
    )
group by 1 order by 1
"""
_NAMED: Final = 3  # logins; more are counted


def _databases(database: _Database) -> Iterator[Finding]:
    """Roles belong to the server: a login that may record here may record in every database of it with the wrapper."""
    others = _rows(database, _DATABASES, [role for role in drift.ROLES if role not in drift.OWNERS])
    shared = [one for one in others if one["logins"]]
    for one in shared:
        named = ", ".join(one["logins"][:_NAMED]) + (", ..." if len(one["logins"]) > _NAMED else "")
        advice = (
            f"Roles belong to the server: revoke connect on database {one['name']} from public, likewise here, and grant connect"
            " to the logins of each."
        )
        figure = f"{one['name']} has the wrapper too, and {len(one['logins'])} logins with a role may use both: {named}"
        yield Finding("databases", "warn", figure, advice, {"logins": len(one["logins"])})
    if not shared:
        names = ", ".join(one["name"] for one in others)
        figure = f"no login with a role may use this one and {names}" if names else "no other has the wrapper"
        yield Finding("databases", "ok", figure)


# The required value of a setting, the level of another value, and why.
SETTINGS: Final[dict[str, tuple[str, Level, str]]] = {
    "fsync": ("on", "fail", "A crash of the machine corrupts the database: set fsync = on."),
    "full_page_writes": ("on", "fail", "A crash of the machine can tear pages: set full_page_writes = on."),
    "autovacuum": ("on", "fail", "Nothing freezes rows or keeps index-only scans cheap: set autovacuum = on."),
    "track_counts": ("on", "fail", "Autovacuum does nothing without it: set track_counts = on."),
    "synchronous_commit": (
        "on",
        "warn",
        "A crash can lose an acknowledged observation that the Python client did not record, which waits for the disk: set it to on.",
    ),
    "default_transaction_isolation": (
        "read committed",
        "warn",
        "Calls above a simulation end in 40001 where a gate moved meanwhile: set it to 'read committed' for the writers.",
    ),
    "session_replication_role": ("origin", "fail", "Foreign keys are not checked: it belongs to no login's settings."),
}
_AT_LEAST: Final = {"synchronous_commit": ("on", "remote_apply", "remote_write", "local")}

_SET_APART: Final = """
select split_part(c.one, '=', 1) as name, split_part(c.one, '=', 2) as setting,
    concat_ws(' in ', 'role ' || r.rolname, 'database ' || d.datname) as place
from pg_db_role_setting as s
cross join unnest(s.setconfig) as c (one)
left join pg_roles as r on r.oid = s.setrole
left join pg_database as d on d.oid = s.setdatabase
where s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
order by 3, 1
"""


def _settings(database: _Database) -> Iterator[Finding]:
    """The settings that a session of this login begins with, and those stored for a database or a role."""
    here = _rows(database, "select name, reset_val as setting from pg_settings where name = any(%s)", list(SETTINGS))
    places: dict[str, list[tuple[str, str]]] = {one["name"]: [("", one["setting"])] for one in here}
    for one in _rows(database, _SET_APART):
        if one["name"] in places:
            places[one["name"]].append((f" for {one['place']}", one["setting"]))
    for name, (wanted, level, why) in SETTINGS.items():
        good = _AT_LEAST.get(name, (wanted,))
        wrong = [f"{setting}{place}" for place, setting in places[name] if setting not in good]
        yield Finding(name, level, ", ".join(wrong), why) if wrong else Finding(name, "ok", places[name][0][1])


def _table_settings(database: _Database) -> Iterator[Finding]:
    off = _rows(
        database,
        "select c.relname from pg_class as c join pg_namespace as n on n.oid = c.relnamespace and n.nspname = 'dot'"
        " where c.reloptions && '{autovacuum_enabled=false,autovacuum_enabled=off}' order by c.relname",
    )
    if off:
        names = ", ".join(one["relname"] for one in off)
        advice = (
            "ALTER TABLE ... RESET (autovacuum_enabled); a table that is never vacuumed is later frozen all at once."
        )
        yield Finding("autovacuum_of_tables", "fail", f"off for {names}", advice)
    else:
        yield Finding("autovacuum_of_tables", "ok", "on for every table")


def _checkpoints(database: _Database) -> Iterator[Finding]:
    if database.connection.info.server_version >= 170000:
        query: LiteralString = "select num_timed as timed, num_requested as requested from pg_stat_checkpointer"
    else:
        query = "select checkpoints_timed as timed, checkpoints_req as requested from pg_stat_bgwriter"
    (count,) = _rows(database, query)
    figure = f"{count['requested']} requested, {count['timed']} timed"
    if count["requested"] > max(10, count["timed"]):
        advice = "Writing forces checkpoints, and each makes pages be written whole again: raise max_wal_size."
        yield Finding("checkpoints", "warn", figure, advice, dict(count))
    else:
        yield Finding("checkpoints", "ok", figure, numbers=dict(count))


def _bloat(database: _Database) -> Iterator[Finding]:
    bloated = _rows(
        database,
        "select relname, n_dead_tup as dead, n_dead_tup::float8 / (n_live_tup + n_dead_tup) as share"
        " from pg_stat_all_tables where schemaname = 'dot' and n_dead_tup >= %s"
        " and n_dead_tup >= %s * (n_live_tup + n_dead_tup) order by relname",
        DEAD_ROWS,
        DEAD_SHARE,
    )
    for one in bloated:
        figure = f"{one['relname']}: {one['dead']} dead rows, {one['share']:.0%}"
        advice = f"VACUUM dot.{one['relname']}; and see what keeps autovacuum from it."
        yield Finding("bloat", "warn", figure, advice, {"dead_rows": one["dead"]})
    if not bloated:
        yield Finding("bloat", "ok", f"no table with {DEAD_ROWS} dead rows that are {DEAD_SHARE:.0%} of it")


_AGES: Final = """
select age(d.datfrozenxid) as xid_age, mxid_age(d.datminmxid) as multixact_age,
    current_setting('autovacuum_freeze_max_age')::bigint as xid_limit,
    current_setting('autovacuum_multixact_freeze_max_age')::bigint as multixact_limit,
    current_setting('vacuum_failsafe_age')::bigint as xid_failsafe,
    current_setting('vacuum_multixact_failsafe_age')::bigint as multixact_failsafe
from pg_database as d where d.datname = current_database()
"""


def _ages(database: _Database) -> Iterator[Finding]:
    (found,) = _rows(database, _AGES)
    for kind in ("xid", "multixact"):
        age, limit = found[f"{kind}_age"], found[f"{kind}_limit"]
        failsafe = max(found[f"{kind}_failsafe"], limit * 105 // 100)  # as the server has it
        figure = f"the oldest is {age:,} old, autovacuum forces a vacuum at {limit:,}"
        numbers = {"age": age, "limit": limit, "failsafe": failsafe}
        level: Level = "fail" if age > failsafe else "warn" if age > limit else "ok"
        advice = "VACUUM (FREEZE) the tables with the highest age, and end what holds vacuum back: see `transactions`."
        yield Finding(f"{kind}_age", level, figure, advice if level != "ok" else None, numbers)


_TRANSACTIONS: Final = """
select 'session' as kind, a.pid::text as name, extract(epoch from clock_timestamp() - a.xact_start)::bigint as seconds
from pg_stat_activity as a
where a.backend_xid is not null and a.xact_start is not null and a.pid <> pg_backend_pid()
union all
select 'prepared transaction', p.gid, extract(epoch from clock_timestamp() - p.prepared)::bigint
from pg_prepared_xacts as p
order by seconds desc
"""


def _transactions(database: _Database) -> Iterator[Finding]:
    """Transactions of the whole server that have an id: the outbox delivers no event that is younger than the oldest of them."""
    old = [one for one in _rows(database, _TRANSACTIONS) if one["seconds"] > database.limits.transaction]
    for one in old:
        level: Level = "fail" if one["seconds"] > 10 * database.limits.transaction else "warn"
        ending = "pg_terminate_backend(...)" if one["kind"] == "session" else "ROLLBACK PREPARED"
        advice = f"The relay is shown nothing younger, and vacuum removes nothing: end it, with {ending} if need be."
        figure = f"{one['kind']} {one['name']} has been open for {one['seconds']} s"
        yield Finding("transactions", level, figure, advice, {"seconds": one["seconds"]})
    (sees,) = _rows(database, "select pg_has_role(current_user, 'pg_read_all_stats', 'usage') as all_of_them")
    if not sees["all_of_them"]:
        advice = "A DBA grants pg_read_all_stats to the login that runs this."
        yield Finding("transactions", "hidden", "other logins' are not visible to this login", advice)
    elif not old:
        yield Finding("transactions", "ok", f"none with an id is older than {database.limits.transaction} s")


def _adoption(database: _Database) -> Iterator[Finding]:
    """What is wrong with the rows of an adopted host; its definitions are compared under ``guards``."""
    adoption = checking.definitions(database.connection)
    if adoption is None:
        yield Finding("adoption", "ok", "nothing is adopted")
        return
    problems = list(checking.rows(database.connection, database.role))
    for one in problems:
        yield Finding("adoption", one.level, f"{one.object}: {one.text}", one.repair)
    if not problems:
        yield Finding("adoption", "ok", f"{', '.join(adoption.tables)}: each code once, each gate true or false")


def _gates(database: _Database) -> Iterator[Finding]:
    """The wrapper's own rows; the worker of an adopted host is none of its gates."""
    gates = _view(
        database,
        "select key, value, is_open, is_audited,"
        " extract(epoch from clock_timestamp() - changed_at)::bigint as seconds from dot.v_dot_gate"
        " where not (key = 'queue.worker.enabled' and is_governed_by_host) order by key",
    )
    fine = True
    for gate in gates:
        if not gate["is_audited"]:
            advice = (
                "It was changed past fn_dot_config_set. Find out by whom, then set it with `dot-wrapper gates set`."
            )
            yield Finding(
                "gates", "fail", f"{gate['key']} is {gate['value']!r}, and not the last audited value", advice
            )
            fine = False
        elif gate["is_open"] and gate["seconds"] > database.limits.open_gate:
            advice = "Close it with `dot-wrapper gates set`, or set it to true again with the reason why it stays open."
            figure = f"{gate['key']} has been open for {gate['seconds']} s"
            yield Finding("gates", "warn", figure, advice, {"seconds": gate["seconds"]})
            fine = False
    if fine:
        opened = [gate["key"] for gate in gates if gate["is_open"]]
        yield Finding("gates", "ok", f"open: {', '.join(opened) or 'none'}", numbers={"open": len(opened)})


# The findings of the view v_dot_state: level and advice.
STATE: Final[dict[str, tuple[Level, str]]] = {
    "gate_missing": ("fail", "Insert the row with the value false, as dot_owner, and see who removed it."),
    "gate_not_opened_here": ("fail", "This is a copy, or was restored: close it with `dot-wrapper gates set`."),
    "event_type_missing": ("fail", "Insert the row, inactive, as dot_owner, and see who removed it."),
    "cursor_missing": ("fail", "Insert the row with the position that the relay delivered last, as dot_owner."),
    "cursor_ahead": (
        "fail",
        "This is a copy, or was restored, on another server: the relay would be shown nothing for long.",
    ),
    "event_ahead": (
        "fail",
        "This is a copy, or was restored, on another server: the relay would be shown nothing for long.",
    ),
    "sequence_behind": ("fail", "As dot_owner: SELECT setval('...', ...) above what the table has."),
    "lease_behind": ("fail", "As dot_owner: set the lease's token above every run's, before it is acquired again."),
}


def _state(database: _Database) -> Iterator[Finding]:
    wrong = _view(database, "select finding, subject, detail from dot.v_dot_state order by finding, subject")
    for one in wrong:
        level, advice = STATE[one["finding"]]
        yield Finding("state", level, f"{one['finding']}: {one['subject']}: {one['detail']}", advice)
    if not wrong:
        yield Finding("state", "ok", "gates, event types, cursor, sequences and leases go together")


# Counts no further than to the limit of a failure: an outbox that no relay reads grows with the ledger. The view's column depth is
# not selected, because it counts all events.
OUTBOX: Final = """
select o.lag_seconds, (
    select count(*) from (select from dot.v_dot_outbox_waiting limit %s) as counted
) as depth
from dot.v_dot_outbox as o
"""


def _outbox(database: _Database) -> Iterator[Finding]:
    counted_to = 10 * database.limits.outbox_depth + 1
    found = _view(database, OUTBOX, counted_to)
    if not found:  # without a cursor the view has no row
        yield Finding("outbox", "fail", "it has no cursor", "See `state`.")
        return
    waiting = found[0]
    depth = str(waiting["depth"]) if waiting["depth"] < counted_to else f"more than {counted_to - 1}"
    figure = f"{depth} events wait, the oldest for {waiting['lag_seconds']} s"
    load = max(waiting["depth"] / database.limits.outbox_depth, waiting["lag_seconds"] / database.limits.outbox_lag)
    level: Level = "fail" if load > 10 else "warn" if load > 1 else "ok"
    advice = "See that the relay runs, and `transactions`; if the events are not read, `dot-wrapper outbox switch ... --off`."
    yield Finding("outbox", level, figure, advice if level != "ok" else None, waiting | {"counted_to": counted_to})


# The latest real run of each candidate, by an index: reading every run would cost more as the ledger grows. A run without an end whose
# lease has expired is stale, or waits for its verifier.
RUNS: Final = """
select v.process_candidate_code as candidate, r.end_state, coalesce(l.is_live, false) as is_leased,
    extract(epoch from clock_timestamp() - r.last_observed_at)::bigint as seconds
from dot.v_process_runtime_v2 as v
cross join lateral (
    select run.end_state, run.last_observed_at from dot.v_process_run as run
    where run.process_candidate_code = v.process_candidate_code and run.process_run_id = v.latest_real_run_id
    limit 1
) as r
left join dot.v_dot_lease as l on l.lease_key = 'dot_exec:' || v.process_candidate_code
where v.latest_real_run_id is not null and r.end_state in ('stale', 'awaits_verifier', 'open')
order by v.process_candidate_code
"""


def _runs(database: _Database) -> Iterator[Finding]:
    """Latest real runs that have no end and no live lease, and the expired leases."""
    runs = _view(database, RUNS)
    stale = [run["candidate"] for run in runs if run["end_state"] == "stale"]
    unfinished = [
        run["candidate"] for run in runs if run["end_state"] != "stale" and run["seconds"] > database.limits.open_run
    ]
    figure = (
        f"of the latest real runs {len(stale)} stale, {len(unfinished)} without an end for {database.limits.open_run} s"
    )
    advice = f"{_named(stale + unfinished)}: `dot-wrapper runs` shows them. With its key a run goes on, or it never verifies."
    level: Level = "warn" if stale or unfinished else "ok"
    numbers = {"stale": len(stale), "unfinished": len(unfinished)}
    yield Finding("runs", level, figure, advice if level != "ok" else None, numbers)

    over = [run["candidate"] for run in runs if run["end_state"] == "stale" and not run["is_leased"]]
    if over:
        advice = "The holder ended without an end of its run, or needs a longer TTL or renewals: `dot-wrapper leases`."
        yield Finding("leases", "warn", f"expired under a run: {_named(over)}", advice, {"expired": len(over)})
    else:
        yield Finding("leases", "ok", "none expired under a run", numbers={"expired": 0})


def _named(candidates: list[str]) -> str:
    return ", ".join(candidates[:10]) + (f" and {len(candidates) - 10} more" if len(candidates) > 10 else "")


CHECKS: Final[dict[str, Check]] = {
    "schema": _schema,
    "guards": _guards,
    "databases": _databases,
    "settings": _settings,
    "autovacuum_of_tables": _table_settings,
    "checkpoints": _checkpoints,
    "bloat": _bloat,
    "ages": _ages,
    "transactions": _transactions,
    "adoption": _adoption,
    "gates": _gates,
    "state": _state,
    "outbox": _outbox,
    "runs": _runs,
}


def _rows(database: _Database, query: LiteralString, *parameters: object) -> Rows:
    """Rows of the catalog or the statistics, as the login."""
    with reading(database.connection), database.connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, parameters or None).fetchall()


def _view(database: _Database, query: LiteralString, *parameters: object) -> Rows:
    """Rows of the wrapper's views, as the role that reads them."""
    with transaction(database.connection, database.role):
        database.connection.execute(TIMEOUTS)
        return _rows(database, query, *parameters)
