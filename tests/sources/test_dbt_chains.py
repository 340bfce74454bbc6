"""Which candidate of a test's chain a pair is recorded under, by the time of its manifest."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from dot_wrapper.sources.dbt.chains import Member, place_in
from dot_wrapper.sources.dbt.manifest import AttachedTest
from support.dbt import MODEL, OTHER, SINGULAR

SEED = "seed.shop.raw"


def day(number: int) -> datetime:
    return datetime(2026, 3, number, tzinfo=UTC)


def pair(producer: str) -> AttachedTest:
    return AttachedTest(SINGULAR, producer, SINGULAR)


CHAIN = (
    Member(SINGULAR, MODEL, None, day(10)),
    Member(f"{SINGULAR}@{OTHER}", OTHER, SINGULAR, day(20)),
)


@pytest.mark.parametrize(
    ("producer", "time", "code"),
    [
        (MODEL, day(10), SINGULAR),
        (MODEL, day(15), SINGULAR),
        (OTHER, day(20), f"{SINGULAR}@{OTHER}"),
        (OTHER, day(25), f"{SINGULAR}@{OTHER}"),
        (MODEL, day(5), SINGULAR),  # the first manifest that was imported need not be the first that had the pair
        (OTHER, day(15), f"{SINGULAR}@{OTHER}"),
        (MODEL, None, SINGULAR),
        (OTHER, None, f"{SINGULAR}@{OTHER}"),
    ],
)
def test_a_pair_that_is_known_of_that_time_is_found(producer: str, time: datetime | None, code: str) -> None:
    place = place_in(CHAIN, pair(producer), time)
    assert (place.code, place.is_defined) == (code, True)


@pytest.mark.parametrize(
    ("producer", "time", "code", "source_time"),
    [
        (MODEL, day(25), f"{SINGULAR}@{MODEL}", day(25)),
        (OTHER, day(5), f"{SINGULAR}@{OTHER}@2", day(5)),
        (SEED, day(15), f"{SINGULAR}@{SEED}", day(15)),
        (SEED, None, f"{SINGULAR}@{SEED}", day(20)),
    ],
)
def test_another_is_a_successor_of_its_own(
    producer: str, time: datetime | None, code: str, source_time: datetime
) -> None:
    place = place_in(CHAIN, pair(producer), time)
    assert (place.code, place.supersedes, place.is_defined) == (code, f"{SINGULAR}@{OTHER}", False)
    assert place.source_time == source_time


def test_of_one_manifest_that_was_read_in_two_ways_both_pairs_are_found() -> None:
    chain = (CHAIN[0], Member(f"{SINGULAR}@{OTHER}", OTHER, SINGULAR, day(10)))
    assert [place_in(chain, pair(one), day(10)).code for one in (MODEL, OTHER)] == [SINGULAR, f"{SINGULAR}@{OTHER}"]


def test_a_chain_without_times_gets_none() -> None:
    chain = (Member(SINGULAR, MODEL, None, None),)
    assert place_in(chain, pair(OTHER), day(10)).source_time is None
    assert place_in(chain, pair(MODEL), day(10)).is_defined
    assert place_in((), pair(MODEL), day(10)).source_time == day(10)


def test_a_successor_of_a_long_name_has_a_legal_code() -> None:
    chain = (Member("t" * 199, MODEL, None, None),)
    place = place_in(chain, AttachedTest("t" * 199, OTHER, "t" * 199), None)
    assert (len(place.code), place.supersedes) == (200, "t" * 199)
