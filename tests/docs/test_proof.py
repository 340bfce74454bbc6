"""Each test of the packaged suite belongs to a promise, and ``docs/proof.md`` has the promises that `dot-wrapper prove` prints."""

from __future__ import annotations

import re

from dot_wrapper.files import ROOT
from dot_wrapper.proving.promises import PROMISES, Promise, promise_of

SUITE = ROOT / "harness" / "dot_wrapper" / "proving" / "suite"


def of_suite() -> dict[str, list[str]]:
    """The tests of the suite, by module."""
    return {
        file.stem: re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
        for file in SUITE.glob("test_*.py")
    }


def row(promise: Promise) -> str:
    """A promise as a row of the page: modules, and single tests by their names."""
    names = ", ".join(f"`{one.rpartition('::')[2]}{'' if '::' in one else '.py'}`" for one in promise.tests)
    return f"| {promise.name} | {promise.sentence} | {names} |"


def test_each_test_belongs_to_a_promise_and_each_that_a_promise_names_exists() -> None:
    found = of_suite()
    for module, names in found.items():
        for name in names:
            assert promise_of(module, name)
    named = {one for promise in PROMISES for one in promise.tests}
    assert named <= {*found, *(f"{module}::{name}" for module, names in found.items() for name in names)}


def test_the_page_has_each_promise_in_the_order_in_which_it_is_printed() -> None:
    page = (ROOT / "docs" / "proof.md").read_text(encoding="utf-8")
    first, *_ = (at for at, line in enumerate(page.splitlines()) if line == row(PROMISES[0]))
    assert page.splitlines()[first : first + len(PROMISES)] == [row(one) for one in PROMISES]
