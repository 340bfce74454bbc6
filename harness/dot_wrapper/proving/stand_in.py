"""What stands for an adopted host in a copy: tables with the rows that the seams showed, and seams over them.

No code, no trigger and no other column of the host's comes along. The wrapper's own DOTs count beside the host's and the host's gates
are open, in the copy alone: the suite registers DOTs of its own and opens and closes the wrapper's gates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, LiteralString

import psycopg
from psycopg.rows import dict_row

from dot_wrapper.operations.adoption.checking import Adoption, definitions
from dot_wrapper.operations.adoption.mapping import GATES

SCHEMA: Final = "dot_prove_host"

_TABLES: Final[LiteralString] = """
create schema dot_prove_host;
create table dot_prove_host.v_host_tool (
    code text collate "C", category text, execution_engine text, script_path text, file_path text, trigger_type text,
    usage_count bigint, last_executed timestamptz
);
create index on dot_prove_host.v_host_tool (code);
create table dot_prove_host.v_host_gate (key text primary key, value text);
create table dot_prove_host.v_host_ledger (
    ledger text, rows_seen bigint, refused bigint, planned bigint, keyed_by_run boolean
);
grant usage on schema dot_prove_host to dot_owner;
grant select on all tables in schema dot_prove_host to dot_owner;
"""

# By the functions of dot_bridge, as the wrapper reads them: whatever the host has put there runs with no other rights.
_ROWS: Final[dict[str, LiteralString]] = {
    "v_host_tool": "copy (select * from dot.fn_host_tools()) to stdout",
    "v_host_gate": "copy (select g.key, 'true' from jsonb_each((dot.fn_host_gate_words({gates})).words) as g) to stdout",
    "v_host_ledger": "copy (select * from dot.fn_host_ledgers()) to stdout",
}

_SEAMS: Final[dict[str, LiteralString]] = {
    "v_host_tool": (
        "select * from dot_prove_host.v_host_tool as t union all"
        " select o.code, o.category, o.execution_engine, o.script_path, o.file_path, o.trigger_type, o.usage_count, o.last_executed"
        " from dot.dot_tools as o where not exists (select from dot_prove_host.v_host_tool as t where t.code = o.code);"
    ),
    "v_host_gate": "select key, value from dot_prove_host.v_host_gate;",
    "v_host_ledger": "select * from dot_prove_host.v_host_ledger;",
}


@dataclass(frozen=True, slots=True)
class Host:
    """An adopted host, as a copy has it.

    Attributes:
        definitions: the text of each adopted seam, as the server prints it.
        rows: the rows of each, as COPY writes them.
    """

    adoption: Adoption
    definitions: dict[str, str]
    rows: dict[str, bytes]

    def in_script(self, script: str) -> str:
        """A dump of schema ``dot`` with the stand-in's seams in place of the host's."""
        for seam, text in self.definitions.items():
            view = f"CREATE VIEW dot.{seam} WITH (security_barrier='true') AS\n"
            before = script
            script = script.replace(view + text, view + _SEAMS[seam])
            if script == before:
                raise ValueError(f"pg_dump does not print dot.{seam} as the server does")
        return script

    def fill(self, connection: psycopg.Connection[Any]) -> None:
        """Makes the tables of the stand-in and copies the rows into them."""
        connection.execute(_TABLES)
        for seam, rows in self.rows.items():
            with connection.cursor().copy(f"copy dot_prove_host.{seam} from stdin".encode()) as copy:
                copy.write(rows)


def read(connection: psycopg.Connection[Any]) -> Host | None:
    """The adopted host of a database; None where nothing is adopted."""
    adoption = definitions(connection)
    if adoption is None:
        return None
    with connection.cursor(row_factory=dict_row) as cursor:
        texts = {
            seam: str(one["text"])
            for seam in adoption.seams
            for one in cursor.execute("select pg_get_viewdef(to_regclass(%s)) as text", (f"dot.{seam}",)).fetchall()
        }
    gates = f"array[{', '.join(repr(gate) for gate in GATES)}]"
    rows = {}
    for seam in adoption.seams:
        with connection.cursor().copy(_ROWS[seam].replace("{gates}", gates).encode()) as copy:
            rows[seam] = b"".join(copy)
    return Host(adoption, texts, rows)
