import json

import pytest

from benchmarks import guard, report, server
from benchmarks.measures import MEASURES

ROUNDS = [
    {"minitoolai": 2.0, "httpx": 1.0, "core": 1.0},
    {"minitoolai": 9.0, "httpx": 1.0, "core": 2.0},
    {"minitoolai": 4.0},
]
FLOOR = ("httpx", "core")


def test_a_figure_is_the_median_over_the_rounds() -> None:
    assert report.figure(ROUNDS, "minitoolai") == 4.0


def test_a_figure_that_was_not_measured_is_none() -> None:
    assert report.figure(ROUNDS, "openai") is None


def test_a_ratio_is_taken_within_a_round_and_incomplete_rounds_are_left_out() -> None:
    assert report.ratio(ROUNDS, "minitoolai", FLOOR) == pytest.approx((2 / 2 + 9 / 3) / 2)


@pytest.mark.parametrize("below", [(), ("openai",)])
def test_a_ratio_without_anything_below_is_none(below: tuple[str, ...]) -> None:
    assert report.ratio(ROUNDS, "minitoolai", below) is None


def test_a_floor_of_zero_gives_no_ratio() -> None:
    assert report.ratio([{"minitoolai": 1.0, "httpx": 0.0}], "minitoolai", ("httpx",)) is None


def test_the_table_shows_figures_and_ratios_beside_the_goals_and_marks_misses() -> None:
    rounds = [{"minitoolai": 20.0, "openai": 200.0, "mistral": 25.0, "httpx": 10.0, "core": 10.0}]
    text = report.table({"stream": rounds}, {})
    cells = "20 µs | 0.1 (≤ 0.16) | **0.8** (missed: ≤ 0.55) | 1 (≤ 1.35)"
    assert f"| `stream`, a chunk | ChatMiniToolAI | {cells} |" in text


def test_the_table_has_a_line_for_each_variant() -> None:
    rounds = [{"minitoolai": 20.0, "aiohttp": 10.0, "httpx": 10.0}]
    text = report.table({"afirst_token": rounds}, {})
    assert "| ChatMiniToolAI | 20 ms |  |  | **2** (missed: ≤ 1.2) |" in text
    assert "| with `aiohttp` | 10 ms |  |  | 1 (≤ 1.3) |" in text


def test_the_table_marks_a_figure_above_its_limit() -> None:
    rounds = [{"minitoolai": 1.0, "aiohttp": 0.0}]
    text = report.table({"growth_sockets": rounds}, {})
    assert "| ChatMiniToolAI | **1** (missed: ≤ 0) |" in text
    assert "| with `aiohttp` | 0 (≤ 0) |" in text


def test_the_table_shows_what_could_not_be_measured() -> None:
    text = report.table({"at_once_200": [{}]}, {("at_once_200", "openai"): "OSError: no"})
    assert "| ChatMiniToolAI |  | not measured |  |  |" in text
    assert "Not measured: at_once_200, openai: OSError: no" in text


def test_every_goal_has_something_to_compare_with() -> None:
    for measure in MEASURES.values():
        for openai, mistral, floor in measure.goals.values():
            assert openai is None or "openai" in measure.against
            assert mistral is None or "mistral" in measure.against
            assert floor is None or measure.floor


def test_a_page_is_filled_between_its_marks_again_and_again() -> None:
    page = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    once = report.filled(page, "new\n")
    assert once == f"before\n{report.BEGIN}\n\nnew\n\n{report.END}\nafter\n"
    assert report.filled(once, "new\n") == once


def test_a_page_without_marks_is_an_error() -> None:
    with pytest.raises(ValueError, match="marks"):
        report.filled("nothing", "new")


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [({"a": 1.49}, []), ({"a": 1.51}, ["a"]), ({}, ["a"]), ({"a": 1.0, "b": 9.0}, [])],
)
def test_the_guard_fails_ratios_half_above_the_stored_ones_and_missing_ones(
    ratios: dict[str, float], expected: list[str]
) -> None:
    assert guard.too_high(ratios, {"a": 1.0}) == expected


def test_the_guard_has_a_stored_ratio_for_each_variant_of_what_it_measures() -> None:
    stored = json.loads(guard.STORED.read_text("utf-8"))
    expected = {f"{name}/{variant}" for name in guard.SIZES for variant in MEASURES[name].goals}
    assert stored.keys() == expected


def test_a_packet_is_one_whole_http_chunk_of_one_event() -> None:
    _, *chunks, end = server.packets(40)
    bodies = []
    for chunk in chunks:
        size, _, rest = chunk.partition(b"\r\n")
        assert int(size, 16) == len(rest) - 2
        bodies.append(rest[:-2])
    assert end == b"0\r\n\r\n"
    assert bodies == server.events(40)
    assert all(body.endswith(b"\n\n") for body in bodies)


def test_the_events_bring_the_text_the_usage_and_the_end() -> None:
    data = [event[6:].decode() for event in server.events(50)]
    assert data.pop() == "[DONE]\n\n"
    parsed = [json.loads(line) for line in data]
    contents = [c["delta"].get("content", "") for p in parsed for c in p["choices"]]
    assert "".join(contents) == "".join(server.tokens(50))
    assert parsed[-1]["usage"]["completion_tokens"] == 50
