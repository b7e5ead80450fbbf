"""One instance serves threads, event loops and processes, over few connections."""

import asyncio
import copy
import gc
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

from langchain_minitoolai import ChatMiniToolAI, sandbox
from tests.integration_tests.counting_proxy import counting_proxy
from tests.integration_tests.sandbox_helpers import bodies


def ask(model: ChatMiniToolAI, number: int) -> str:
    return str(model.invoke(f"What is {number} + 1?").text)


def stream(model: ChatMiniToolAI, number: int) -> str:
    return "".join(chunk.text for chunk in model.stream(f"What is {number} + 1?"))


def ask_from_bytes(data: bytes) -> tuple[str, str]:
    model: ChatMiniToolAI = pickle.loads(data)  # noqa: S301 - made by this test
    return ask(model, 1), asyncio.run(aask(model, 2))


async def aask(model: ChatMiniToolAI, number: int) -> str:
    return str((await model.ainvoke(f"What is {number} + 1?")).text)


def test_two_event_loops_one_after_the_other(strict: sandbox.Service) -> None:
    model = ChatMiniToolAI()
    assert asyncio.run(aask(model, 1)) == "1 + 1 = 2."
    assert asyncio.run(aask(model, 2)) == "2 + 1 = 3."
    assert ask(model, 3) == "3 + 1 = 4."


def test_event_loops_in_several_threads_at_once(strict: sandbox.Service) -> None:
    model = ChatMiniToolAI()

    async def several(first: int) -> list[str]:
        return await asyncio.gather(*(aask(model, first + n) for n in range(4)))

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda n: asyncio.run(several(n)), range(4)))
    assert answers == [[f"{n + m} + 1 = {n + m + 1}." for m in range(4)] for n in range(4)]


def test_a_model_that_dies_with_its_event_loop_leaves_no_socket_open(
    strict: sandbox.Service,
) -> None:
    async def short_life() -> str:
        model = ChatMiniToolAI()
        circle: list[object] = [model]
        circle.append(circle)  # as in an agent, where all know all
        answer = await aask(model, 1)
        del model, circle
        gc.collect()
        return answer

    for _ in range(3):
        assert asyncio.run(short_life()) == "1 + 1 = 2."
    gc.collect()  # a socket left open is a ResourceWarning, and so an error


def test_eight_threads_share_an_instance(strict: sandbox.Service) -> None:
    model = ChatMiniToolAI()
    with ThreadPoolExecutor(8) as pool:
        asked = list(pool.map(lambda n: ask(model, n), range(24)))
        streamed = list(pool.map(lambda n: stream(model, n), range(24)))
    assert asked == streamed == [f"{n} + 1 = {n + 1}." for n in range(24)]
    assert len(bodies(strict)) == 48


def test_a_pickled_model_works_in_a_new_process(strict: sandbox.Service) -> None:
    model = ChatMiniToolAI()
    ask(model, 0)  # with an open connection, which stays here
    asyncio.run(aask(model, 0))
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(ask_from_bytes, pickle.dumps(model)).result(60) == (
            "1 + 1 = 2.",
            "2 + 1 = 3.",
        )


def test_copies_work_beside_the_original(strict: sandbox.Service) -> None:
    model = ChatMiniToolAI()
    ask(model, 0)
    copies = [copy.copy(model), copy.deepcopy(model), model.model_copy(update={"temperature": 0.0})]
    assert [ask(each, n) for n, each in enumerate(copies)] == [
        f"{n} + 1 = {n + 1}." for n in range(3)
    ]
    assert bodies(strict)[-1]["temperature"] == 0


def test_five_streams_in_a_row_use_one_connection(strict: sandbox.Service) -> None:
    with counting_proxy(strict.base_url) as count:
        model = ChatMiniToolAI(base_url=count.base_url)
        assert [stream(model, n) for n in range(5)] == [f"{n} + 1 = {n + 1}." for n in range(5)]
        assert ask(model, 5) == "5 + 1 = 6."
        assert count.connections == 1


async def test_five_async_streams_in_a_row_use_one_connection(strict: sandbox.Service) -> None:
    with counting_proxy(strict.base_url) as count:
        model = ChatMiniToolAI(base_url=count.base_url)
        for n in range(5):
            text = "".join([chunk.text async for chunk in model.astream(f"What is {n} + 1?")])
            assert text == f"{n} + 1 = {n + 1}."
        assert count.connections == 1
