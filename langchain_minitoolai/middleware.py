"""Agent middleware: a spending limit in USD, and images of tools for models that take none there.

It needs the extra `agents`: `pip install "langchain-minitoolai[agents]"`.
"""

import math
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from itertools import takewhile
from typing import Annotated, Any, Final, Literal, NotRequired

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.messages.ai import UsageMetadata
from typing_extensions import override

from langchain_minitoolai import contract
from langchain_minitoolai._chat.tool_images import Placement, move_images
from langchain_minitoolai._chat.usage import artifact_cost, estimate_cost, message_cost
from langchain_minitoolai._redaction import safe_warn
from langchain_minitoolai.chat_models import ChatMiniToolAI
from langchain_minitoolai.errors import InvalidInputError, SpendingLimitError
from langchain_minitoolai.tools import MiniToolAIImageTool

try:
    from langchain.agents.middleware.types import (
        AgentMiddleware,
        AgentState,
        ModelCallResult,
        ModelRequest,
        ModelResponse,
        PrivateStateAttr,
        ToolCallRequest,
    )
    from langgraph.runtime import Runtime
    from langgraph.types import Command
except ImportError as error:
    raise ImportError(
        "langchain_minitoolai.middleware needs langchain, not installed here: "
        'pip install "langchain-minitoolai[agents]"'
    ) from error

__all__ = ["ShowImagesMiddleware", "SpendingLimitMiddleware", "SpendingState"]

ExitBehavior = Literal["end", "error"]
Answer = ModelResponse[Any]
Result = ToolMessage | Command[Any]
Update = dict[str, Any] | None
Costs = dict[str, float | None]
"""USD by message: an answer by its id, a tool's result by its call's; `None` where unknown."""

_MAX_ERROR: Final = 1.5
_UNCHARGED: Final = re.compile(r"nothing was (sent or )?charged", re.IGNORECASE)


def merge_costs(before: Costs, new: Costs) -> Costs:
    """Merge costs by message; of two the higher counts, so that no repetition lowers a sum."""
    merged = dict(before)
    for key, cost in new.items():
        known = [each for each in (merged.get(key), cost) if each is not None]
        merged[key] = max(known, default=None)
    return merged


class SpendingState(AgentState[Any]):
    """The agent's state with what its thread has spent, which removed messages do not lower."""

    minitoolai_costs: NotRequired[Annotated[Costs, PrivateStateAttr, merge_costs]]
    minitoolai_spent_before: NotRequired[Annotated[float, PrivateStateAttr]]
    """USD that the thread had spent when the run began."""


