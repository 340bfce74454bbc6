"""Charts of a run of the benchmark, from its JSON: ``make bench-plots``. Runs in .venv/bench, where matplotlib is.

python bench/plots.py FILE FOLDER [--png]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

CALLS = ("fn_process_run_observe", "replay", "dbos enqueue_workflow", "procrastinate_defer_jobs_v1")
QUERIES = ("why, verified", "why, never verified", "why, no real run", "board", "funnel", "counts")
# Colours that are told apart without seeing red and green.
COLOURS = ("#0072b2", "#56b4e9", "#e69f00", "#cc79a7", "#009e73", "#444444")


def main() -> None:
    """Draws one chart of calls and one of queries."""
    source, folder = Path(sys.argv[1]), Path(sys.argv[2])
    kind = "png" if "--png" in sys.argv[3:] else "svg"
    document = json.loads(source.read_text(encoding="utf-8"))
    growth = {int(size): found for size, found in document["growth"].items()}
    mpl.rcParams["svg.hashsalt"] = "performance"  # so that the same figures are the same file
    circumstances = f"PostgreSQL {document['postgresql']}, {document['processors']} processors"
    _draw(
        folder / f"performance-calls.{kind}",
        f"Server CPU of one call as the ledger grows\n{circumstances}",
        "bare INSERT = 1, same size, same rounds",
        growth,
        {
            name: [_ratio(found["costs"], name) for found in growth.values()]
            for name in CALLS
            if _measured(growth, name)
        },
        logarithmic=False,
    )
    _draw(
        folder / f"performance-queries.{kind}",
        f"Pages that a query reads as the ledger grows\n{circumstances}",
        "pages of 8 kB",
        growth,
        {name: [(found["plans"][name]["pages"],) * 3 for found in growth.values()] for name in QUERIES},
        logarithmic=True,
    )


def _measured(growth: dict[int, Any], name: str) -> bool:
    return all(name in found["costs"] for found in growth.values())


def _ratio(costs: dict[str, list[float]], name: str) -> tuple[float, float, float]:
    """Lowest, median and highest over the rounds."""
    ratios = sorted(one / bare for one, bare in zip(costs[name], costs["bare INSERT"], strict=True))
    return ratios[0], ratios[len(ratios) // 2], ratios[-1]


def _draw(
    file: Path,
    title: str,
    unit: str,
    growth: dict[int, Any],
    lines: dict[str, list[tuple[float, float, float]]],
    *,
    logarithmic: bool,
) -> None:
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    sizes = list(growth)
    for colour, (name, figures) in zip(COLOURS, lines.items(), strict=False):
        low, middle, high = zip(*figures, strict=True)
        axes.plot(sizes, middle, marker="o", color=colour, label=name)
        axes.fill_between(sizes, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    if logarithmic:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set(title=title, xlabel="runs in the ledger, each with producer and verifier", ylabel=unit)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    # No date, so that the same figures are the same file.
    figure.savefig(file, dpi=100, metadata={"Date": None} if file.suffix == ".svg" else None)
    plt.close(figure)


if __name__ == "__main__":
    main()
