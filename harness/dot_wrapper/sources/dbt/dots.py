"""The catalogue of a dbt project: its nodes as DOTs, and those that left it as retired ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Required, TypedDict

import psycopg

from dot_wrapper.client import calls
from dot_wrapper.sources.bulk import Stored, answers
from dot_wrapper.sources.dbt.names import code_of, line_of
from dot_wrapper.sources.dbt.reader import DbtInput

ENGINE: Final = "dbt"
RETIRED: Final = "retired."
"""What the category of a DOT begins with that the project does not have any more."""


class Dot(TypedDict, total=False):
    """The arguments of ``register_dot``."""

    code: Required[str]
    category: str | None
    execution_engine: str
    script_path: str | None
    file_path: str | None


@dataclass(frozen=True, slots=True)
class Standing:
    """The catalogue's DOTs of the project before an import, where the project says its name.

    Attributes:
        is_older: whether a newer manifest of the project was imported before, as far as the candidates' times say.
        active: their codes, without those that are retired.
        left: those that the manifest does not have, as far as it is the newest.
    """

    is_older: bool = False
    active: frozenset[str] = frozenset()
    left: tuple[Dot, ...] = ()


def standing_of(connection: psycopg.Connection[Any], given: DbtInput) -> Standing:
    """How the catalogue stands to what was read (role dot_cataloguer)."""
    if not given.project:
        return Standing()
    ((newest,),) = connection.execute(
        "select max(source_time) from dot.v_process_candidate where split_part(verifier_dot_code, '.', 2) = %s",
        (given.project,),
    ).fetchall()
    is_older = None not in (newest, given.generated_at) and newest > given.generated_at
    rows = connection.execute(
        """
        select dot_code, category, script_path, file_path, coalesce(starts_with(category, %s), false)
        from dot.v_dot_tool
        where execution_engine = %s and split_part(dot_code, '.', 2) = %s
        order by dot_code
        """,
        (RETIRED, ENGINE, given.project),
    ).fetchall()
    known = {code_of(name) for name in given.known}
    left = [
        Dot(
            code=code,
            category=category if is_retired else f"{RETIRED}{category}",
            execution_engine=ENGINE,
            script_path=script_path,
            file_path=file_path,
        )
        for code, category, script_path, file_path, is_retired in rows
        if code not in known
    ]
    active = frozenset(code for code, *_, is_retired in rows if not is_retired)
    # A manifest without nodes is more likely broken than the end of a project.
    return Standing(is_older, active, () if is_older or not given.nodes else tuple(left))


def dots_of(given: DbtInput, standing: Standing) -> Iterator[Dot]:
    """What to register: of an older manifest the DOTs that no newer one has, as retired."""
    for node in given.nodes:
        dot = Dot(
            code=node.code,
            category=code_of(node.resource_type),
            execution_engine=ENGINE,
            # What a person would search for, where the code is not the name itself.
            script_path=None if node.code == node.unique_id else line_of(node.unique_id),
            file_path=line_of(node.path),
        )
        if not standing.is_older:
            yield dot
        elif node.code not in standing.active:
            yield {**dot, "category": f"{RETIRED}{dot['category']}"}


def register(connection: psycopg.Connection[Any], dots: Sequence[Dot]) -> Stored[Dot]:
    """Adds or updates DOTs."""
    outcomes = Counter(answers(connection, [calls.register_dot(**dot) for dot in dots]))
    return Stored(len(dots), Counter(dots_created=outcomes["created"], dots_updated=outcomes["updated"]))


def retire(connection: psycopg.Connection[Any], dots: Sequence[Dot]) -> Stored[Dot]:
    """The same for DOTs that left."""
    return Stored(len(dots), Counter(dots_retired=register(connection, dots).figures["dots_updated"]))
