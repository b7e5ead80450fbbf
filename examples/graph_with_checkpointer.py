"""A LangGraph graph that stops before a tool runs, and goes on from its checkpoint."""

import sys
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from service import ExampleError, Needs, run

from langchain_minitoolai import ChatMiniToolAI

QUESTION = "Please book a table for 4 guests in Oslo."
THREAD: RunnableConfig = {"configurable": {"thread_id": "dinner"}}


@tool
def book_table(city: str, guests: int) -> str:
    """Book a table at a restaurant in a city."""
    return f"A table for {guests} in {city} is booked."


def make_graph(model: ChatMiniToolAI, checkpointer: InMemorySaver) -> Any:
    """Make the graph: the model speaks, tools run, and the model speaks again."""
    thinker = model.bind_tools([book_table])

    def think(state: MessagesState) -> dict[str, Any]:
        return {"messages": [thinker.invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("think", think)
    graph.add_node("tools", ToolNode([book_table]))
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", tools_condition)
    graph.add_edge("tools", "think")
    return graph.compile(checkpointer=checkpointer, interrupt_before=["tools"])


def dine(access: dict[str, Any]) -> None:
    """Ask, look at what the model wants to do, and let it."""
    checkpointer = InMemorySaver()
    graph = make_graph(ChatMiniToolAI(**access), checkpointer)
    print(f"\nyou:   {QUESTION}")
    asked = graph.invoke({"messages": [("user", QUESTION)]}, THREAD)
    request: AIMessage = asked["messages"][-1]
    if not request.tool_calls:
        raise ExampleError(f"the model called no tool; it answered: {request.text}")
    for call in request.tool_calls:
        print(f"graph: stopped before {call['name']}({call['args']})")

    # All that is left is the checkpoint: another model and another graph go on from it.
    graph = make_graph(ChatMiniToolAI(**access), checkpointer)
    print("graph: resumed")
    done = graph.invoke(None, THREAD)
    print(f"model: {done['messages'][-1].text}")


if __name__ == "__main__":
    sys.exit(run("graph_with_checkpointer", dine, Needs(reads=1_500, writes=200)))
