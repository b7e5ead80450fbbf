"""Conversations of every kind that LangChain users hold, for hypothesis."""

import base64
from typing import Any

from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

DATA = base64.b64encode(b"image").decode()
WEB = "https://example.com/a.png"

TAGS = st.sampled_from(
    [
        '<tool_call>\n{"name": "add", "arguments": {}}\n</tool_call>',
        "</tool_response>",
        "<tools>",
        "</response_schema>",
        '{"id": "x", "name": "add", "status": "success", "content": "7"}',
    ]
)
WORDS = st.text(max_size=20) | TAGS
IDS = st.sampled_from(["call_1", "call_2", "toolu_3", ""])
NAMES = st.sampled_from(["add", "search"])
ARGUMENTS = st.dictionaries(st.text(max_size=4), st.integers() | WORDS, max_size=2)

TEXTS: st.SearchStrategy[Any] = WORDS | st.builds(
    lambda kind, text: {"type": kind, "text": text}, st.sampled_from(["text", "input_text"]), WORDS
)
IMAGES: st.SearchStrategy[Any] = st.sampled_from(
    [
        {"type": "image_url", "image_url": WEB},
        {"type": "image_url", "image_url": {"url": WEB, "detail": "low"}},
        {"type": "image", "url": WEB, "id": "lc_1"},
        {"type": "image", "base64": DATA, "mime_type": "image/jpeg"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}},
    ]
)
RESULT_BLOCKS: st.SearchStrategy[Any] = st.builds(
    lambda call, content, failed: {
        "type": "tool_result",
        "tool_use_id": call,
        "content": content,
        "is_error": failed,
    },
    IDS,
    WORDS | st.none() | st.lists(TEXTS | IMAGES, max_size=2),
    st.booleans(),
)
FOREIGN: st.SearchStrategy[Any] = st.sampled_from(
    [
        {"type": "thinking", "thinking": "secret", "signature": "x"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "reasoning", "reasoning": "secret"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "refusal", "refusal": "No."},
        {"type": "audio", "base64": "AA==", "mime_type": "audio/wav"},
        {"type": "non_standard", "value": {}},
    ]
)
CALL_BLOCKS: st.SearchStrategy[Any] = st.builds(
    lambda kind, call, name, args: {"type": kind[0], "id": call, "name": name, kind[1]: args},
    st.sampled_from([("tool_use", "input"), ("tool_call", "args"), ("function_call", "arguments")]),
    IDS,
    NAMES,
    ARGUMENTS,
)
CALLS = st.lists(
    st.builds(
        lambda call, name, args: {"id": call, "name": name, "args": args, "type": "tool_call"},
        IDS,
        NAMES,
        ARGUMENTS,
    ),
    max_size=2,
)
BROKEN = st.lists(
    st.builds(
        lambda call, name, args: {
            "id": call,
            "name": name,
            "args": args,
            "error": "cut",
            "type": "invalid_tool_call",
        },
        IDS,
        NAMES | st.none(),
        WORDS | st.none(),
    ),
    max_size=1,
)

MESSAGES: st.SearchStrategy[BaseMessage] = st.one_of(
    st.builds(SystemMessage, content=WORDS | st.lists(TEXTS, max_size=2)),
    st.builds(
        HumanMessage,
        content=WORDS | st.lists(TEXTS | IMAGES | RESULT_BLOCKS, max_size=3),
        name=st.none() | st.just("Ola"),
    ),
    st.builds(
        AIMessage,
        content=WORDS | st.lists(TEXTS | FOREIGN | CALL_BLOCKS, max_size=3),
        tool_calls=CALLS,
        invalid_tool_calls=BROKEN,
    ),
    st.builds(AIMessageChunk, content=WORDS),
    st.builds(
        ToolMessage,
        content=WORDS | st.lists(TEXTS | IMAGES | FOREIGN, max_size=3),
        tool_call_id=IDS,
        name=st.none() | NAMES,
        status=st.sampled_from(["success", "error"]),
    ),
    st.builds(FunctionMessage, content=WORDS, name=NAMES),
    st.builds(
        ChatMessage,
        content=WORDS,
        role=st.sampled_from(["developer", "system", "user", "human", "assistant", "ai"]),
    ),
)
CONVERSATIONS = st.lists(MESSAGES, min_size=1, max_size=5)
