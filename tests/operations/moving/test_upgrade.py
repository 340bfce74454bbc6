"""pg_upgrade: the same rows and transaction ids in a cluster of another version and identity."""

from __future__ import annotations

import pytest

from dot_wrapper.operations.scratch import run_as_owner
from dot_wrapper.proving.databases import database_url, fresh_database, upgrade
from support import Connection, observe_run, poll_until, value
from support.moved import Mover, Server, act_as_server_user, connect, fill, findings, look, safe
from support.servers import data_directory, folder_of, server, socket_folder
from tools.scratch import programs


def identity(session: Connection) -> int:
    return int(value(session, "select system_identifier from pg_control_system()"))


@pytest.mark.parametrize("version", [15, 16])
def test_pg_upgrade_to_18(version: int) -> None:
    with server(version) as superuser:
        old = Server(version, superuser)
        upgrade(fresh_database(superuser, "shop"))
        fill(old.url("shop"))
        before = look(old.url("shop"))
        with connect(superuser) as session:
            was = identity(session)
        data, sockets = data_directory(superuser), socket_folder(superuser)
        with folder_of(data) as folder:
            new = folder / "new"
            run_as_owner(
                folder, programs(18) / "initdb", "-D", str(new), "-U", "postgres", "--auth=trust", "--encoding=UTF8",
                "--no-sync", "--no-data-checksums",
            )  # fmt: skip
            act_as_server_user(folder, 18, "pg_ctl", "pg_upgrade")
            mover = Mover("", database_url(f"postgresql://postgres@/?host={folder}", "shop"), 18, folder)
            mover.environment.update(
                OLD_BIN=str(programs(version)), NEW_BIN=str(programs(18)), OLD_DATA=str(data), NEW_DATA=str(new),
                PGUSER="postgres",
            )  # fmt: skip
            try:
                mover.follow("pg_upgrade")
                assert look(mover.new) == safe(before)
                assert findings(mover.new) == {"runs": "warn", "leases": "warn"}
                with connect(mover.new) as session:
                    assert identity(session) != was
                    observe_run(session)
                    assert len(poll_until(session, 4)) == 4
                run_as_owner(folder, programs(18) / "pg_ctl", "-w", "-D", str(new), "-m", "immediate", "stop")
            finally:  # which the server's own end expects
                options = f"-h '' -k {sockets}"
                log = str(data / "again.log")
                run_as_owner(
                    data, programs(version) / "pg_ctl", "-w", "-D", str(data), "-l", log, "-o", options, "start"
                )
