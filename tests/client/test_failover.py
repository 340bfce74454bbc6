"""A caller path whose server dies under it while its standby takes over: the run goes on there, under the same key."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dot_wrapper.client.calls import Pair
from dot_wrapper.client.errors import DatabaseUnavailable, LeaseHeld
from dot_wrapper.operations.scratch import run_as_owner
from dot_wrapper.proving.databases import database_url, fresh_database, upgrade
from support import PAIR, PRODUCER, VERIFIER, row, value, wait_until
from support.flavors import Flavor
from support.moved import connect, fill
from support.servers import data_directory, kill, server, socket_folder, standby
from tools.scratch import programs

VERSION = 18
THE_PAIR = Pair(PAIR, PRODUCER, VERIFIER)


@dataclass(frozen=True)
class Servers:
    """A primary with the wrapper, and its synchronous standby."""

    either: str
    """What a program that records connects to: the one of both that takes writes."""
    standby: str
    primary_data: Path
    standby_data: Path

    def lose_the_primary(self) -> None:
        kill(self.primary_data)

    def promote_the_standby(self) -> None:
        run_as_owner(self.standby_data, programs(VERSION) / "pg_ctl", "-w", "-D", str(self.standby_data), "promote")


@pytest.fixture
def servers() -> Iterator[Servers]:
    with server(VERSION) as superuser:
        primary = fresh_database(superuser, "shop")
        upgrade(primary)
        fill(primary)
        with standby(superuser) as other:
            with connect(superuser) as admin:
                admin.execute("create role worker login in role dot_writer, dot_reader")
                admin.execute("alter system set synchronous_standby_names = '*'")
                admin.execute("select pg_reload_conf()")
                wait_until(lambda: value(admin, "select count(*) from pg_stat_replication where sync_state = 'sync'"))
            hosts = f"{socket_folder(superuser)},{socket_folder(other)}"
            either = f"postgresql://worker@/shop?host={hosts}&target_session_attrs=read-write"
            yield Servers(either, database_url(other, "shop"), data_directory(superuser), data_directory(other))


def real_path(flavor: Flavor, ledger: Any, **options: Any) -> Any:
    return flavor.caller_path(
        ledger, THE_PAIR, evidence_type="REAL_RUN", actor="ci", idempotency_key="today", **options
    )


def verdict(servers: Servers) -> dict[str, Any]:
    with connect(servers.standby) as session:
        return row(
            session,
            "select verified, latest_real_run_id from dot.v_process_verification_v3 where process_candidate_code = %s",
            PAIR,
        )


def test_a_run_in_flight_goes_on_at_the_standby_that_was_promoted(servers: Servers, flavor: Flavor) -> None:
    with (
        flavor.ledger(lambda: flavor.connect(servers.either)) as ledger,
        real_path(flavor, ledger) as run,
        ThreadPoolExecutor() as pool,
    ):
        ledger.retry_seconds = 60  # on a busy machine a promotion takes longer than the two seconds of the tests
        servers.lose_the_primary()
        promotion = pool.submit(servers.promote_the_standby)
        run.producer("completed", output_ref="s3://bucket/out")
        run.verifier("completed", input_ref="s3://bucket/out")
        promotion.result()
    assert verdict(servers) == {"verified": True, "latest_real_run_id": run.process_run_id}


def test_a_path_that_gave_up_takes_its_own_lease_again_and_no_other_holder_does(
    servers: Servers, flavor: Flavor
) -> None:
    with flavor.ledger(lambda: flavor.connect(servers.either)) as ledger:
        ledger.retry_seconds = 0

        def loses_its_server() -> None:
            with real_path(flavor, ledger) as run:
                lost.append(run)
                servers.lose_the_primary()
                run.producer("completed")

        lost: list[Any] = []
        with pytest.raises(DatabaseUnavailable) as gave_up:
            loses_its_server()
        assert "the lease was not released" in " ".join(gave_up.value.__notes__)
        with pytest.raises(DatabaseUnavailable), real_path(flavor, ledger):
            pass  # still away
        servers.promote_the_standby()
        with pytest.raises(LeaseHeld), real_path(flavor, ledger, holder="another"):
            pass
        with real_path(flavor, ledger) as again:
            assert (again.process_run_id, again.created) == (lost[0].process_run_id, False)
            assert again.lease_token > lost[0].lease_token
            again.producer("completed", output_ref="s3://bucket/out")
            again.verifier("completed", input_ref="s3://bucket/out")
    assert verdict(servers) == {"verified": True, "latest_real_run_id": again.process_run_id}
