"""Legal calls of one run: what the stories and the hostile input begin with, and change one thing of."""

from __future__ import annotations

import uuid
from typing import Any

from dot_wrapper.proving import model
from dot_wrapper.proving.support import GATES, PRODUCER, VERIFIER, Database
from dot_wrapper.proving.twin import Twin

RUN_ID = uuid.UUID(int=1)


def ready(db: Database) -> Twin:
    """Where a REAL_RUN of the first candidate is let in under token 1 of anna's."""
    twin = Twin(db)
    for gate in GATES:
        twin.set_gate(gate, "true")
    twin.attest("PASS")
    twin.acquire("writer", twin.candidates[0], "anna")
    return twin


def header(twin: Twin, evidence_type: str = model.REAL) -> dict[str, Any]:
    """The header of the run, which is the first candidate's."""
    return {
        "process_candidate_code": twin.candidates[0],
        "dot_code": PRODUCER,
        "process_run_id": RUN_ID,
        "correlation_id": "corr-1",
        "evidence_type": evidence_type,
        "dry_run": evidence_type != model.REAL,
        "status": "started",
        "actor": "anna",
        "lease_token": None if evidence_type == model.SIMULATED else 1,
    }


def component(twin: Twin, role: str, *, real: bool = True) -> dict[str, Any]:
    """A role's part of it, completed."""
    return {
        "process_candidate_code": twin.candidates[0],
        "dot_code": PRODUCER if role == "producer" else VERIFIER,
        "process_run_id": RUN_ID,
        "correlation_id": "corr-1",
        "component_role": role,
        "status": "completed",
        "actor": "anna",
        "lease_token": 1 if real else None,
    }
