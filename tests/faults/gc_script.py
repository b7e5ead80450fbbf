"""Careless use of a model, then garbage collection; run under `-X dev -W error`."""

import asyncio
import gc
import logging
import sys
import warnings

with warnings.catch_warnings():  # what importing others says is not asked here
    warnings.simplefilter("ignore")
    from tests.faults.client import QUESTION
    from tests.faults.targets import TARGETS

    import_all = {"openai": "langchain_openai", "mistral": "langchain_mistralai"}
    __import__(import_all.get(sys.argv[1], "langchain_minitoolai"))

logging.basicConfig(level=logging.WARNING)


def _sync(url: str) -> None:
    model = TARGETS[sys.argv[1]].model(url)
    for _ in model.stream(QUESTION):
        break
    model.invoke(QUESTION)
    stream = model.stream(QUESTION)
    next(stream)
    del stream, model
    gc.collect()


async def _async(url: str) -> None:
    asyncio.get_running_loop().slow_callback_duration = 30.0  # slowness is not asked here
    model = TARGETS[sys.argv[1]].model(url)
    async for _ in model.astream(QUESTION):
        break
    await model.ainvoke(QUESTION)
    task = asyncio.create_task(model.ainvoke(QUESTION))
    await asyncio.sleep(0.005)
    task.cancel()
    stream = model.astream(QUESTION)
    await anext(stream)
    del stream, model
    gc.collect()


def main() -> None:
    """Run the careless code, sync or async."""
    _, _, url, mode = sys.argv
    if mode == "stream":
        _sync(url)
    else:
        asyncio.run(_async(url))
    gc.collect()


if __name__ == "__main__":
    main()
