"""Makes a database safe that was restored, cloned, promoted or cut over to.

It restores owners, rights and the modes of triggers, closes gates, ends leases, revokes attestations, and sets identities ahead of
their tables. It opens nothing, and changes or removes no row of evidence. The outbox needs no repair: the first event begins its next
epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from dot_wrapper.client import database
from dot_wrapper.client.errors import NotInstalled, NotPermitted, ReadOnlyDatabase, from_database
from dot_wrapper.deploy.guards import ENTER, GIVE_UP_EARLY, LEAVE, QUEUE, SETTINGS, TRUST
from dot_wrapper.operations import drift
from dot_wrapper.operations.drift import Difference

COMMAND: Final = "dot_wrapper.restored"
"""Its name in the command log."""

BLOCK_SECONDS: Final = 3600
"""How long the attestation is valid that revokes an earlier one. An expired one blocks too."""

_PASSES: Final = 3
"""The rights of an object change with its owner, so they are compared again once the owners are restored."""

_HOLDERS: Final = ("dot_owner", "dot_bridge")


@dataclass(frozen=True, slots=True)
class Change:
    """One change that was made.

    Attributes:
        area: ``rights``, ``identities``, ``gates``, ``leases`` or ``attestations``.
        what: what exactly, for people.
    """

    area: str
    what: str


@dataclass(frozen=True, slots=True)
class Report:
    """The changes that were made, and the differences that are left.

    Attributes:
        dry_run: whether nothing was changed.
        changes: what was changed, or would be.
        left: what still differs from this software, for a person to decide.
        waiting: the number of events that are not acknowledged. None if a definition differs from this software's: then only owners and
            rights were restored, and gates, leases and attestations are unchanged.
        mechanisms: the attestations of mechanisms that SQL cannot see. They were made where the database came from.
    """

    dry_run: bool
    changes: tuple[Change, ...]
    left: tuple[Difference, ...]
    waiting: int | None
    mechanisms: tuple[str, ...]


def restore(
    connection: psycopg.Connection[Any],
    *,
    actor: str,
    reason: str,
    dry_run: bool = False,
) -> Report:
    """Repairs what a move leaves wrong, in one transaction, and audits it. A second run changes nothing.

    Args:
        actor: who does it, for the audit.
        reason: which move it was, for the audit.
        dry_run: make the changes and roll them back.

    Raises:
        NotInstalled: the wrapper is not installed, is at another revision, or its roles are missing on this server.
        ReadOnlyDatabase: the server is a standby.
        NotPermitted: the login lacks a right; DETAIL says for what, HINT which right.
        Refusal: the actor or the reason is not legal; nothing was changed.
        DotWrapperError: any other error of the database, for instance a lock timeout.
    """
    try:
        with connection.transaction(force_rollback=dry_run):
            return _restore(connection, actor, reason, dry_run)
    except psycopg.errors.InsufficientPrivilege as error:
        raise NotPermitted(
            error.diag.message_primary or "the login lacks a right",
            sqlstate=error.sqlstate,
            detail=error.diag.message_detail,
            hint=error.diag.message_hint
            or "A superuser runs it; or the login that owns what was restored, the database too, and may act as dot_owner:"
            " grant dot_owner to ... (on 16 and later: with inherit false, set true).",
        ) from error
    except psycopg.Error as error:
        raise from_database(error) from error


def _restore(connection: psycopg.Connection[Any], actor: str, reason: str, dry_run: bool) -> Report:

    for text in (database.PIN, f"select {database.FORMATS}", SETTINGS, TRUST, QUEUE, GIVE_UP_EARLY):
        connection.execute(_statement(text))
    (standby,) = _select(connection, "select pg_is_in_recovery() as is_one")
    if standby["is_one"]:
        raise ReadOnlyDatabase(
            "this server is a standby", hint="Promote it first: until then nothing is recorded in it."
        )
    missing = _select(
        connection,
        sql.SQL("select r as role from unnest({}::text[]) as r where to_regrole(r) is null").format(list(drift.ROLES)),
    )
    if missing:
        raise NotInstalled(
            f"this server lacks the roles {', '.join(one['role'] for one in missing)}",
            hint="A DBA runs sql/roles.sql in this database first.",
        )
    # First, because it raises NotInstalled. A foreign object is not given to dot_owner, whose objects are trusted.
    if any(not is_of_a_move(one) and _is_defined_otherwise(one) for one in _differences(connection)):
        return Report(dry_run, (), _left(connection), None, ())
    connection.execute(_statement(ENTER))
    changes = _rights(connection)
    if any(_is_defined_otherwise(one) for one in _differences(connection)):
        # No function of the schema is called and no trigger fires: they may be foreign code, with this login's rights.
        connection.execute(_statement(LEAVE))
        return Report(dry_run, tuple(changes), _left(connection), None, ())
    connection.execute("set local role dot_owner")
    # A reason becomes the finding of what is revoked, and the database would name the finding, which no caller gives.
    (line,) = _select(connection, sql.SQL("select dot.fn_is_line({}) is true as is_legal").format(reason))
    if not line["is_legal"]:
        connection.execute("select dot.fn_input_refuse('dot_iu_command_run', 'reason_check')")
    changes += _identities(connection, dry_run)
    changes += _gates(connection, actor, reason)
    changes += _leases(connection)
    changes += _attestations(connection, actor, reason)
    if changes:
        _audit(connection, actor, reason, changes)
    mechanisms = _select(
        connection,
        "select distinct on (a.mechanism) format('%s: %s', a.mechanism, a.finding) as said"
        " from dot.dot_mechanism_attestation as a order by a.mechanism, a.attestation_id desc",
    )
    outbox = _select(connection, "select depth from dot.v_dot_outbox")
    connection.execute(_statement(LEAVE))
    waiting = sum(one["depth"] for one in outbox)  # no row if the cursor is missing
    said = tuple(one["said"] for one in mechanisms)
    return Report(dry_run, tuple(changes), _left(connection), waiting, said)


def _left(connection: psycopg.Connection[Any]) -> tuple[Difference, ...]:
    return tuple(one for one in _differences(connection) if one.level != "info")


def _differences(connection: psycopg.Connection[Any]) -> tuple[Difference, ...]:
    """The differences now, in a subtransaction that is rolled back, because the comparison sets a role."""
    with connection.transaction(force_rollback=True):
        return drift.examine(connection).differences


def is_of_a_move(one: Difference) -> bool:
    """Whether a restore causes it: a wrong owner, missing or additional rights, or a trigger in mode ORIGIN instead of ALWAYS.

    A definition that differs has another cause, which a person must look at.
    """
    if one.level != "drift" or one.cure is None or one.is_cured_in_shell():
        return False
    if one.kind == "member":
        return one.expected is not None  # dot_owner must be a member of dot_bridge; a restore adds no members
    if one.kind == "sequence" and one.property == "owner":
        return False  # the sequence of an identity has the owner of its table
    return (
        one.property == "owner"
        or one.property == "owner lacks"
        or one.property.startswith("granted to ")
        or one.kind == "default rights"
        or (one.kind, one.property, one.expected) == ("trigger", "enabled", "always")
    )


def _is_defined_otherwise(one: Difference) -> bool:
    """Whether an object of the schema differs. The sequence of an identity has the owner of its table."""
    return one.level == "drift" and one.kind not in drift.AROUND and (one.kind, one.property) != ("sequence", "owner")


def _rights(connection: psycopg.Connection[Any]) -> list[Change]:
    """Restores owners, rights and trigger modes, by the cures of drift."""
    changes: list[Change] = []
    for _ in range(_PASSES):
        wrong = [one for one in _differences(connection) if is_of_a_move(one)]
        if not wrong:
            break
        foreign = [one for one in wrong if one.property == "owner" and one.found not in _HOLDERS]
        members = [one for one in wrong if one.kind == "member"]
        # This login changes the owners of foreign objects, the schema first: the new owner of an object needs CREATE on it.
        _cure(connection, *(one for one in foreign if one.kind == "schema"), *members)
        (may,) = _select(connection, "select has_schema_privilege('dot', 'usage') as look_up_names")
        connection.execute("set local role dot_owner")
        connection.execute("grant create on schema dot to dot_bridge")
        if not may["look_up_names"]:
            connection.execute("grant usage on schema dot to session_user")
        connection.execute("reset role")
        _cure(connection, *(one for one in foreign if one.kind != "schema"))
        connection.execute("set local role dot_owner")
        if not may["look_up_names"]:
            connection.execute("revoke usage on schema dot from session_user")
        _cure(connection, *(one for one in wrong if one not in foreign and one not in members))
        connection.execute("revoke create on schema dot from dot_bridge")
        connection.execute("reset role")
        changes += [Change("rights", f"{one.kind} {one.identity}: {one.property}: {one.summary()}") for one in wrong]
    return changes


def _cure(connection: psycopg.Connection[Any], *differences: Difference) -> None:
    for one in differences:
        connection.execute(_statement(one.cure or ""))


_IDENTITIES: Final = """
select c.oid::regclass::text as relation, a.attname as name, s.oid::regclass::text as sequence
from pg_depend as d
join pg_class as s on s.oid = d.objid and s.relkind = 'S'
join pg_class as c on c.oid = d.refobjid and c.relnamespace = 'dot'::regnamespace
join pg_attribute as a on a.attrelid = c.oid and a.attnum = d.refobjsubid and a.attidentity <> ''
where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.deptype = 'i'
    and c.relname <> 'event_outbox' -- whose ids are unique within a transaction only
