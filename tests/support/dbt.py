"""Small dbt projects for tests: artifacts and logs as dbt writes them, with one thing changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MODEL = "model.shop.orders"
OTHER = "model.shop.customers"
TEST = "test.shop.not_null_orders_id.1a2b"
SOURCE = "source.shop.raw.orders"
SOURCE_TEST = "test.shop.source_fresh.3c4d"
SINGULAR = "test.shop.orders_match"
INVOCATION = "0b5e6f3a-0000-4000-8000-000000000001"
TIMING = [
    {"name": "compile", "started_at": "2025-01-01T00:00:01Z", "completed_at": "2025-01-01T00:00:02Z"},
    {"name": "execute", "started_at": "2025-01-01T00:00:03Z", "completed_at": "2025-01-01T00:00:04Z"},
]
ABSENT = object()

Json = Any


def present(fields: dict[str, Json]) -> dict[str, Json]:
    """The fields but those that are ABSENT."""
    return {key: value for key, value in fields.items() if value is not ABSENT}


def node(resource_type: object = "model", **fields: Json) -> dict[str, Json]:
    return present({"resource_type": resource_type, "original_file_path": "models/orders.sql", **fields})


def depends_on(*nodes: str, **fields: Json) -> dict[str, Json]:
    """A test without an attached node, over some nodes."""
    return node("test", attached_node=None, depends_on={"macros": [], "nodes": list(nodes)}, **fields)


def generic(model: str, *nodes: str, **fields: Json) -> dict[str, Json]:
    """A generic test of an old manifest, which has no attached node; `model` is the text of its argument."""
    return depends_on(*nodes, test_metadata={"name": "not_null", "kwargs": {"model": model}}, **fields)


def manifest_of(
    nodes: dict[str, Json] | None = None, *, generated_at: str | None = None, **sections: Json
) -> dict[str, Json]:
    """A model and a test on it, or other nodes."""
    given = {MODEL: node(), TEST: node("test", attached_node=MODEL)} if nodes is None else nodes
    metadata = {"project_name": "shop", **({"generated_at": generated_at} if generated_at else {})}
    return {"metadata": metadata, "nodes": given, **sections}


def run_result(unique_id: Json = TEST, **fields: Json) -> dict[str, Json]:
    return present({"unique_id": unique_id, "status": "pass", "failures": 0, "timing": TIMING, **fields})


def run_results_of(*results: Json, invocation_id: Json = INVOCATION, **fields: Json) -> dict[str, Json]:
    return {"metadata": {"invocation_id": invocation_id}, "results": list(results), **fields}


def event(name: Json = "LogStartLine", *, invocation_id: Json = INVOCATION, **data: Json) -> dict[str, Json]:
    return {"info": {"name": name, "invocation_id": invocation_id}, "data": data}


def finished(unique_id: Json = TEST, invocation_id: Json = INVOCATION, **fields: Json) -> dict[str, Json]:
    run = present({"status": "pass", "num_failures": 0, "timing_info": TIMING, **fields})
    about = {"unique_id": unique_id, "node_status": "success"}
    return event("NodeFinished", invocation_id=invocation_id, node_info=about, run_result=run)


def lines_of(*events: Json) -> str:
    return "".join(json.dumps(one) + "\n" for one in events)


def write(path: Path, content: Json) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def project(folder: Path, manifest: Json, results: Json = None) -> Path:
    """A project with these artifacts; returns its folder."""
    write(folder / "target" / "manifest.json", manifest)
    if results is not None:
        write(folder / "target" / "run_results.json", results)
    return folder
