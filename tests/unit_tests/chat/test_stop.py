from hypothesis import given
from hypothesis import strategies as st

from langchain_minitoolai._chat.stop import StopCutter

LETTERS = st.text("ab\n", max_size=12)
STOPS = st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3)


def cut(pieces: list[str], stop: list[str]) -> tuple[str, bool]:
    cutter = StopCutter(stop)
    shown = "".join(map(cutter.feed, pieces)) + cutter.flush()
    return shown, cutter.hit


def oracle(text: str, stop: list[str]) -> tuple[str, bool]:
    places = [text.find(each) for each in stop if each in text]
    return (text[: min(places)], True) if places else (text, False)


@given(st.lists(LETTERS, max_size=6), STOPS)
def test_any_cut_of_the_text_gives_what_the_whole_text_gives(
    pieces: list[str], stop: list[str]
) -> None:
    assert cut(pieces, stop) == oracle("".join(pieces), stop)


@given(LETTERS, STOPS)
def test_single_characters_give_what_the_whole_text_gives(text: str, stop: list[str]) -> None:
    assert cut(list(text), stop) == oracle(text, stop)


@given(st.lists(LETTERS, max_size=6), STOPS)
def test_no_character_of_a_stop_sequence_is_shown_early(pieces: list[str], stop: list[str]) -> None:
    cutter = StopCutter(stop)
    shown = ""
    for index, piece in enumerate(pieces):
        shown += cutter.feed(piece)
        rest = "".join(pieces[index + 1 :])
        assert oracle("".join(pieces[: index + 1]) + rest, stop)[0].startswith(shown)


def test_only_a_tail_that_could_become_a_stop_sequence_is_kept() -> None:
    cutter = StopCutter(["\nObservation:"])
    assert cutter.feed("Think.\nObs") == "Think."
    assert cutter.feed("tacle") == "\nObstacle"
    assert cutter.feed("\nObservation: 3") == ""
    assert cutter.hit
    assert cutter.feed("more") == ""
    assert cutter.flush() == ""


def test_a_longer_sequence_that_began_earlier_wins_over_one_inside_it() -> None:
    cutter = StopCutter(["abc", "b"])
    assert cutter.feed("xab") == "x"
    assert not cutter.hit
    assert cutter.feed("c") == ""
    assert cutter.hit


def test_a_sequence_inside_one_that_was_never_finished_cuts_at_the_end() -> None:
    cutter = StopCutter(["abc", "b"])
    assert cutter.feed("xab") == "x"
    assert cutter.flush() == "a"
    assert cutter.hit


def test_text_passes_at_once_where_nothing_stops_it() -> None:
    cutter = StopCutter(())
    assert cutter.feed("anything") == "anything"
    assert cutter.flush() == ""
    assert not cutter.hit


def test_what_was_kept_is_given_at_the_end() -> None:
    cutter = StopCutter(["END"])
    assert cutter.feed("the EN") == "the "
    assert cutter.flush() == "EN"
    assert not cutter.hit
