"""The embedded server: what is believed about it, whose it is, and what of its surroundings reaches it."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from dot_wrapper import cli
from dot_wrapper.files import ROOT
from dot_wrapper.operations import embedded
from dot_wrapper.operations.embedded import EmbeddedServerError
from support.servers import kill

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="about a server of root's")


@contextmanager
def bystander(data: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the server's user that is no server."""
    entry = pwd.getpwuid(data.stat().st_uid)
    account = entry if os.geteuid() == 0 else None
    process = subprocess.Popen(
        ["sleep", "600"],
        cwd="/",
        user=account and account.pw_uid,
        group=account and account.pw_gid,
        extra_groups=None if account is None else [],
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def write_pid(data: Path, pid: int) -> None:
    """Puts another process id into the server's pid file."""
    lines = (data / "postmaster.pid").read_text().splitlines()
    (data / "postmaster.pid").write_text("\n".join([str(pid), *lines[1:]]) + "\n")


def setting(url: str, name: str) -> str:
    with psycopg.connect(url) as session:
        (found,) = session.execute("select current_setting(%s)", (name,)).fetchone() or ("",)
    return str(found)


def modes(path: Path) -> dict[Path, int]:
    return {one: stat.S_IMODE(one.stat().st_mode) for one in path.parents}


def test_a_process_that_took_a_dead_server_s_id_is_neither_taken_for_it_nor_ended(server_home: Path) -> None:
    data = server_home / "pg18"
    embedded.start(folder=server_home)
    with bystander(data) as process:
        kill(data)
        write_pid(data, process.pid)
        assert not embedded.is_running(folder=server_home)
        assert not embedded.stop(folder=server_home)
        assert process.poll() is None
        url = embedded.start(folder=server_home)
        assert setting(url, "data_directory") == str(data)
        assert embedded.is_running(folder=server_home)
        assert process.poll() is None


@pytest.mark.skipif(not Path("/proc").exists(), reason="the system does not say which process listens")
def test_the_process_that_listens_is_stopped_whatever_its_pid_file_says(server_home: Path) -> None:
    data = server_home / "pg18"
    embedded.start(folder=server_home)
    with bystander(data) as process:
        write_pid(data, process.pid)
        assert embedded.is_running(folder=server_home)
        assert embedded.stop(folder=server_home)
        assert process.poll() is None
    assert not embedded.is_running(folder=server_home)


def test_a_copy_of_a_running_server_s_data_is_no_running_server(server_home: Path, tmp_path: Path) -> None:
    embedded.start(folder=server_home)
    copy = server_home / "copy"
    shutil.copytree(server_home / "pg18", copy / "pg18", ignore=shutil.ignore_patterns(".s.*"))
    assert not embedded.is_running(folder=copy)
    assert not embedded.stop(folder=copy)
    assert embedded.is_running(folder=server_home)


def test_of_many_that_start_it_at_once_all_get_the_same_server(server_home: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(lambda _: embedded.start(folder=server_home), range(4)))) == 1


@pytest.mark.parametrize(
    "name",
    ['a folder of "Ana\'s" $HOME & 東京 Привет', "host,host", "long-" * 20],
    ids=["spaces and other scripts", "a comma", "longer than a socket's path may be"],
)
def test_the_folder_may_have_any_name(server_home: Path, name: str) -> None:
    folder = server_home / name
    url = embedded.start(folder=folder)
    assert setting(url, "data_directory") == str(folder / "pg18")
    sockets = Path(setting(url, "unix_socket_directories"))
    assert stat.S_IMODE(sockets.stat().st_mode) == 0o700  # without a password, the folder is what protects it
    assert embedded.start(folder=folder) == url
    assert embedded.stop(folder=folder)
    assert sockets == folder / "pg18" or not sockets.exists()


