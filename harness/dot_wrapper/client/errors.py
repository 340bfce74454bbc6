"""One exception class per refusal, chosen by SQLSTATE and constraint name, never by message text."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

import psycopg


class InputError(ValueError):
    """A file, or an option of a command, cannot be used; the message says which, where, and why. Nothing was stored, unless the message
    says that a file has changed since it was read."""


class DotWrapperError(Exception):
    """The database refused a call or could not make it.

    Attributes:
        message: what was refused or failed.
        sqlstate: the SQLSTATE; None if the server was not reached or Python refused the call.
        constraint: the name of the rule; it distinguishes refusals with one SQLSTATE.
        detail: what exactly was found; None if the database did not say.
        hint: what to do; None if neither the database nor this module knows.
    """

    def __init__(
        self,
        message: str,
        *,
        sqlstate: str | None = None,
        constraint: str | None = None,
        detail: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.sqlstate = sqlstate
        self.constraint = constraint
        self.detail = detail
        self.hint = hint

    @property
    def reason(self) -> str:
        """Message and detail, for people."""
        return f"{self.message}. {self.detail}" if self.detail else self.message


class Refusal(DotWrapperError):
    """The wrapper refused the call; nothing was stored."""


class Transient(DotWrapperError):
    """The same call may succeed later without a change: what an orchestrator may retry. With the same key nothing is stored twice."""


class InvalidInput(Refusal):
    """An argument is outside its domain (23514, 22xxx)."""


class MissingInput(Refusal):
    """A required argument is NULL (23502)."""


class UnknownReference(Refusal):
    """A DOT, candidate, run, command or event type is not known (23503)."""


class GateClosed(Refusal):
    """A gate that the evidence type needs is off (23514, ``gate_*_enabled_check``); DETAIL says why."""


class PreflightBlocked(Refusal):
    """A required preflight check is BLOCK, missing or not understood (23514, ``preflight_check``)."""


class LeaseNotLive(Refusal):
    """The lease token is missing, stale or lower than the run's (23514, ``lease_live_check``, ``lease_fencing_check``)."""


class LeaseHeld(Refusal, Transient):
    """A live different holder has the lease of the candidate (23514, ``lease_held``).

    Attributes:
        holder: who has it, and ``expires_at`` until when it lasts if it is not renewed; None where that could not be read.
    """

    holder: str | None = None
    expires_at: datetime | None = None


class NotTheWriter(Refusal):
    """The candidate's definition gives this part, or the lease, to another role than this login's (23514, ``*_role_check``)."""


class Superseded(Refusal):
    """The candidate is superseded and takes simulations only (23514, ``process_run_observation_superseded_check``)."""


class OtherOutput(Refusal):
    """The candidate pins its output, and the verifier's input is not the producer's output (23514,
    ``process_component_observation_pinned_output_check``)."""


class PayloadMismatch(Refusal):
    """The idempotency key was used with another payload (23505, ``idempotency_payload_mismatch``); ``fields`` names them."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The differing fields, in the order of the function's arguments."""
        return _differing(self.detail)


class DuplicateObservation(Refusal):
    """The run has a header, or the role its row or its end, under another key or none (23505)."""


class DefinitionConflict(Refusal):
    """The candidate has another definition (23505, ``process_candidate_pair_conflict``); ``fields`` names what differs."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The differing fields, in the order of the function's arguments."""
        return _differing(self.detail)


class PartFailed(DotWrapperError):
    """A part of a run did not complete, now or in an earlier call, and its function is not called again under this key."""


class AppendOnlyViolation(Refusal):
    """UPDATE, DELETE or TRUNCATE of an append-only table, or a downgrade that would drop rows (23001)."""


class NotPermitted(DotWrapperError):
    """The login does not hold the role that the call needs (42501)."""


class NotInstalled(DotWrapperError):
    """The schema, or what was called in it, is not there (3F000, 42P01, 42703, 42883, 42704; 22023 for a role)."""


class ReadOnlyDatabase(DotWrapperError):
    """The server is a standby, or the session or database is read-only (25006)."""


class LockTimeout(Transient):
    """A lock was not granted in time (55P03). DETAIL of a gate switch names the backends that hold it."""


class StatementCancelled(DotWrapperError):
    """The statement was cancelled, by statement_timeout or by a cancel request (57014)."""


class LedgerInUse(DotWrapperError):
    """The ledger is making another call, or its connection is in a transaction; nothing was sent."""


class RetryExhausted(Transient):
    """Every retry ended in a serialization failure or a deadlock (40001, 40P01)."""


class NoDatabase(DotWrapperError):
    """No database is named, or the connection string is empty or mistyped; no connection was made."""


class ForeignSchema(DotWrapperError):
    """Schema ``dot`` belongs to another role than the wrapper's; nothing in it was read or called."""


class DatabaseUnavailable(Transient):
    """The server cannot be reached, or the connection was lost (08xxx, 57Pxx, or no SQLSTATE at all).

    Attributes:
        was_sent: whether the connection was lost during the call. Then the call may have been committed.
    """

    was_sent = False


