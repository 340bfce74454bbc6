"""Which node a test is of, and what it is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from dot_wrapper.sources.dbt.documents import DbtInputError
from dot_wrapper.sources.dbt.names import code_of, line_of
from dot_wrapper.sources.dbt.reader import DbtInput, read_dbt
from support.dbt import (
    MODEL,
    OTHER,
    SINGULAR,
    SOURCE,
    TEST,
    Json,
    depends_on,
    generic,
    manifest_of,
    node,
    project,
)

V1, V2 = "model.shop.orders.v1", "model.shop.orders.v2"
NODES = {MODEL: node(name="orders"), OTHER: node(name="customers"), "seed.shop.raw": node("seed", name="raw")}
SOURCES = {
    SOURCE: {"name": "orders", "source_name": "raw"},
    "source.shop.raw.items": {"name": "items", "source_name": "raw"},
}


def read_with(folder: Path, tests: dict[str, Json], producers: dict[str, str] | None = None, **nodes: Json) -> DbtInput:
    sections = {"sources": SOURCES, "unit_tests": nodes.pop("unit_tests", {})}
    project(folder, manifest_of({**NODES, **nodes.pop("more", {}), **tests}, **sections))
    return read_dbt(folder, producers=producers)


def producer_of(read: DbtInput, test: str = TEST) -> str | None:
    return next((pair.producer for pair in read.pairs if pair.verifier == test), None)


@pytest.mark.parametrize(
    ("test", "producer"),
    [
        (node("test", attached_node=MODEL, depends_on={"nodes": [OTHER, MODEL]}), MODEL),
        (node("test", attached_node=MODEL, depends_on={"nodes": [MODEL, OTHER]}), MODEL),
        (node("test", attached_node=SOURCE, depends_on={"nodes": [MODEL]}), SOURCE),
        (generic("{{ get_where_subquery(ref('orders')) }}", OTHER, MODEL), MODEL),
        (generic("{{ get_where_subquery(ref('orders')) }}", MODEL, OTHER), MODEL),
        (generic("{{ get_where_subquery(ref('shop', 'customers')) }}", OTHER, MODEL), OTHER),
        (generic('{{ ref("orders") }}', MODEL, SOURCE), MODEL),
        (generic("{{ get_where_subquery(source('raw', 'orders')) }}", MODEL, SOURCE), SOURCE),
        (
            generic(
                "{% if x %}(select * from {{ ref('orders') }}) o{% else %}{{ ref('orders') }}{% endif %}", OTHER, MODEL
            ),
            MODEL,
        ),
        (generic("nothing that is known", MODEL), MODEL),
        (depends_on(MODEL), MODEL),
        (depends_on(SOURCE), SOURCE),
        (depends_on(MODEL, MODEL), MODEL),
        (depends_on(MODEL, "model.shop.gone"), MODEL),
    ],
)
def test_the_producer_is_said_by_dbt_and_no_order(tmp_path: Path, test: Json, producer: str) -> None:
    assert producer_of(read_with(tmp_path, {TEST: test})) == producer


@pytest.mark.parametrize(
    ("test", "several"),
    [
        (depends_on(MODEL, OTHER), (MODEL, OTHER)),
        (depends_on(MODEL, SOURCE), (MODEL, SOURCE)),
        (generic("{{ something(1) }}", MODEL, OTHER), (MODEL, OTHER)),
    ],
)
def test_a_test_over_several_nodes_is_listed_apart(tmp_path: Path, test: Json, several: tuple[str, ...]) -> None:
    read = read_with(tmp_path, {SINGULAR: test})
    assert (read.pairs, read.several, read.sourceless_tests) == ((), {SINGULAR: several}, ())


@pytest.mark.parametrize(
    "test", [node("test", attached_node="model.shop.gone", depends_on={"nodes": [MODEL]}), depends_on(), node("test")]
)
def test_a_test_of_no_node_is_in_no_pair(tmp_path: Path, test: Json) -> None:
    read = read_with(tmp_path, {TEST: test})
    assert (read.pairs, read.several, read.sourceless_tests) == ((), {}, (TEST,))


def test_a_version_of_a_model_is_told_from_another(tmp_path: Path) -> None:
    more = {V1: node(name="orders", version=1), V2: node(name="orders", version=2)}
    for text, producer in (("ref('orders', v=1)", V1), ("ref('orders', version='2')", V2)):
        read = read_with(tmp_path, {TEST: generic(f"{{{{ {text} }}}}", V1, V2)}, more=more)
        assert producer_of(read) == producer


@pytest.mark.parametrize(
    ("test", "node_name"),
    [(SINGULAR, MODEL), ("orders_match", "orders"), (SINGULAR, "seed.shop.raw"), ("orders_match", "raw.orders")],
)
def test_a_person_may_say_it_by_name_or_unique_id(tmp_path: Path, test: str, node_name: str) -> None:
    expected = {"orders": MODEL, "raw.orders": SOURCE}.get(node_name, node_name)
    read = read_with(tmp_path, {SINGULAR: depends_on(MODEL, OTHER, name="orders_match")}, {test: node_name})
    assert (producer_of(read, SINGULAR), read.several) == (expected, {})


@pytest.mark.parametrize(
    ("test", "node_name", "reason"),
    [
        ("gone", MODEL, "the test 'gone' is none of this manifest"),
        (MODEL, MODEL, f"the test '{MODEL}' is none of this manifest"),
        (SINGULAR, "gone", "the node 'gone' is none of this manifest"),
        (SINGULAR, SINGULAR, f"the node '{SINGULAR}' is none of this manifest"),
        (SINGULAR, "twice", "the node 'twice' names 2 of them: give its unique_id"),
    ],
)
def test_a_name_that_is_none_is_refused(tmp_path: Path, test: str, node_name: str, reason: str) -> None:
    more = {"model.shop.twice": node(name="twice"), "model.lib.twice": node(name="twice")}
    with pytest.raises(DbtInputError) as refused:
        read_with(tmp_path, {SINGULAR: depends_on(MODEL, OTHER)}, {test: node_name}, more=more)
    assert str(refused.value) == f"--producer {test}={node_name}: {reason}"


@pytest.mark.parametrize(
    "place", [{"meta": {"dot.producer": "customers"}}, {"config": {"meta": {"dot.producer": OTHER}}}]
)
def test_so_may_the_meta_of_a_test_and_an_option_comes_first(tmp_path: Path, place: Json) -> None:
    tests = {SINGULAR: depends_on(MODEL, OTHER, **place)}
    assert producer_of(read_with(tmp_path, tests), SINGULAR) == OTHER
    assert producer_of(read_with(tmp_path, tests, {SINGULAR: MODEL}), SINGULAR) == MODEL


@pytest.mark.parametrize("named", ["gone", 1, SINGULAR])
def test_a_meta_that_names_no_node_is_left_out(tmp_path: Path, named: object) -> None:
    read = read_with(tmp_path, {SINGULAR: depends_on(MODEL, OTHER, meta={"dot.producer": named})})
    assert read.several == {SINGULAR: (MODEL, OTHER)}
    assert [one.place for one in read.left_out] == [f"{SINGULAR}: meta.dot.producer"]


@pytest.mark.parametrize("nodes", [[MODEL], [MODEL, OTHER], [OTHER, MODEL]])
def test_a_unit_test_is_of_the_model_it_names(tmp_path: Path, nodes: list[str]) -> None:
    unit = "unit_test.shop.orders.drops_negative"
    read = read_with(tmp_path, {}, unit_tests={unit: {"model": "orders", "depends_on": {"nodes": nodes}}})
    assert producer_of(read, unit) == MODEL
    assert [one.resource_type for one in read.nodes if one.unique_id == unit] == ["unit_test"]


def test_a_source_is_a_node_like_any_other(tmp_path: Path) -> None:
    read = read_with(tmp_path, {})
    assert [one.unique_id for one in read.nodes if one.resource_type == "source"] == list(SOURCES)


class TestNames:
    @pytest.mark.parametrize("name", ["model.shop.orders", "a", "m" * 200, "test.a.b:c/d@e+f-g"])
    def test_a_legal_name_is_its_code(self, name: str) -> None:
        assert code_of(name) == name

    @pytest.mark.parametrize(
        ("name", "start"),
        [
            ("model.shop.größe", "model.shop.gro_e-"),
            ("test.shop.orders:id>=1.cb5cabf5e3", "test.shop.orders:id_1.cb5cabf5e3-"),
            ("model.shop.a b", "model.shop.a_b-"),
            ("model.shop.заказы", "model.shop._-"),
            ("m" * 226, "m" * 183 + "-"),
            (".hidden", "hidden-"),
            ("model.shop.a\n", "model.shop.a_-"),
            ("注文", ""),
            ("\ud800", ""),
        ],
    )
    def test_another_gets_a_code_of_its_legal_part_and_a_hash(self, name: str, start: str) -> None:
        code = code_of(name)
        assert code.startswith(start)
        assert (len(code) - len(start), len(code) <= 200, code_of(code)) == (16, True, code)

    def test_names_that_differ_in_what_is_not_legal_have_different_codes(self) -> None:
        names = ["a>1", "a<1", "a 1", "m" * 300, "m" * 301, "größe", "große"]
        assert len({code_of(name) for name in names}) == len(names)

    def test_the_code_is_the_same_on_every_machine(self) -> None:
        assert code_of("größe") == "gro_e-d353a2671b67afff"

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            (None, None),
            (" ", None),
            ("models/a.sql", "models/a.sql"),
            ("größe", "gr\\xf6\\xdfe"),
            ("a\n\x00", "a\\n\\x00"),
            ("\ud800", "\\ud800"),
            ("x" * 2000, "x" * 1024),
        ],
    )
    def test_a_text_is_kept_as_a_line_of_ascii(self, text: str | None, line: str | None) -> None:
        assert line_of(text) == line