order by 1
"""


def _identities(connection: psycopg.Connection[Any], dry_run: bool) -> list[Change]:
    """Logical replication copies rows but no sequences, so the next number would be in the table already."""
    changes = []
    for one in _select(connection, _IDENTITIES):
        relation, sequence = (sql.SQL(one[name]) for name in ("relation", "sequence"))  # quoted by the server
        (at,) = _select(
            connection,
            sql.SQL(
                "select (select max({}) from {}) as highest,"
                " (select s.last_value + s.is_called::integer from {} as s) as upcoming"
            ).format(sql.Identifier(one["name"]), relation, sequence),
        )
        if at["highest"] is not None and at["highest"] >= at["upcoming"]:
            if not dry_run:  # setval is not rolled back
                connection.execute("select setval(%s::regclass, %s)", (one["sequence"], at["highest"]))
            what = f"{one['relation']}.{one['name']} goes on after {at['highest']}, and not at {at['upcoming']}"
            changes.append(Change("identities", what))
    return changes


def _gates(connection: psycopg.Connection[Any], actor: str, reason: str) -> list[Change]:
    """Closes, audited, every gate that is open or whose value is not the last audited one. The worker of an adopted host is the
    host's, and cannot be moved here."""
    changes = []
    for gate in _select(
        connection,
        "select key, value from dot.v_dot_gate where (value is distinct from 'false' or not is_audited)"
        " and not (key = 'queue.worker.enabled' and is_governed_by_host) order by key",
    ):
        connection.execute("select dot.fn_dot_config_set(%s, 'false', %s, %s)", (gate["key"], actor, reason))
        changes.append(Change("gates", f"{gate['key']} is closed, it was {gate['value']!r}"))
    return changes


