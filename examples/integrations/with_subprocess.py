"""Both DOTs are programs: `python with_subprocess.py CANDIDATE KEY OUTPUT PRODUCER VERIFIER`, each a command as one word.

Either is told the path of the output as its last argument. One that fails fails its part; one that still runs when its run must not go
on is killed.
"""

import shlex
import subprocess
import sys
from pathlib import Path

from dot_wrapper import Ledger, Part, Run, run_pair


def succeeds(run: Run, command: str, output: Path) -> bool:
    """Whether a program ends well, before its run must end."""
    with subprocess.Popen([*shlex.split(command), str(output)]) as process:
        while not run.lost.is_set():
            try:
                return process.wait(timeout=1) == 0
            except subprocess.TimeoutExpired:
                continue
        process.kill()
    return False


candidate, key, path, producer, verifier = sys.argv[1:]
output = Path(path).absolute()
with Ledger() as ledger:
    outcome = run_pair(
        ledger,
        candidate,
        produce=lambda run: Part(output_ref=output.as_uri(), passed=succeeds(run, producer, output)),
        verify=lambda run, produced: produced.output_ref == output.as_uri() and succeeds(run, verifier, output),
        actor="subprocess",
        key=key,
    )
print("verified" if outcome.verified else f"not verified: {', '.join(outcome.reasons)}")