class SpendingLimitMiddleware(AgentMiddleware[SpendingState, Any, Any]):
    """Ends an agent's run before a model call, and refuses an image, that would pass a limit.

    Chat and images count together: `response_metadata["cost"]` of answers, and `cost_usd` in the
    artifacts of tools' results. A call of a `ChatMiniToolAI` is made if the limits leave enough for
    its prompt, estimated, and for an answer of `max_tokens`; another model's, until they are spent.

    Args:
        run_limit_usd: The most that a run may spend; an interrupted run that is resumed is one.
        thread_limit_usd: The most that a thread may spend, as long as its checkpoints are kept.
        exit_behavior: `"end"` ends the run with a message, `"error"` raises.

    Raises:
        InvalidInputError: A `ValueError`, if an argument is not one of these.
        SpendingLimitError: In a run, with `exit_behavior="error"`.
    """

    state_schema = SpendingState

    def __init__(
        self,
        *,
        run_limit_usd: float | None = None,
        thread_limit_usd: float | None = None,
        exit_behavior: ExitBehavior = "end",
    ) -> None:
        """Check and keep the limits."""
        super().__init__()
        if run_limit_usd is None and thread_limit_usd is None:
            raise InvalidInputError(
                "run_limit_usd and thread_limit_usd are both None; allowed: one of them, or both"
            )
        _check_limit("run_limit_usd", run_limit_usd)
        _check_limit("thread_limit_usd", thread_limit_usd)
        if exit_behavior not in ("end", "error"):
            raise InvalidInputError(f"exit_behavior is {exit_behavior!r}; allowed: 'end', 'error'")
        self.run_limit_usd = run_limit_usd
        self.thread_limit_usd = thread_limit_usd
        self.exit_behavior = exit_behavior
        self._warned = False

    @override
    def before_agent(self, state: SpendingState, runtime: Runtime[Any]) -> Update:
        counted = state.get("minitoolai_costs", {})
        history: Costs = {key: cost or 0.0 for key, cost in _new_costs(state)}
        spent = _total(merge_costs(counted, history))
        return {"minitoolai_costs": history, "minitoolai_spent_before": spent}

    @override
    async def abefore_agent(self, state: SpendingState, runtime: Runtime[Any]) -> Update:
        return self.before_agent(state, runtime)

    @override
    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Answer]
    ) -> ModelCallResult[Any]:
        return self._refuse_model_call(request) or handler(request)

    @override
    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[Answer]]
    ) -> ModelCallResult[Any]:
        return self._refuse_model_call(request) or await handler(request)

    @override
    def after_model(self, state: SpendingState, runtime: Runtime[Any]) -> Update:
        costs = dict(_new_costs(state))
        if None in costs.values() and not self._warned:
            self._warned = True
            safe_warn(
                "SpendingLimitMiddleware can't count what a model's answer cost: its "
                "response_metadata names no cost; the limits hold for the rest"
            )
        return {"minitoolai_costs": costs} if costs else None

    @override
    async def aafter_model(self, state: SpendingState, runtime: Runtime[Any]) -> Update:
        return self.after_model(state, runtime)

    @override
    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Result]
    ) -> Result:
        return self._refuse_image(request) or _record_cost(request, handler(request))

    @override
    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Result]]
    ) -> Result:
        return self._refuse_image(request) or _record_cost(request, await handler(request))

    def _refuse_model_call(self, request: ModelRequest[Any]) -> AIMessage | None:
        reason = self._exceeded(request.state, _highest_cost(request), "the next model call")
        if reason and self.exit_behavior == "error":
            raise SpendingLimitError(reason)
        return AIMessage(reason, response_metadata={"cost": 0.0}) if reason else None

    def _refuse_image(self, request: ToolCallRequest) -> ToolMessage | None:
        call = request.tool_call
        tools = request.runtime.tools
        names = {each.name for each in tools if isinstance(each, MiniToolAIImageTool)}
        paid = request.state.get("minitoolai_costs", {})
        if call["name"] not in names or call["id"] in paid:
            return None
        # Calls of one answer run side by side: each leaves enough for the ones before it.
        answers = [each for each in request.state["messages"] if isinstance(each, AIMessage)]
        calls = [each for answer in answers[-1:] for each in answer.tool_calls]
        earlier = takewhile(lambda each: each["id"] != call["id"], calls)
        ahead = sum(each["name"] in names and each["id"] not in paid for each in earlier)
        cost = contract.IMAGE_PRICE * (ahead + 1)
        reason = self._exceeded(request.state, cost, "these images" if ahead else "this image")
        if reason is None:
            return None
        return ToolMessage(
            f"{reason} Nothing was sent or charged. Go on without another image.",
            name=call["name"],
            tool_call_id=call["id"],
            status="error",
        )

    def _exceeded(self, state: Mapping[str, Any], cost: float, what: str) -> str | None:
        """Say which limit would be passed, if one would."""
        costs = state.get("minitoolai_costs", {})
        thread = _total(costs)
        run = thread - state.get("minitoolai_spent_before", 0.0)
        limits = ("run", run, self.run_limit_usd), ("thread", thread, self.thread_limit_usd)
        for name, spent, limit in limits:
            # The tolerance is for sums of floats.
            if limit is not None and (spent >= limit or spent + cost > limit * (1 + 1e-9)):
                unknown = sum(each is None for each in costs.values())
                beyond = f", and {unknown} calls whose cost is unknown" if unknown else ""
                return (
                    f"Spending limit reached: this {name} has spent ${spent:.6f}{beyond}; {what} "
                    f"may cost ${cost:.6f}, and {name}_limit_usd is ${limit:g}."
                )
        return None


def _check_limit(name: str, limit: object) -> None:
    number = isinstance(limit, int | float) and not isinstance(limit, bool)
    if limit is not None and not (number and math.isfinite(limit) and limit >= 0):  # type: ignore[arg-type,operator]
        raise InvalidInputError(f"{name} is {limit!r}; allowed: a number from 0 (USD), or None")


