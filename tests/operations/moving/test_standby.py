"""A physical standby: what it answers, and what its promotion leaves."""

from __future__ import annotations

import pytest

from dot_wrapper.operations.scratch import run_as_owner
from dot_wrapper.proving.databases import database_url, fresh_database, upgrade
from support import observe_run, poll_until
from support.moved import Mover, Server, act_as_server_user, connect, fill, look, safe
from support.servers import data_directory, folder_of, server
from tools.scratch import programs


@pytest.mark.parametrize("version", [15, 18])
def test_a_standby_and_its_promotion(version: int) -> None:
    with server(version) as superuser:
        old = Server(version, superuser)
        upgrade(fresh_database(superuser, "shop"))
        fill(old.url("shop"))
        before = look(old.url("shop"))
        data = data_directory(superuser)
        with folder_of(data) as folder:
            new = folder / "new"
            act_as_server_user(folder, version, "pg_ctl", "pg_basebackup")
            mover = Mover("", database_url(f"postgresql://postgres@/?host={folder}", "shop"), version, folder)
            mover.environment.update(PRIMARY=superuser, NEW_DATA=str(new))
            try:
                mover.follow("A physical standby")
                assert look(mover.new) == safe(before)
                with connect(mover.new) as session:
                    observe_run(session)
                    assert len(poll_until(session, 4)) == 4
            finally:
                run_as_owner(folder, programs(version) / "pg_ctl", "-D", str(new), "-m", "immediate", "stop")
