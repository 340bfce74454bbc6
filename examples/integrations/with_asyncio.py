"""Many pairs at once on asyncio: `python with_asyncio.py KEY CANDIDATE...`, each with a ledger of its own."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlparse

from dot_wrapper import AsyncLedger, AsyncRun, Part, async_run_pair


async def produce(run: AsyncRun) -> str:
    """Where the producer is awaited: a download, a query, an agent. The file is written in a thread, so the heartbeat goes on."""
    output = Path(tempfile.gettempdir()) / f"{run.process_run_id}.txt"
    await asyncio.to_thread(output.write_text, "1 2 3", encoding="utf-8")
    return output.as_uri()


async def verify(_run: AsyncRun, produced: Part) -> bool:
    """Where the verifier is awaited."""
    text = await asyncio.to_thread(Path(unquote(urlparse(produced.output_ref).path)).read_text, encoding="utf-8")
    return text.split() == ["1", "2", "3"]


async def run(candidate: str, key: str) -> bool:
    async with AsyncLedger() as ledger:
        outcome = await async_run_pair(ledger, candidate, produce=produce, verify=verify, actor="asyncio", key=key)
    print(f"{candidate}: {'verified' if outcome.verified else ', '.join(outcome.reasons)}")
    return outcome.verified


async def main(key: str, candidates: list[str]) -> int:
    return 0 if all(await asyncio.gather(*(run(candidate, key) for candidate in candidates))) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1], sys.argv[2:])))