# A lease must not be behind the stored tokens: it would give a token a second time.
_TOKENS: Final = """
with stored as (
    select 'dot_exec:' || o.process_candidate_code as lease_key, max(o.lease_token) as token
    from (
        select r.process_candidate_code, r.lease_token from dot.process_run_observation as r
        where r.evidence_type <> 'SIMULATED_DRY_RUN'
        union all
        select c.process_candidate_code, c.lease_token from dot.process_component_observation as c
        where c.evidence_type <> 'SIMULATED_DRY_RUN'
    ) as o
    group by 1
)
insert into dot.dot_iu_runtime_lease as l (lease_key, holder, session_actor, token, acquired_at, expires_at)
select s.lease_key, 'dot_wrapper.restored', session_user, s.token, clock_timestamp(), clock_timestamp()
from stored as s where s.token is not null
on conflict (lease_key) do update set token = excluded.token where l.token < excluded.token
returning l.lease_key, l.token
"""

# A copy does not know the tokens that were given after it was made, and their holders may still be at work; a token given twice would
# let both write. So each lease continues at a round number far above. A round token has been raised before.
_HIGHER: Final = """
update dot.dot_iu_runtime_lease set token = (token / 1000000 + 2) * 1000000 where token % 1000000 <> 0 returning token
"""

_LIVE: Final = """
update dot.dot_iu_runtime_lease set expires_at = clock_timestamp() where expires_at > clock_timestamp()
returning lease_key, holder
"""


def _leases(connection: psycopg.Connection[Any]) -> list[Change]:
    changes = [
        Change("leases", f"{one['lease_key']} goes on after token {one['token']}, under which a run was stored")
        for one in _select(connection, _TOKENS)
    ]
    changes += [
        Change("leases", f"{one['lease_key']} of {one['holder']} is ended") for one in _select(connection, _LIVE)
    ]
    higher = _select(connection, _HIGHER)
    if higher:
        changes.append(Change("leases", f"the tokens of {len(higher)} go on far above any that was given elsewhere"))
    return changes


# An attestation that was made in another database does not count here.
_ATTESTED: Final = """
select c.name, a.verdict, a.detail
from (select distinct b.check_name as name from dot.preflight_attestation as b) as c
cross join lateral dot.fn_preflight_attestation(c.name) as a
where a.verdict <> 'BLOCK'
order by 1
"""


def _attestations(connection: psycopg.Connection[Any], actor: str, reason: str) -> list[Change]:
    """Revokes attestations by newer ones that block: the newest counts."""
    changes = []
    for one in _select(connection, _ATTESTED):
        connection.execute(
            "select dot.fn_preflight_attest(%s, 'BLOCK', %s, %s, %s)", (one["name"], BLOCK_SECONDS, actor, reason)
        )
        changes.append(Change("attestations", f"{one['name']} blocks, it was {one['verdict']}, {one['detail']}"))
    return changes


def _audit(connection: psycopg.Connection[Any], actor: str, reason: str, changes: list[Change]) -> None:
    connection.execute(
        "insert into dot.dot_iu_command_catalog (command_name, mutating, description)"
        " values (%s, true, 'What a restore, clone, promotion or cut-over leaves wrong is put back.')"
        " on conflict (command_name) do nothing",
        (COMMAND,),
    )
    areas = {one.area: sum(other.area == one.area for other in changes) for one in changes}
    connection.execute(
        "select dot.fn_dot_iu_command_log(%s, 'apply', 'completed', %s, %s)",
        (COMMAND, actor, Jsonb({"reason": reason, "changes": areas})),
    )


def _statement(text: LiteralString | str) -> bytes:
    return text.encode()


def _select(connection: psycopg.Connection[Any], query: LiteralString | sql.Composed) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query).fetchall()
