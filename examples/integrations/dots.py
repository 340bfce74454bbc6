"""The author's own two functions: one writes numbers to the file that OUTPUT names, the other checks what is there."""

import os
from pathlib import Path

from dot_wrapper import Part, Run

output = Path(os.environ["OUTPUT"])


def produce(_run: Run) -> str:
    output.write_text("1 2 3", encoding="utf-8")
    return output.as_uri()


def verify(_run: Run, _produced: Part) -> bool:
    return output.read_text(encoding="utf-8") == "1 2 3"