def test_nothing_of_the_caller_s_environment_reaches_it(
    server_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {
        "PGHOST": "nowhere.invalid",
        "PGHOSTADDR": "192.0.2.1",
        "PGPORT": "1",
        "PGSERVICE": "nowhere",
        "PGUSER": "nobody",
        "PGDATABASE": "nowhere",
        "PGDATA": "/nowhere",
        "PGOPTIONS": "-c default_transaction_read_only=on -c TimeZone=Asia/Tokyo",
        "PGTARGETSESSIONATTRS": "read-only",
        "PGCHANNELBINDING": "require",
        "PGCLIENTENCODING": "LATIN1",
        "LC_ALL": "de_DE.UTF-8",
        "LANG": "nonsense",
        "TZ": "Asia/Tokyo",
        "SECRET": "for the caller alone",
        "DOT_WRAPPER_HOME": str(server_home),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert cli.run(("db", "start")) == cli.DONE, capsys.readouterr()
    assert cli.run(("upgrade",)) == cli.DONE, capsys.readouterr()
    assert cli.run(("version",)) == cli.DONE, capsys.readouterr()
    assert "PGSERVICE" not in os.environ  # the commands have left it out
    url = embedded.start(folder=server_home)
    found = {name: setting(url, name) for name in ("port", "lc_messages", "lc_time", "server_encoding")}
    assert found == {"port": "5432", "lc_messages": "C", "lc_time": "C", "server_encoding": "UTF8"}
    assert setting(url, "TimeZone") in ("UTC", "Etc/UTC")
    pid = (server_home / "pg18" / "postmaster.pid").read_text().splitlines()[0]
    process = Path("/proc") / pid / "environ"
    if process.exists():
        started_with = process.read_bytes()
        assert b"SECRET" not in started_with
        assert b"Tokyo" not in started_with


def test_psql_gets_none_of_the_settings_of_another_server(server_home: Path) -> None:
    environment = {**os.environ, "DOT_WRAPPER_HOME": str(server_home), "PGSERVICE": "nowhere", "PGPORT": "1"}
    command = [str(Path(sys.executable).parent / "dot-wrapper"), "db", "psql", "-XAtc", "select 1"]
    environment.pop("DATABASE_URL", None)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


@pytest.mark.parametrize("name", ["DATABASE_URL", "DOT_WRAPPER_HOME"])
def test_a_variable_that_is_set_and_empty_is_no_default(
    server_home: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("DOT_WRAPPER_HOME", str(server_home))
    monkeypatch.setenv(name, "")
    for command in (("board",), ("record", str(ROOT / "examples" / "observations.ndjson")), ("upgrade",)):
        assert cli.run(command) == cli.FAILED
        assert f"{name} is empty" in capsys.readouterr().err
    assert not (server_home / "pg18").exists()


def test_what_stands_in_its_way_is_told(server_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (server_home / "file").write_text("")
    for folder, told in (
        (server_home / "file" / "below", "Not a directory"),
        (Path("/dev/null/x"), "Not a directory"),
    ):
        with pytest.raises(EmbeddedServerError, match=told):
            embedded.start(folder=folder)
    monkeypatch.setenv("DOT_WRAPPER_HOME", "a\nb")
    with pytest.raises(EmbeddedServerError, match="control characters"):
        embedded.home()


def test_a_server_that_cannot_start_says_why(server_home: Path) -> None:
    embedded.start(folder=server_home)
    embedded.stop(folder=server_home)
    with (server_home / "pg18" / "postgresql.conf").open("a") as settings:
        settings.write("no_such_setting = 1\n")
    with pytest.raises(EmbeddedServerError, match="no_such_setting"):
        embedded.start(folder=server_home)


@AS_ROOT
def test_root_changes_no_permission_outside_the_data(server_home: Path) -> None:
    folder = server_home / "a" / "b"
    (server_home / "a").mkdir()
    (server_home / "a").chmod(0o711)
    before = {**modes(folder), **modes(embedded.bin_folder())}
    before.pop(folder, None)
    embedded.start(folder=folder)
    assert {one: stat.S_IMODE(one.stat().st_mode) for one in before} == before
    assert embedded.stop(folder=folder)


@AS_ROOT
def test_root_is_told_which_folder_the_server_s_user_cannot_enter(server_home: Path) -> None:
    private = server_home / "private"
    private.mkdir(mode=0o700)
    with pytest.raises(EmbeddedServerError, match=f"cannot enter {private}. Set DOT_WRAPPER_HOME") as told:
        embedded.start(folder=private / "data")
    assert "/var/lib/dot-wrapper" in str(told.value)
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert list(private.iterdir()) == []


@AS_ROOT
@pytest.mark.parametrize("exists", [False, True], ids=["not there yet", "there"])
def test_what_root_starts_in_a_user_s_folder_is_that_user_s(server_home: Path, exists: bool) -> None:
    account = pwd.getpwnam("nobody")
    folder = server_home / "of-nobody"
    folder.mkdir()
    os.chown(folder, account.pw_uid, account.pw_gid)
    data = folder / "data" / "pg18"
    if exists:
        embedded.start(folder=folder / "data")
        embedded.stop(folder=folder / "data")
    embedded.start(folder=folder / "data")
    try:
        files = [folder, folder / "data", data, *data.rglob("*")]
        assert {one.lstat().st_uid for one in files} == {account.pw_uid}
    finally:
        assert embedded.stop(folder=folder / "data")


@AS_ROOT
def test_a_user_is_told_whose_the_data_is(server_home: Path) -> None:
    embedded.start(folder=server_home)
    owner = (server_home / "pg18").owner()
    os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        for refuse in (embedded.start, embedded.stop):
            with pytest.raises(EmbeddedServerError, match=f"belongs to {owner}: set DOT_WRAPPER_HOME"):
                refuse(folder=server_home)
    finally:
        os.seteuid(0)
    assert (server_home / "pg18").owner() == owner
    assert embedded.is_running(folder=server_home)
