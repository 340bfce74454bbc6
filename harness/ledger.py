"""Typed calls of the wrapper's functions: one method per function, one transaction per call, as the one role it needs.

Every rule is the database's. This module adds types, exceptions (``harness.errors``) and a bounded retry of what is safe to
repeat: serialization failures, deadlocks, and lost connections where the call carries an idempotency key.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, LiteralString, Self, TypeVar
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb
from psycopg.types.numeric import Int4

from harness import database
from harness.errors import UnknownReference, from_database, is_retryable

EvidenceType = Literal["SIMULATED_DRY_RUN", "DRY_RUN", "REAL_RUN"]
Status = Literal["prepared", "started", "completed", "failed", "skipped"]
Role = Literal["producer", "verifier"]

ATTEMPTS: Final = 5
FIRST_PAUSE: Final = 0.05  # seconds before the second attempt; doubled for each further one

GATES: Final = (
    "iu_core.operator_runtime_enabled",
    "process_dot_runtime.execute_enabled",
    "process_dot_runtime.real_run_enabled",
)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Pair:
    """A process candidate: its code, and the DOTs that produce and verify."""

    code: str
    producer_dot_code: str
    verifier_dot_code: str


@dataclass(frozen=True, slots=True)
class ObservedRun:
    """The run the caller goes on with; ``created`` is False where a call with the same key had stored it before."""

    process_run_id: UUID
    correlation_id: str
    created: bool


@dataclass(frozen=True, slots=True)
class ObservedComponent:
    """A stored component row; ``created`` is False where a call with the same key had stored it before."""

    component_id: UUID
    created: bool


class Ledger:
    """A connection to a database with the wrapper. Use it as a context manager, or call ``close``.

    Args:
        connect: opens an autocommit connection; ``harness.database.connect`` by default. It is called again when the
            connection is lost.
    """

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]] = database.connect) -> None:
        self._connect = connect
        self._connection: psycopg.Connection[Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # Observations (role dot_writer)

    def observe_run(
        self,
        *,
        process_candidate_code: str,
        dot_code: str,
        process_run_id: UUID,
        correlation_id: str,
        evidence_type: EvidenceType,
        status: Status,
        actor: str,
        idempotency_key: str | None = None,
        parent_run_id: UUID | None = None,
        input_ref: str | None = None,
        output_ref: str | None = None,
        error_ref: str | None = None,
        evidence_ref: Mapping[str, object] | None = None,
        lease_token: int | None = None,
    ) -> ObservedRun:
        """Records the header of a run (``fn_process_run_observe``, seed 03 "Layered design").

        Go on with what is returned: under a known key that is the run stored before. ``dry_run`` follows from the type.

        Raises:
            MissingInput, InvalidInput, UnknownReference, GateClosed, PreflightBlocked, LeaseNotLive, PayloadMismatch,
            DuplicateObservation: see ``harness.errors``; nothing was stored.
        """
        found = self._call(
            "dot_writer",
            "fn_process_run_observe",
            {
                "process_candidate_code": process_candidate_code,
                "dot_code": dot_code,
                "process_run_id": process_run_id,
                "correlation_id": correlation_id,
                "evidence_type": evidence_type,
                "dry_run": evidence_type != "REAL_RUN",
                "status": status,
                "actor": actor,
                "idempotency_key": idempotency_key,
                "parent_run_id": parent_run_id,
                "input_ref": input_ref,
                "output_ref": output_ref,
                "error_ref": error_ref,
                "evidence_ref": Jsonb(dict(evidence_ref or {})),
                "lease_token": lease_token,
            },
            repeatable=idempotency_key is not None,
        )
        return ObservedRun(*found)

    def observe_component(
        self,
        *,
        process_candidate_code: str,
        dot_code: str,
        process_run_id: UUID,
        correlation_id: str,
        component_role: Role,
        status: Status,
        actor: str,
        idempotency_key: str | None = None,
        input_ref: str | None = None,
        output_ref: str | None = None,
        error_ref: str | None = None,
        evidence_ref: Mapping[str, object] | None = None,
        lease_token: int | None = None,
    ) -> ObservedComponent:
        """Records the producer's or verifier's part of a run (``fn_process_component_observe``).

        Raises: as ``observe_run``; UnknownReference too where the run has no header.
        """
        found = self._call(
            "dot_writer",
            "fn_process_component_observe",
            {
                "process_candidate_code": process_candidate_code,
                "dot_code": dot_code,
                "process_run_id": process_run_id,
                "correlation_id": correlation_id,
                "component_role": component_role,
                "status": status,
                "actor": actor,
                "idempotency_key": idempotency_key,
                "input_ref": input_ref,
                "output_ref": output_ref,
                "error_ref": error_ref,
                "evidence_ref": Jsonb(dict(evidence_ref or {})),
                "lease_token": lease_token,
            },
            repeatable=idempotency_key is not None,
        )
        return ObservedComponent(*found)

    # Gates, preflight, lease, command log (role dot_writer)

    def open_gates(self) -> dict[str, bool]:
        """Which of the three gates are exactly ``true`` now, by key: a plain read, for information."""
        found = self._query(
            "dot_writer",
            "select dot.fn_dot_iu_operator_runtime_enabled(), dot.fn_process_dot_runtime_execute_enabled(),"
            " dot.fn_process_dot_runtime_real_run_enabled()",
        )
        return dict(zip(GATES, found[0], strict=True))

    def preflight(self) -> list[dict[str, str]]:
        """The preflight checks as they stand: check_name, verdict (PASS, WARN, BLOCK), detail (``fn_preflight_guard``)."""
        found = self._query("dot_writer", "select check_name, verdict, detail from dot.fn_preflight_guard()")
        return [dict(zip(("check_name", "verdict", "detail"), row, strict=True)) for row in found]

    def assert_preflight(self) -> list[dict[str, str]]:
        """The preflight checks, each PASS or WARN (``fn_assert_safe_for_dot_action``).

        Raises:
            PreflightBlocked: one is not; the message names all that block.
        """
        verdicts: list[dict[str, str]] = self._call("dot_writer", "fn_assert_safe_for_dot_action", {})[0]
        return verdicts

    def acquire_lease(self, process_candidate_code: str, holder: str, ttl_seconds: int) -> int | None:
        """Takes the candidate's lease for 1 to 3,600 seconds; its token, or None where a live different holder has it."""
        token: int | None = self._call(
            "dot_writer",
            "fn_dot_iu_runtime_lease_acquire",
            {"lease_key": lease_key(process_candidate_code), "holder": holder, "ttl_seconds": Int4(ttl_seconds)},
        )[0]
        return token

    def renew_lease(self, process_candidate_code: str, holder: str, token: int, ttl_seconds: int) -> bool:
        """Moves the end of a live lease; False where it is not live under this holder and token any more."""
        arguments = {
            "lease_key": lease_key(process_candidate_code),
            "holder": holder,
            "token": token,
            "ttl_seconds": Int4(ttl_seconds),
        }
        return bool(self._call("dot_writer", "fn_dot_iu_runtime_lease_renew", arguments)[0])

    def release_lease(self, process_candidate_code: str, holder: str, token: int) -> bool:
        """Ends a live lease; False where it is not live under this holder and token any more."""
        arguments = {"lease_key": lease_key(process_candidate_code), "holder": holder, "token": token}
        return bool(self._call("dot_writer", "fn_dot_iu_runtime_lease_release", arguments)[0])

    def log_command(
        self, command_name: str, run_mode: str, run_status: str, actor: str, detail: Mapping[str, object] | None = None
    ) -> UUID:
        """Appends to the command log, where refusals are kept (``fn_dot_iu_command_log``); returns its run_id.

        Raises:
            UnknownReference: the command is not catalogued.
        """
        run_id: UUID = self._call(
            "dot_writer",
            "fn_dot_iu_command_log",
            {
                "command_name": command_name,
                "run_mode": run_mode,
                "run_status": run_status,
                "actor": actor,
                "detail": Jsonb(dict(detail or {})),
            },
        )[0]
        return run_id

    # Reading (role dot_reader) and the rest

    def pair(self, process_candidate_code: str) -> Pair:
        """The DOTs of a candidate.

        Raises:
            UnknownReference: it is not defined.
        """
        found = self._query(
            "dot_reader",
            "select process_candidate_code, producer_dot_code, verifier_dot_code from dot.v_process_candidate"
            " where process_candidate_code = %s",
            (process_candidate_code,),
        )
        if not found:
            raise UnknownReference(
                f"process candidate {process_candidate_code} is not defined",
                constraint="process_run_observation_process_candidate_code_fkey",
                hint="`dot-wrapper board` lists the candidates.",
            )
        return Pair(*found[0])

    def select(self, query: LiteralString, parameters: tuple[object, ...] = ()) -> list[dict[str, Any]]:
        """Rows of the views as dictionaries, read as ``dot_reader``."""

        def work(connection: psycopg.Connection[Any]) -> list[dict[str, Any]]:
            with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
                return cursor.execute(query, parameters).fetchall()

        return self.transaction("dot_reader", work, repeatable=True)

    def call(self, role: str, function: str, arguments: Mapping[str, object]) -> Any:
        """Calls one of the other functions of schema ``dot`` by named arguments (without ``p_``), as a role; its value."""
        return self._call(role, function, arguments)[0]

    def _call(
        self, role: str, function: str, arguments: Mapping[str, object], *, repeatable: bool = False
    ) -> tuple[Any, ...]:
        query = sql.SQL("select * from dot.{}({})").format(
            sql.Identifier(function),
            sql.SQL(", ").join(
                sql.SQL("{} => {}").format(sql.Identifier(f"p_{name}"), sql.Placeholder(name)) for name in arguments
            ),
        )
        return self._query(role, query, arguments, repeatable=repeatable)[0]

    def _query(
        self,
        role: str,
        query: sql.Composed | LiteralString,
        parameters: Mapping[str, object] | tuple[object, ...] = (),
        *,
        repeatable: bool = False,
    ) -> list[tuple[Any, ...]]:
        return self.transaction(
            role, lambda connection: connection.execute(query, parameters).fetchall(), repeatable=repeatable
        )

    def transaction(self, role: str, work: Callable[[psycopg.Connection[Any]], _T], *, repeatable: bool) -> _T:
        """Does some work in one transaction as a role; again, at most ``ATTEMPTS`` times, on 40001 and 40P01.

        Args:
            repeatable: whether the work may be done twice, because its calls carry idempotency keys or only read. Then it is
                done again after a lost connection too, when nobody knows whether it was committed.

        Raises:
            DotWrapperError: the class for what the database said, see ``harness.errors``.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                if self._connection is None:
                    self._connection = self._connect()
                with database.transaction(self._connection, role) as connection:
                    return work(connection)
            except psycopg.Error as error:
                # Where no connection was had at all nothing was sent, and anything may be tried again.
                lost = self._connection is not None and self._connection.closed
                if lost:
                    self._connection = None
                if attempt == ATTEMPTS or not is_retryable(error) or (lost and not repeatable):
                    raise from_database(error) from error
                # Longer each time, and not the same for everybody who failed together.
                time.sleep(FIRST_PAUSE * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))  # noqa: S311  not a secret
        raise AssertionError("the last attempt returns or raises")


def lease_key(process_candidate_code: str) -> str:
    """The lease of a candidate (seed 03: ``dot_exec:<pair>``)."""
    return f"dot_exec:{process_candidate_code}"
