"""Alembic environment of the optional amendment: each revision in a transaction of its own, as ``dot_owner``, online and with
``--sql``. The lock and the role end with a transaction, so each takes them anew, and looks again what it stands on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import context
from alembic.util.exc import CommandError

from dot_wrapper.deploy.transaction import (
    ACT_AS_OWNER,
    BEGIN,
    ENTER,
    GIVE_UP_EARLY,
    INSTALLED,
    LEAVE,
    begins_at,
    direction,
    execute_all,
    start,
)
from dot_wrapper.operations import schema

# The copies of this checkout replace what its main line has installed, and nothing older or newer.
ON_MAIN_LINE = f"""
do $main_line$
declare
    v_revision text;
begin
    if to_regclass('dot.alembic_version') is not null then
        select a.version_num into v_revision from dot.alembic_version a;
    end if;
    if v_revision is distinct from '{schema.head()}' then
        raise object_not_in_prerequisite_state using
            message = format('the amendment needs the main line at {schema.head()}, and it is at %s', coalesce(v_revision, 'none')),
            hint = 'Run first, from the same checkout: alembic upgrade head',
            constraint = 'amendment_main_line';
    end if;
end
$main_line$;
"""  # noqa: S608  a revision of our own

# Taken back, nothing of the amendment is left.
DROP_UNUSED_VERSION_TABLE = """
do $version$
begin
    if not exists (select from dot.alembic_version_amendment) then
        drop table dot.alembic_version_amendment;
    end if;
end
$version$;
"""


# The revision that this run has found, or has come to: between two transactions another may go on.
known: set[str] = set()


def enter() -> None:
    """Begins a transaction."""
    execute_all(*BEGIN, ENTER, ACT_AS_OWNER)
    if direction() == "upgrade":
        execute_all(ON_MAIN_LINE)
    if direction() in ("do_stamp", "do_ensure_version"):
        execute_all(INSTALLED)
    begins_at(sorted(known), "alembic_version_amendment")
    execute_all(GIVE_UP_EARLY)


def run() -> None:
    """Runs the migrations of this call, each in its transaction."""
    this = context.get_context()
    begin = this.begin_transaction
    known.clear()

    @contextmanager
    def transaction(_per_migration: bool = False) -> Iterator[None]:
        with begin(_per_migration=_per_migration):
            if not _per_migration:
                yield
                return
            enter()
            if not context.is_offline_mode() and set(this.get_current_heads()) != known:
                raise CommandError("another command has moved the amendment meanwhile: run this one again")
            yield
            if direction() == "downgrade":
                execute_all(DROP_UNUSED_VERSION_TABLE)
            execute_all(LEAVE)

    this.begin_transaction = transaction  # type: ignore[method-assign]  # alembic has no hook before a revision
    if not context.is_offline_mode():
        enter()  # what is read and made before the first revision is the owner's too
    known.update(this.get_current_heads())
    context.run_migrations()


def applied(heads: set[str], **_: object) -> None:
    """After each revision: where this run has come to."""
    known.clear()
    known.update(heads)


start(run, version_table="alembic_version_amendment", transaction_per_migration=True, on_version_apply=applied)
