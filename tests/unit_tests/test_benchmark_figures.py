import json
from typing import Any

import pytest

from benchmarks import guard, payload, publish, report
from benchmarks.figures import Goal, best, figure, reached, wrong
from benchmarks.session import Round


def sample(cpu: float, bad: int = 0) -> dict[str, float]:
    return {"cpu": cpu, "wall": 2 * cpu, "wrong": bad}


def a_round(**cpu: float) -> Round:
    return {target: {"stream": sample(value)} for target, value in cpu.items()}


ROUNDS = [a_round(ours=2e-6, httpx=1e-6), a_round(ours=9e-6, httpx=3e-6), a_round(ours=4e-6)]
OVER_HTTPX = Goal("stream", (("stream", "ours"),), (("stream", "httpx"),), 1.4)


def test_a_figure_is_the_median_in_the_rows_unit() -> None:
    assert figure(ROUNDS, "stream", "ours") == pytest.approx(4.0)
    assert figure(ROUNDS, "stream", "ours", "wall") == pytest.approx(8.0)


def test_a_figure_of_what_was_not_measured_is_none() -> None:
    assert figure(ROUNDS, "stream", "raw") is None


def test_a_ratio_is_taken_within_a_round_and_rounds_with_a_gap_are_left_out() -> None:
    assert reached({"stream": ROUNDS}, OVER_HTTPX) == pytest.approx(2.5)


def test_a_sum_of_floors_is_added_up_within_a_round() -> None:
    rounds = [a_round(ours=6, httpx=1, core=2), a_round(ours=6, httpx=2, core=2)]
    goal = Goal("sum", (("stream", "ours"),), (("stream", "httpx"), ("stream", "core")), 1.4)
    assert reached({"stream": rounds}, goal) == pytest.approx((6 / 3 + 6 / 4) / 2)


def test_a_goal_without_a_floor_is_the_figure_itself() -> None:
    rounds = [{"ours": {"growth_tasks": {"value": 3.0}}}]
    goal = Goal("tasks", (("growth_tasks", "ours"),), (), 0)
    assert reached({"growth_tasks": rounds}, goal) == pytest.approx(3.0)


def test_a_goal_whose_measure_was_left_out_is_not_reached_nor_missed() -> None:
    assert reached({}, OVER_HTTPX) is None


def test_the_best_ratio_compares_the_least_of_all_rounds() -> None:
    assert best({"stream": ROUNDS}, OVER_HTTPX.above, OVER_HTTPX.below) == pytest.approx(2.0)
    assert best({"stream": ROUNDS}, OVER_HTTPX.above, (("stream", "raw"),)) is None


def test_wrong_answers_are_counted_over_all_rounds() -> None:
    rounds = [{"ours": {"stream": sample(1, bad)}} for bad in (0, 2, 1)]
    assert wrong(rounds, "stream", "ours") == 3


CHECK = guard.Check("c", (), (), ("stream",))
BOUNDED = guard.Check("c", (), (), ("stream",), at_most=2.0)


@pytest.mark.parametrize(
    ("check", "ratio", "reference", "said"),
    [
        (CHECK, 1.49, {"c": 1.0}, ""),
        (CHECK, 1.51, {"c": 1.0}, "half above"),
        (CHECK, 1.0, {}, "no reference"),
        (CHECK, None, {"c": 1.0}, "not be measured"),
        (BOUNDED, 2.1, {"c": 9.0}, "above 2"),
        (BOUNDED, 1.9, {"c": 1.5}, ""),
    ],
)
def test_the_guard_fails_what_got_worse_by_half_or_passes_its_bound(
    check: guard.Check, ratio: float | None, reference: dict[str, float], said: str
) -> None:
    verdict = guard.verdict(check, ratio, reference)
    assert said in verdict
    assert bool(verdict) == bool(said)


def test_every_check_of_the_guard_has_an_effort_and_every_effort_a_check() -> None:
    assert {m for check in guard.CHECKS for m in check.measures} == set(guard.EFFORTS)


def results() -> dict[str, Any]:
    return report.as_json({"stream": ROUNDS}, ["raw: absent"], quick=True)


def test_the_tables_show_figures_wrong_answers_and_notes() -> None:
    rounds = [{"ours": {"stream": sample(2e-6, 1)}, "httpx": {"stream": sample(1e-6)}}]
    text = report.markdown(report.as_json({"stream": rounds}, ["raw: absent"], quick=True))
    assert "| `stream`, a chunk, µs | 2 (1 wrong) | 1 |" in text
    assert "Not measured: raw: absent" in text


def test_the_tables_say_whether_a_goal_is_met() -> None:
    rounds = [a_round(ours=3e-6, openai=10e-6, mistral=10e-6)]
    text = report.markdown(report.as_json({"stream": rounds}, [], quick=False))
    assert "over openai | 0.16 | 0.3 | no |" in text
    assert "over mistral | 0.55 | 0.3 | yes |" in text


def test_the_results_survive_json() -> None:
    assert report.markdown(json.loads(json.dumps(results()))) == report.markdown(results())


def test_a_page_is_filled_between_its_marks_again_and_again() -> None:
    page = f"before\n{publish.BEGIN}\nold\n{publish.END}\nafter\n"
    once = publish.filled(page, "new\n")
    assert once == f"before\n{publish.BEGIN}\n\nnew\n\n{publish.END}\nafter\n"
    assert publish.filled(once, "new\n") == once


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="marks"):
        publish.filled("nothing", "new")


@pytest.mark.parametrize("per_packet", [1, 16])
def test_a_packet_is_one_whole_http_chunk_of_whole_events(per_packet: int) -> None:
    _, *chunks, end = payload.packets(40, per_packet)
    bodies = []
    for chunk in chunks:
        size, _, rest = chunk.partition(b"\r\n")
        assert int(size, 16) == len(rest) - 2
        bodies.append(rest[:-2])
    assert end == b"0\r\n\r\n"
    assert all(body.endswith(b"\n\n") for body in bodies)
    assert b"".join(bodies) == b"".join(payload.events(40))


def test_the_events_bring_the_text_the_usage_and_the_end() -> None:
    data = [event[6:].decode() for event in payload.events(50)]
    assert data.pop() == "[DONE]\n\n"
    parsed = [json.loads(line) for line in data]
    contents = [c["delta"].get("content", "") for p in parsed for c in p["choices"]]
    assert "".join(contents) == payload.text(50)
    assert parsed[-1]["usage"]["completion_tokens"] == 50
