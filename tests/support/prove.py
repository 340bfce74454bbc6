"""Runs `dot-wrapper prove` as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PROVE = [str(Path(sys.executable).parent / "dot-wrapper"), "prove"]


def start(url: str, *options: str, examples: int = 3) -> subprocess.Popen[str]:
    """A prove of a database that is under way."""
    environment = {**os.environ, "DATABASE_URL": url}
    command = [*PROVE, "--examples", str(examples), *options]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def proved(url: str, *options: str, examples: int = 3) -> tuple[int, dict[str, Any]]:
    """Its exit code and its document."""
    process = start(url, "--json", *options, examples=examples)
    out, err = process.communicate()
    assert out, err
    return process.returncode, json.loads(out)
