"""What `dot-wrapper` returns; docs/cli.md says what each means."""

from typing import Final

DONE: Final = 0
FAILED: Final = 1
BAD_INPUT: Final = 2
REFUSED: Final = 3
FOUND: Final = 5
HUNG_UP: Final = 129
INTERRUPTED: Final = 130
TERMINATED: Final = 143
