"""What is said of a host, and how its tables are looked at while that is found out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import psycopg
from psycopg import sql

from dot_wrapper.operations.adoption.host import KINDS, Column, Table, rows_of

Word = Literal["fits", "mapped", "decide", "missing", "grant", "own", "superseded", "figures"]

# Names that a column may have, the wrapper's own first.
_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "code": ("code", "dot_code", "tool_code", "dot"),
    "category": ("category", "dot_category", "domain", "family"),
    "execution_engine": ("execution_engine", "engine", "executor", "run_by"),
    "script_path": ("script_path", "script"),
    "file_path": ("file_path", "file"),
    "trigger_type": ("trigger_type", "trigger_kind", "trigger", "started_by"),
    "usage_count": ("usage_count", "use_count", "exec_count", "run_count", "execution_count", "times_used"),
    "last_executed": ("last_executed", "last_executed_at", "last_run_at", "last_run", "last_execution"),
    "key": ("key", "config_key", "setting_key", "setting", "name"),
    "value": ("value", "config_value", "setting_value", "enabled", "is_enabled"),
    "run_status": ("run_status", "outcome", "status", "result"),
    "run_mode": ("run_mode", "mode"),
    "is_dry": ("dry_run", "is_dry_run", "dry"),
    "lease_key": ("lease_key", "resource", "key"),
}


def names_of(wanted: str) -> tuple[str, ...]:
    """What a column may be called that stands for one of the wrapper's."""
    return _NAMES[wanted]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of what was found.

    Attributes:
        word: fits and mapped are read as they are or under another name; decide is for a person; missing has to be done first, by
            ``statement``; grant is in adopt.sql, or a right that this login lacks; own stays the wrapper's; superseded is
            not read.
    """

    object: str
    word: Word
    text: str
    statement: str | None = None


@dataclass(slots=True)
class Host:
    """The schema that is looked at; its tables by the names that the wrapper knows them by."""

    connection: psycopg.Connection[Any]
    schema: str
    tables: dict[str, Table]
    found: list[Finding] = field(default_factory=list)

    def say(self, name: str, word: Word, text: str, statement: str | None = None) -> None:
        self.found.append(Finding(name, word, text, statement))

    def plain(self, name: str) -> Table | None:
        """The table of this name that may be adopted; what keeps another from it is said."""
        table = self.tables.get(name)
        if table is None:
            return None
        if table.kind in KINDS:
            self.say(
                name, "missing", f"it is {KINDS[table.kind]}: it is not read; name the table below it in the mapping"
            )
            return None
        if table.code:
            for one in table.code:
                self.say(name, "missing", f"{one}, with the rights of the login that reads the table")
            return None
        if table.triggers:
            self.say(
                name, "fits", f"its triggers do not run, because the wrapper only reads: {', '.join(table.triggers)}"
            )
        return table

    def read(self, table: Table, query: sql.SQL | sql.Composed) -> list[dict[str, Any]] | None:
        """Rows; None where they may not be read."""
        with rows_of(self.connection, table) as cursor:
            return None if cursor is None else cursor.execute(query).fetchall()

    def column(self, table: Table, wanted: str, bases: Iterable[str] = ()) -> Column | None:
        """The column that stands for one of the wrapper's, of one of some types where they are given."""
        by_name = {name.lower(): column for name, column in table.columns.items()}
        chosen = (by_name[name] for name in _NAMES[wanted] if name in by_name)
        return next((one for one in chosen if one.base is not None and (not bases or one.base in bases)), None)
