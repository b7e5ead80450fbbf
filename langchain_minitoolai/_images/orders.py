"""Pictures ordered, waited for and taken up again, by programs and by the tool."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from langchain_core.callbacks.manager import BaseRunManager
from pydantic import ValidationError

from langchain_minitoolai import contract
from langchain_minitoolai._http.effects import Clock, Invoke, Workflow
from langchain_minitoolai._http.transport import is_loopback
from langchain_minitoolai._images.arguments import ImageArguments, refusal
from langchain_minitoolai._images.collect import Wish, collect
from langchain_minitoolai._images.fields import ImageFields
from langchain_minitoolai._images.job_store import Found, JobStore, call_key, job_key
from langchain_minitoolai._images.polling import wait
from langchain_minitoolai._images.progress import telling
from langchain_minitoolai._images.result import GeneratedImage, ImageJob, ImageProgress
from langchain_minitoolai._images.submission import Desk, Order, submit
from langchain_minitoolai.errors import InvalidInputError


class ImageOrders(ImageFields):
    """What programs call, and what the tool does with a call."""

    @property
    def images_ordered(self) -> int:
        """How many pictures this tool has ordered, or may have."""
        return self._spending.images

    def submit(
        self, prompt: str | Mapping[str, Any], *, call_id: str | None = None, **arguments: Any
    ) -> ImageJob:
        """Order a picture and do not wait for it.

        Args:
            prompt: What to draw, or all arguments.
            call_id: An id of your own; ordering again with it and the same arguments gives
                the same job.
            **arguments: The other arguments.

        Raises:
            MiniToolAIError: If there is no job; `maybe_charged` says whether there may be one.
        """
        client = self._sync_client()
        return client.execute(self._place(self._checked(prompt, arguments), call_id, client.clock))

    async def asubmit(
        self, prompt: str | Mapping[str, Any], *, call_id: str | None = None, **arguments: Any
    ) -> ImageJob:
        """Order a picture: `submit`, with `await`."""
        client = self._async_client()
        order = self._checked(prompt, arguments)
        return await client.execute(self._place(order, call_id, client.clock))

    def wait(self, job: ImageJob) -> GeneratedImage:
        """Wait for an ordered picture, and fetch and save it as the options say.

        Raises:
            ImageError: If it can't be had by the deadline.
        """
        client = self._sync_client()
        return client.execute(self._finish(job, self._desk(client.clock)))

    async def await_(self, job: ImageJob) -> GeneratedImage:
        """Wait for an ordered picture: `wait`, with `await`."""
        client = self._async_client()
        return await client.execute(self._finish(job, self._desk(client.clock)))

    def resume(self, job: str) -> GeneratedImage:
        """Wait for a picture that is known to the job store.

        Args:
            job: The job's id, as an error or a progress report names it.

        Raises:
            InvalidInputError: If the job store knows no such job.
            ImageError: If the picture can't be had by the deadline.
        """
        client = self._sync_client()
        return client.execute(self._resume(job, self._desk(client.clock)))

    async def aresume(self, job: str) -> GeneratedImage:
        """Wait for a picture that is known to the job store: `resume`, with `await`."""
        client = self._async_client()
        return await client.execute(self._resume(job, self._desk(client.clock)))

    def _checked(
        self, prompt: str | Mapping[str, Any], arguments: Mapping[str, Any]
    ) -> ImageArguments:
        given = {"prompt": prompt} if isinstance(prompt, str) else prompt
        schema = self._schema()
        try:
            return schema.model_validate({**given, **arguments})
        except ValidationError as caught:
            error = refusal(caught, schema)
        raise error

    def _order(self, arguments: ImageArguments, call_id: str | None) -> Order:
        body = arguments.body()
        key = None if call_id is None else call_key(call_id, self.minitoolai_api_base, body)
        return Order(arguments.model_dump(), body, key, self.deadline)

    def _place(
        self, arguments: ImageArguments, call_id: str | None, clock: Clock
    ) -> Workflow[ImageJob]:
        placed = yield from submit(self._order(arguments, call_id), self._desk(clock, call_id))
        return placed.job

    def _draw(
        self,
        arguments: Mapping[str, Any],
        clock: Clock,
        call_id: str | None,
        run_manager: BaseRunManager | None,
    ) -> Workflow[GeneratedImage]:
        checked = self._checked(arguments, {})
        desk = self._desk(clock, call_id, run_manager)
        job, until = yield from submit(self._order(checked, call_id), desk)
        return (yield from self._finish(job, desk, until))

    def _finish(
        self, job: ImageJob, desk: Desk, until: float | None = None
    ) -> Workflow[GeneratedImage]:
        until = desk.clock() + self.deadline if until is None else until
        job = yield from wait(job, desk, until)
        wish = Wish(self.save_to, keep=self.show_to_model == "data")
        return (yield from collect(job, desk, wish, until))

    def _resume(self, job: str, desk: Desk) -> Workflow[GeneratedImage]:
        found: Found = yield desk.store.load(job_key(job))
        if found.job is None:
            raise InvalidInputError(f"job is {job!r}; allowed: a job that the job store knows")
        return (yield from self._finish(found.job, desk))

    def _on_loopback(self) -> bool:
        return is_loopback(urlsplit(self.minitoolai_api_base).hostname or "")

    def _desk(
        self, clock: Clock, call_id: str | None = None, run_manager: BaseRunManager | None = None
    ) -> Desk:
        def report(progress: ImageProgress) -> Invoke:
            if progress["stage"] == "submitted":
                _note_cost(run_manager)
            return telling({**progress, "tool_call_id": call_id}, self.on_progress)

        return Desk(
            clock=clock,
            wall=lambda: datetime.now(UTC).timestamp(),
            store=JobStore(self.job_store),
            report=report,
            spending=self._spending,
            admit=self._admission(),
            max_images=self.max_images,
            max_cost_usd=self.max_cost_usd,
            timeout=self.timeout,
            max_retries=self.max_retries,
            loopback=self._on_loopback(),
            poll_interval=self.poll_interval,
        )

    def _admission(self) -> Invoke | None:
        limiter = self.rate_limiter
        return Invoke(limiter.acquire, limiter.aacquire) if limiter else None


def _note_cost(run_manager: BaseRunManager | None) -> None:
    """Put the price of a picture on the traced run, where LangSmith reads it."""
    run_id = getattr(run_manager, "run_id", None)
    for handler in getattr(run_manager, "handlers", ()):
        runs = getattr(handler, "run_map", None)
        run = runs.get(str(run_id)) if isinstance(runs, Mapping) else None
        if run is not None:
            metadata = run.extra.setdefault("metadata", {})
            metadata["total_cost"] = contract.IMAGE_PRICE
            metadata["usage_metadata"] = {"total_cost": contract.IMAGE_PRICE}
