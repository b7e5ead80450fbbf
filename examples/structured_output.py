"""A chain whose answer is an object: prompt | model that answers in a schema."""

import sys
from typing import Any, Literal

from langchain_core.exceptions import OutputParserException
from langchain_core.prompts import ChatPromptTemplate
from pydantic import BaseModel, Field
from service import ExampleError, Needs, run

from langchain_minitoolai import ChatMiniToolAI

REVIEW = "The bath was cold and breakfast was late, but the view of the fjord was worth 4 stars."


class Opinion(BaseModel):
    """What a guest thinks of a hotel."""

    mood: Literal["good", "mixed", "bad"]
    stars: int = Field(ge=1, le=5)
    reason: str = Field(description="The main reason, in a few words")


def judge(access: dict[str, Any]) -> None:
    """Read a review into an `Opinion`."""
    prompt = ChatPromptTemplate.from_messages(
        [("system", "You read reviews of hotels."), ("human", "{review}")]
    )
    chain = prompt | ChatMiniToolAI(**access).with_structured_output(Opinion)
    print(f"\nreview: {REVIEW}")
    try:
        opinion = chain.invoke({"review": REVIEW})
    except OutputParserException as error:
        raise ExampleError(f"the answer does not fit: {error}") from None
    if isinstance(opinion, Opinion):
        print(f"mood:   {opinion.mood}\nstars:  {opinion.stars}\nreason: {opinion.reason}")


if __name__ == "__main__":
    sys.exit(run("structured_output", judge, Needs(reads=600, writes=100)))
