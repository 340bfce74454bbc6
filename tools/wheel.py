"""Builds the wheel and uses it as a consumer does: ``make wheel``.

In an environment of its own for the lowest and the highest Python of this machine, outside the checkout: first without the embedded
server, then with it. What a wheel lacks shows here and nowhere else: in a checkout each file is found.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZipFile

from dot_wrapper.files import ROOT

PYTHONS = range(11, 20)
"""The minor versions of Python 3 that are looked for."""

LOGIN = {"DATABASE_URL", "DOT_WRAPPER_HOME", "PYTHONPATH", "VIRTUAL_ENV"}
"""What the consumer's environment does not take from this one."""


def main() -> int:
    """Builds, installs and runs; the first command that does not do what it should ends it with its output."""
    with tempfile.TemporaryDirectory(prefix="dotw", dir="/tmp") as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)  # the embedded server runs as another user where this one is root
        run(
            [
                sys.executable,
                "-m",
                "pip",
                "wheel",
                "-q",
                "--no-deps",
                "--no-build-isolation",
                "-w",
                str(folder),
                str(ROOT),
            ]
        )
        (wheel,) = folder.glob("*.whl")
        print(f"{wheel.name}: {wheel.stat().st_size // 1000} kB")
        versions = "\n".join(
            re.findall(r"^\S+==\S+", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE)
        )
        constraints = folder / "constraints.txt"
        constraints.write_text(versions, encoding="utf-8")
        found = [python for minor in PYTHONS if (python := interpreter(minor))] or [sys.executable]
        for python in dict.fromkeys((found[0], found[-1])):
            consume(python, wheel, constraints, folder / Path(python).name)
            print(
                f"{Path(python).name}: upgrade, import, record, board, drift, doctor, prove and the example project from the wheel"
            )
    return 0


def consume(python: str, wheel: Path, constraints: Path, folder: Path) -> None:
    """One consumer: an environment, an embedded server in the user's data folder, and the commands."""
    folder.mkdir(mode=0o755)
    bin_folder = folder / "env" / "bin"
    environment = {name: value for name, value in os.environ.items() if name not in LOGIN}
    environment |= {"XDG_DATA_HOME": str(folder / "data"), "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
    install = ["pip", "install", "-q", "--disable-pip-version-check", "-c", str(constraints)]

    def wrapper(*arguments: str, codes: Sequence[int] = (0,)) -> str:
        return run(["dot-wrapper", *arguments], codes=codes, cwd=folder, environment=environment)

    run([python, "-m", "venv", str(folder / "env")], environment=environment)
    run([*install, str(wheel)], environment=environment)
    expect("pip install 'dot-wrapper[embedded]'" in wrapper("version", codes=(1,)), "says what to install")
    expect(
        wrapper("upgrade", "--sql") == run([sys.executable, "-m", "alembic", "upgrade", "head", "--sql"], cwd=ROOT),
        "same SQL",
    )
    expect("dot_wrapper/py.typed" in ZipFile(wheel).namelist(), "has types")
    expect("pip install 'dot-wrapper[prove]'" in wrapper("prove", codes=(1,)), "says what the suite needs")
    expect(
        "pip install 'dot-wrapper[review]'" in wrapper("review", "0001", "0002", codes=(1,)), "says what a review needs"
    )
    run([*install, f"{wheel}[embedded,prove,review]"], environment=environment)
    try:
        wrapper("upgrade")
        wrapper("catalogue", "define", str(ROOT / "examples" / "catalogue.yaml"), "--actor", "consumer")
        imported = json.loads(wrapper("import", "dbt", str(ROOT / "examples" / "dbt"), "--json"))
        recorded = json.loads(wrapper("record", str(ROOT / "examples" / "observations.ndjson"), "--json"))
        expect(bool(imported) and bool(recorded), "import and record report what they did")
        expect(len(json.loads(wrapper("board", "--json"))) > 0, "the board has candidates")
        expect(json.loads(wrapper("drift", "--json"))["differences"] == [], "nothing differs")
        wrapper("doctor", codes=(0, 5))
        wrapper("prove", "--quick")
        expect("# Review: base → head" in wrapper("review", "base", "head", codes=(0, 6)), "reviews itself")
        consumer = shutil.copytree(ROOT / "examples" / "consumer", folder / "consumer")
        run(["python", "-m", "pytest", "-q"], cwd=consumer, environment=environment)
        expect((folder / "data" / "dot-wrapper").is_dir(), "the server's data lies in the user's data folder")
    finally:
        wrapper("db", "stop")


def run(
    command: Sequence[str],
    *,
    codes: Sequence[int] = (0,),
    cwd: Path | None = None,
    environment: dict[str, str] | None = None,
) -> str:
    """Runs a program: what it printed, both streams where it must fail.

    Raises:
        SystemExit: it ended by another exit code.
    """
    path = (environment or os.environ)["PATH"]
    done = subprocess.run(
        ["env", f"PATH={path}", *command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode not in codes:
        sys.exit(f"{' '.join(command)} ended by {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout if 0 in codes else done.stdout + done.stderr


def interpreter(minor: int) -> str | None:
    """A Python 3.MINOR that works: the one on PATH, or one that pyenv keeps; None where there is none."""
    name = f"python3.{minor}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for python in (name, *map(str, sorted(pyenv.glob(f"versions/3.{minor}.*/bin/{name}")))):
        try:
            if subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0:
                return python
        except FileNotFoundError:
            continue
    return None


def expect(holds: bool, what: str) -> None:
    """Ends the program where something does not hold."""
    if not holds:
        sys.exit(f"from the wheel it does not hold: {what}")


if __name__ == "__main__":
    sys.exit(main())
