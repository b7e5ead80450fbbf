"""A batch of prompts on Ray Data: it resumes where it stopped, and pays for no image twice.

    python examples/ray_batch.py prompts.jsonl results

Each line of `prompts.jsonl` is a row such as `{"id": "1", "prompt": "A fjord", "draw": true}`; with
`"draw": false` the prompt is answered in words. The results are JSON lines in `results/answers`.
Start it again after whatever ended it: rows that are done are left out, images that were ordered
are fetched. `MINITOOLAI_API_KEY` must be set where the actors run.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

# Read when Ray is imported: no usage reports; a Ray of this machine alone listens on loopback.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")

import ray
from langchain_core.rate_limiters import InMemoryRateLimiter
from ray.data.checkpoint import CheckpointConfig

from langchain_minitoolai import ChatMiniToolAI, MiniToolAIError, MiniToolAIImageTool
from langchain_minitoolai.stores import SQLiteJobStore

BATCH = 16
"""Rows that an actor has under way at once."""
BLOCK = 64
"""Rows that are written, and marked as done, together."""


class Answers:
    """Answers batches of rows; each actor makes one, with one model and one tool."""

    def __init__(self, job_store: str, requests_per_second: float) -> None:
        """Make both; the rate is this actor's own."""
        limiter = InMemoryRateLimiter(
            requests_per_second=requests_per_second, max_bucket_size=BATCH
        )
        self.model = ChatMiniToolAI(max_tokens=300, rate_limiter=limiter)
        self.draw = MiniToolAIImageTool(
            job_store=SQLiteJobStore(job_store), rate_limiter=limiter, handle_tool_error=False
        )

    async def __call__(self, batch: Any) -> AsyncIterator[Any]:
        """Add the columns `answer`, `cost_usd` and `error` to a batch."""
        rows = batch.itertuples(index=False)
        results = await asyncio.gather(*(self.answer(row) for row in rows))
        answers, costs, errors = zip(*results, strict=True)
        yield batch.assign(answer=answers, cost_usd=costs, error=errors)

    async def answer(self, row: Any) -> tuple[str, float | None, str]:
        """Answer one row; an error is a result too."""
        try:
            if row.draw:
                # The row's id makes it the same call in every process, so that it is paid once.
                call = {"type": "tool_call", "id": row.id, "args": {"prompt": row.prompt}}
                image = (await self.draw.ainvoke({**call, "name": self.draw.name})).artifact
                return image["url"], image["cost_usd"], ""
            message = await self.model.ainvoke(row.prompt)
        except MiniToolAIError as error:
            return "", None, f"{type(error).__name__}: {error}"
        return str(message.text), message.response_metadata["cost"], ""


def answer_all(prompts: Path, results: Path, *, actors: int, requests_per_second: float) -> None:
    """Answer the rows of a file that have no answer yet."""
    context = ray.data.DataContext.get_current()
    context.checkpoint_config = CheckpointConfig(
        "id", str(results / "done"), delete_checkpoint_on_success=False
    )
    rows = ray.data.read_json(str(prompts)).repartition(target_num_rows_per_block=BLOCK)
    answered = rows.map_batches(
        Answers,
        fn_constructor_args=(str(results / "jobs.sqlite"), requests_per_second / actors),
        batch_size=BATCH,
        batch_format="pandas",
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=0,  # they wait for the network; reading, filtering and writing need a core each
    )
    answered.write_json(str(results / "answers"))


def main() -> int:
    """Read the arguments, start Ray or join a cluster, and answer."""
    parser = argparse.ArgumentParser(description="Answer a file of prompts with Ray Data.")
    parser.add_argument("prompts", type=Path, help="JSON lines with id, prompt and draw")
    parser.add_argument("results", type=Path, help="the directory of answers and progress")
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--requests-per-second", type=float, default=50.0)
    options = parser.parse_args()
    results = options.results.resolve()
    results.mkdir(parents=True, exist_ok=True)
    if "RAY_ADDRESS" in os.environ:
        ray.init()
    else:
        cpus = max(2, os.cpu_count() or 2)
        ray.init("local", num_cpus=cpus, include_dashboard=False, object_store_memory=256 * 1024**2)
    try:
        answer_all(
            options.prompts.resolve(),
            results,
            actors=options.actors,
            requests_per_second=options.requests_per_second,
        )
    finally:
        ray.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
