"""The exit codes of `dot-wrapper`; docs/reference/cli.md explains them."""

from typing import Final

DONE: Final = 0
FAILED: Final = 1
BAD_INPUT: Final = 2
REFUSED: Final = 3
NOT_VERIFIED: Final = 4
FOUND: Final = 5
A_PERSON_DECIDES: Final = 6
DO_NOT_DEPLOY: Final = 7
PARTLY: Final = 8
HUNG_UP: Final = 129
INTERRUPTED: Final = 130
TERMINATED: Final = 143
