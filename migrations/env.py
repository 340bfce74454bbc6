"""Alembic environment of both sections of alembic.ini: the main line in one transaction, the optional amendment in one for each step
that must not keep the locks of the step before (``transaction.next_transaction``). Online and with ``--sql`` the same SQL runs.

Before the first revision of the main line come the roles that are missing, the right to act as their owner, and the schema.
"""

from __future__ import annotations

from alembic import context
from alembic.runtime.migration import RevisionStep

from dot_wrapper.client.database import PIN
from dot_wrapper.deploy.frozen_sql import AMENDMENT
from dot_wrapper.deploy.guards import (
    ACT_AS_OWNER,
    BEGIN,
    CONTENTS,
    DROP_UNUSED_VERSION_TABLE,
    ENTER,
    GIVE_UP_EARLY,
    INSTALLED,
    LEAVE,
    SCHEMA,
    VERSION,
    WITHOUT_ADOPTION,
    WITHOUT_AMENDMENT,
)
from dot_wrapper.deploy.transaction import (
    begins_at,
    direction,
    enter_amendment,
    execute_all,
    in_amendment,
    start,
    steps,
)
from dot_wrapper.files import ROOT


def applies(step: RevisionStep) -> tuple[str, ...]:
    """The files that a revision applies; one of statements alone names none."""
    found: tuple[str, ...] = getattr(step.revision.module, "APPLIES", ())
    return found


def goes_with_amendment(step: RevisionStep) -> bool:
    """Whether a revision of the main line may be run in either direction while the amendment is on: it says so by
    ``WITH_AMENDMENT = True``, and applies no file that the amendment has its own copy of."""
    says_so = getattr(step.revision.module, "WITH_AMENDMENT", False)
    return says_so and not set(applies(step)) & set(AMENDMENT.sources())


def touches_seam(step: RevisionStep) -> bool:
    """Whether a revision, in either direction, replaces or drops what adoption has put over the tables of a host."""
    return any(name.startswith("views/v_host_") for name in applies(step))


def roles() -> str:
    """The statements of ``sql/roles.sql``, which for psql is a transaction of its own."""
    text = (ROOT / "sql" / "roles.sql").read_text(encoding="utf-8")
    return text.partition(f"\nbegin;\n{PIN};\n")[2].rpartition("\ncommit;\n")[0]


def main_line() -> None:
    """Runs the migrations of the main line: all of them are installed, or none."""
    if direction() == "upgrade":
        execute_all(*BEGIN, VERSION, roles(), ENTER, SCHEMA, ACT_AS_OWNER, CONTENTS)
    else:
        execute_all(*BEGIN, ENTER, ACT_AS_OWNER)
    if direction() in ("do_stamp", "do_ensure_version"):
        execute_all(INSTALLED)
    execute_all(GIVE_UP_EARLY)
    if not all(goes_with_amendment(step) for step in steps()):
        execute_all(WITHOUT_AMENDMENT)
    if any(touches_seam(step) for step in steps()):
        execute_all(WITHOUT_ADOPTION)
    begins_at(context.get_context().get_current_heads())
    context.run_migrations()
    execute_all(LEAVE)


def amendment() -> None:
    """Runs the migrations of the amendment. Taken back, nothing of it is left."""
    enter_amendment()
    begins_at(context.get_context().get_current_heads())
    context.run_migrations()
    if direction() == "downgrade":
        execute_all(DROP_UNUSED_VERSION_TABLE)
    execute_all(LEAVE)


start(amendment if in_amendment() else main_line)
