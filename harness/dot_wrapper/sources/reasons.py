"""What is wrong with a value, in words for the person who wrote it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from dot_wrapper.text import is_storable

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

T = TypeVar("T")

TOO_DEEP: Final = "it is nested too deeply"
NOT_STORABLE: Final = "it has a character that no database can store: NUL, or half of a surrogate pair"

# pydantic's own words name types of Python and classes of the wrapper, which a reader of the message does not know.
_REASONS: Final = {
    "dataclass_type": "expected an object",
    "dict_type": "expected an object",
    "list_type": "expected a list",
    "missing": "it is missing",
    "model_attributes_type": "expected an object",
    "model_type": "expected an object",
    "none_required": "it has to be null or left out",
    "recursion_depth_exceeded": TOO_DEEP,
    "string_unicode": NOT_STORABLE,
    "tuple_type": "expected a list",
}


def reason_of(problem: ErrorDetails) -> str:
    """The reason of a problem that pydantic has found."""
    said = problem["msg"].removeprefix("Value error, ")  # pydantic's words before those of a check of ours
    return _REASONS.get(problem["type"], said)


def storable(value: T) -> T:
    """Checks every text in a value.

    Raises:
        ValueError: the database does not take one of them.
    """
    if isinstance(value, str):
        if not is_storable(value):
            raise ValueError(NOT_STORABLE)
    elif isinstance(value, dict):
        for name, one in value.items():
            storable(name)
            storable(one)
    elif isinstance(value, list):
        for one in value:
            storable(one)
    return value
