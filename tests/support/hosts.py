"""The hosts of examples/hosts, made and adopted in a database of a test's own by what `dot-wrapper adopt --sql` prints."""

from __future__ import annotations

import os
from typing import Literal, cast

import psycopg

from dot_wrapper.client import database
from dot_wrapper.files import ROOT
from dot_wrapper.operations.adoption.host import tables_of
from dot_wrapper.operations.adoption.mapping import Mapping, read_mapping
from dot_wrapper.operations.adoption.scripts import adopt_sql
from dot_wrapper.proving.support import GATES, PAIR, Database, acquire, attest, set_gates

Host = Literal["near", "far"]
HOSTS: tuple[Host, ...] = ("near", "far")

# Where the tests of a run stand on an adopted database: DOT_TEST_HOST=near or far.
TEST_HOST = cast("Host | Literal['']", os.environ.get("DOT_TEST_HOST", ""))

# Two DOTs of each host.
DOTS = {"near": ("KG.001", "KG.002"), "far": ("DOT_1", "DOT_2")}

# The table of each host's switches, and the column that names them.
SWITCHES = {"near": ("public.dot_config", "key"), "far": ("automation.settings", "setting")}


def mapping_of(host: Host) -> Mapping:
    """The mapping of a host as it is beside it: its DOTs alone count, and it governs all of its switches."""
    return read_mapping(ROOT / "examples" / "hosts" / f"{host}.yaml")


def beside(mapping: Mapping) -> Mapping:
    """The same, but the DOTs that a test registers count too, and the queue's worker is the wrapper's."""
    assert mapping.catalogue
    assert mapping.gates
    return mapping.model_copy(
        update={
            "catalogue": mapping.catalogue.model_copy(update={"beside": "own"}),
            "gates": mapping.gates.model_copy(update={"governs": GATES}),
        }
    )


def make(url: str, host: Host) -> None:
    """Makes a host in a database, as a superuser. Its catalogue far away has row security: dot_owner passes by it."""
    script = (ROOT / "examples" / "hosts" / f"{host}.sql").read_bytes()
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(script)
        if host == "far":
            admin.execute("alter role dot_owner bypassrls")


def adopt(url: str, mapping: Mapping) -> None:
    """Adopts, as a superuser."""
    with database.connect(url) as connection:
        script = adopt_sql(connection, mapping, tables_of(connection, mapping))
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(script.encode())


def switch(url: str, host: Host, value: str, *gates: str) -> None:
    """Moves switches of a host, by default all that have to do with runs, as the host's operator does: a plain UPDATE."""
    table, key = SWITCHES[host]
    chosen = f"{key} = any (%s)" if gates else f"{key} !~ '^queue'"
    with psycopg.connect(url, autocommit=True) as operator:
        operator.execute("set role host_ops")
        moved = operator.execute(
            f"update {table} set value = %s where {chosen}" + ("" if host == "near" else " and scope = 'global'"),
            (value, list(gates)) if gates else (value,),
        )
    assert moved.rowcount == (len(gates) or 3)


def adopted(url: str, host: Host) -> None:
    """For the rules that any database has to keep: own DOTs beside the host's, and the host's switches on."""
    make(url, host)
    adopt(url, beside(mapping_of(host)))
    switch(url, host, "true")


def ready(db: Database, host: Host) -> int:
    """In a database that is adopted strictly: a pair of the host's DOTs, open gates of both, a passed preflight, and the lease, whose
    token is returned. What is left for a REAL_RUN is its call."""
    producer, verifier = DOTS[host]
    db.session("cataloguer").execute(
        "select dot.fn_process_candidate_define(%s, %s, %s, 'tester')", (PAIR, producer, verifier)
    )
    set_gates(db)
    attest(db)
    switch(db.url, host, "true")
    return acquire(db.session("writer"))