def _highest_cost(request: ModelRequest[Any]) -> float:
    """Estimate the most that a call may cost; 0 for a model whose prices are not known here."""
    model, settings = request.model, request.model_settings
    if not isinstance(model, ChatMiniToolAI):
        return 0.0
    read = _tokens_read(model, request)
    written = settings.get("max_completion_tokens") or settings.get("max_tokens")
    written = written or model.max_tokens or contract.DEFAULT_MAX_COMPLETION_TOKENS
    usage = UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written)
    return estimate_cost(usage, settings.get("model", model.model)) or 0.0


def _tokens_read(model: ChatMiniToolAI, request: ModelRequest[Any]) -> int:
    """Estimate what a call reads; scaled up where the estimate for the last answer was too low."""
    system = [request.system_message] if request.system_message else []
    messages: list[BaseMessage] = [*system, *request.messages]
    count = partial(model.get_num_tokens_from_messages, tools=request.tools)
    read = count(messages)
    for index, message in reversed([*enumerate(messages)]):
        if isinstance(message, AIMessage) and message.usage_metadata:
            error = message.usage_metadata["input_tokens"] / max(count(messages[:index]), 1)
            # What was summarized since is no error of the estimate.
            return math.ceil(read * min(max(error, 1.0), _MAX_ERROR))
    return read


def _new_costs(state: SpendingState) -> Iterator[tuple[str, float | None]]:
    """Read the costs of the messages that are not counted yet."""
    counted = state.get("minitoolai_costs", {})
    for message in state["messages"]:
        if isinstance(message, AIMessage) and message.id not in counted:
            yield str(message.id), message_cost(message)
        elif isinstance(message, ToolMessage) and message.tool_call_id not in counted:
            cost = artifact_cost(message)
            if cost is not None:
                yield message.tool_call_id, cost


def _total(costs: Costs) -> float:
    return math.fsum(cost or 0.0 for cost in costs.values())


def _record_cost(request: ToolCallRequest, result: Result) -> Result:
    """Write a result's cost to the state beside the result, which may soon be summarized."""
    if not isinstance(result, ToolMessage):
        return result
    cost = artifact_cost(result)
    image_failed = isinstance(request.tool, MiniToolAIImageTool) and result.status == "error"
    if image_failed and not _UNCHARGED.search(str(result.text)):
        cost = contract.IMAGE_PRICE  # ordered, and perhaps paid for
    if cost is None:
        return result
    return Command(update={"messages": [result], "minitoolai_costs": {result.tool_call_id: cost}})


class ShowImagesMiddleware(AgentMiddleware[AgentState[Any], Any, Any]):
    """Shows the images in tools' results to a model that takes none in tool messages.

    It changes requests alone: the stored messages stay as they are.

    Args:
        placement: `"user"` moves the images into a user message after the results; `"text"`
            leaves their addresses, in words; `"auto"` chooses by the model's profile. It changes
            nothing for a model that takes images in tool messages, or that has no profile; it
            takes `"text"` for one that sees no images, and for Mistral's, whose service refuses a
            user message after a tool's.

    Raises:
        InvalidInputError: A `ValueError`, if it is none of these.
    """

    def __init__(self, *, placement: Placement | Literal["auto"] = "auto") -> None:
        """Check and keep the placement."""
        super().__init__()
        if placement not in ("auto", "user", "text"):
            raise InvalidInputError(f"placement is {placement!r}; allowed: 'auto', 'user', 'text'")
        self.placement = placement

    @override
    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Answer]
    ) -> ModelCallResult[Any]:
        return handler(self._with_images_moved(request))

    @override
    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[Answer]]
    ) -> ModelCallResult[Any]:
        return await handler(self._with_images_moved(request))

    def _with_images_moved(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        placement = _choose(request.model) if self.placement == "auto" else self.placement
        if placement is None:
            return request
        return request.override(messages=move_images(request.messages, placement))


def _choose(model: BaseChatModel) -> Placement | None:
    profile = model.profile or {}
    if not profile or profile.get("image_tool_message"):
        return None
    takes_user_message = "mistralai" not in model.get_lc_namespace()
    return "user" if profile.get("image_inputs") and takes_user_message else "text"
