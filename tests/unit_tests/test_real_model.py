import pytest
import real_model
from langchain_core.messages import AIMessageChunk


def answer(text: str, finish_reason: str = "stop") -> list[AIMessageChunk]:
    chunks = [AIMessageChunk(content=word) for word in text.split(" ")]
    return [*chunks, AIMessageChunk(content="", response_metadata={"finish_reason": finish_reason})]


def test_an_answer_in_several_chunks_is_right_whatever_it_says() -> None:
    assert real_model.judge_stream(answer("The sea is blue and wide.")) == []
    (wrong,) = real_model.judge_stream(answer("The sea."))
    assert wrong.startswith("2 chunks of text came")


@pytest.mark.parametrize("text", ["The sea is blue", "A wave"])
def test_an_answer_that_ended_before_the_stop_is_right_whatever_it_says(text: str) -> None:
    assert real_model.judge_stop(answer(text), ".") == []


@pytest.mark.parametrize(
    ("chunks", "word"),
    [
        (answer("The sea. It"), "holds the stop"),
        (answer(" "), "nothing came"),
        (answer("The sea and the", "length"), "did not end at the stop"),
    ],
)
def test_an_answer_that_the_stop_did_not_cut_is_wrong(
    chunks: list[AIMessageChunk], word: str
) -> None:
    (wrong,) = real_model.judge_stop(chunks, ".")
    assert word in wrong