_BY_CONSTRAINT: tuple[tuple[str, type[DotWrapperError]], ...] = (
    (r"gate_\w+_enabled_check", GateClosed),
    (r"gate_(isolation|commit)_check", Refusal),
    (r"preflight_check", PreflightBlocked),
    (r"lease_(live|fencing)_check", LeaseNotLive),
    (r"lease_held", LeaseHeld),
    (r"process_candidate_(producer|verifier)_role_check|dot_iu_runtime_lease_role_check", NotTheWriter),
    (r"process_run_observation_superseded_check", Superseded),
    (r"process_component_observation_pinned_output_check", OtherOutput),
    (r"idempotency_payload_mismatch", PayloadMismatch),
    (r"process_candidate_pair_conflict", DefinitionConflict),
)
_BY_SQLSTATE: tuple[tuple[str, type[DotWrapperError]], ...] = (
    (r"23502", MissingInput),
    (r"23503", UnknownReference),
    (r"23505", DuplicateObservation),
    (r"23514", InvalidInput),
    (r"23001", AppendOnlyViolation),
    (r"22023", NotInstalled),
    (r"22...", InvalidInput),
    (r"42501", NotPermitted),
    (r"3F000|42P01|42883|42703|42704", NotInstalled),
    (r"25006", ReadOnlyDatabase),
    (r"55P03", LockTimeout),
    (r"40001|40P01", RetryExhausted),
    (r"57014", StatementCancelled),
    (r"08...|57P..", DatabaseUnavailable),
)
READ_ONLY_HINT: Final = (
    "Connect to the primary: with several hosts, target_session_attrs=read-write in DATABASE_URL. Where it is the primary, its"
    " settings say default_transaction_read_only: look who did that, then ALTER DATABASE ... RESET default_transaction_read_only,"
    " or ALTER ROLE."
)
"""What to do when the database is read-only (25006)."""

_HINTS: dict[type[DotWrapperError], str] = {
    NotInstalled: "Run `dot-wrapper upgrade` (or `alembic upgrade head`) on this database.",
    NotPermitted: "The login needs the role that the call is made as. A DBA grants it.",
    ReadOnlyDatabase: READ_ONLY_HINT,
    DatabaseUnavailable: "Check DATABASE_URL and that the server runs.",
    StatementCancelled: "Where statement_timeout did it, set a longer one for this login. What was committed stays.",
    RetryExhausted: "Repeat the call with the same idempotency key.",
}

BESIDE_HINT: Final = (
    "Or let DOTs of the wrapper's own stand beside them: `beside: own` in the mapping, docs/howto/adopt.md."
)
"""What else to do when a host's catalogue takes no DOT (23514, ``dot_tools_code_host_check``)."""


def from_database(error: psycopg.Error, role: str | None = None) -> DotWrapperError:
    """The exception for an error of psycopg, with message, detail, hint, SQLSTATE and constraint.

    Args:
        role: the role of the call; the hint of NotPermitted names it.
    """
    constraint = error.diag.constraint_name
    kind: type[DotWrapperError] = DotWrapperError
    if error.sqlstate is None:
        # psycopg refuses values that it cannot send, a NUL byte for instance.
        if isinstance(error, psycopg.DataError):
            kind = InvalidInput
        elif isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            kind = DatabaseUnavailable
    else:
        kind = of_sqlstate(error.sqlstate, constraint)
    hint = error.diag.message_hint or _HINTS.get(kind)
    if constraint == "dot_tools_code_host_check":
        hint = f"{hint} {BESIDE_HINT}"
    if kind is NotPermitted and role is not None:
        hint = f"The call is made as {role}. A DBA runs, with the login's name: grant {role} to ..."
    return kind(
        error.diag.message_primary or " ".join(str(error).split()),
        sqlstate=error.sqlstate,
        constraint=constraint,
        detail=error.diag.message_detail,
        hint=hint,
    )


def of_sqlstate(sqlstate: str, constraint: str | None) -> type[DotWrapperError]:
    """The exception class for an SQLSTATE and the name of a constraint."""
    matches = [one for pattern, one in _BY_CONSTRAINT if constraint and re.fullmatch(pattern, constraint)]
    matches += [one for pattern, one in _BY_SQLSTATE if re.fullmatch(pattern, sqlstate)]
    return matches[0] if matches else DotWrapperError


def _differing(detail: str | None) -> tuple[str, ...]:
    found = re.search(r"Differing fields: ([a-z_, ]+)\.", detail or "")
    return tuple(found.group(1).split(", ")) if found else ()


def is_stale_plan(error: psycopg.Error) -> bool:
    """Whether what the session has prepared may be out of date (0A000, "cached plan must not change result type"): the schema was
    upgraded meanwhile. Nothing was done, and another session prepares anew."""
    return error.sqlstate == "0A000"


def is_retryable(error: psycopg.Error) -> bool:
    """Whether the same call may succeed when it is repeated: 40001, 40P01, a plan that is out of date, or a lost connection."""
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError)  # the connection was lost or refused
    return error.sqlstate in ("40001", "40P01") or is_stale_plan(error) or error.sqlstate.startswith(("08", "57P"))
