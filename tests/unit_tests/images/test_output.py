"""Output of an image job."""

import asyncio
import base64
import hashlib
import json
import pickle
import sys
import threading
from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from langchain_core.rate_limiters import InMemoryRateLimiter

from langchain_minitoolai import errors
from langchain_minitoolai._http.effects import Response
from langchain_minitoolai._images import output
from langchain_minitoolai._images.output import (
    ImageToolError,
    RecentImages,
    before_submission,
    download,
    download_and_save,
    format_for_model,
    report,
    tool_content,
)
from langchain_minitoolai.types import GeneratedImage, ImageProgress
from tests.unit_tests.fake_driver import FakeDriver, FakeJob, response
from tests.unit_tests.test_types import JOB, URL, image_of, png

File = bytes | Response | Exception


def run(
    *files: File,
    polls: Sequence[Response] = (),
    seconds: float = 60.0,
    is_async: bool = False,
    **options: Any,
) -> tuple[GeneratedImage, FakeJob, FakeDriver]:
    driver = FakeDriver(polls, is_async=is_async, downloads=files)
    fake = FakeJob(driver, total_timeout=seconds, **options)
    return driver.run(download_and_save(JOB, fake.context)), fake, driver


def urls(driver: FakeDriver) -> list[str]:
    return [each.url for each in driver.downloads]


def test_nothing_is_downloaded_that_nobody_wants() -> None:
    image, _, driver = run()
    assert (image.url, image.width, image.mime_type, driver.downloads) == (URL, 512, None, [])


@pytest.mark.parametrize("is_async", [False, True])
def test_an_image_is_downloaded_and_saved(tmp_path: Path, *, is_async: bool) -> None:
    directory = tmp_path / "new" / "folder"
    image, fake, driver = run(png(), save_to=directory, is_async=is_async)
    path = Path(image.path or "")
    assert path == directory / "a-cat-77.png"
    assert image.read() == path.read_bytes() == png()
    assert (image.width, image.height, image.size) == (32, 24, len(png()))
    assert image.sha256 == hashlib.sha256(png()).hexdigest()
    (sent,) = driver.downloads
    assert (sent.url, sent.deadline, sent.timeout) == (URL, 1060.0, 30.0)
    assert fake.reported[-1]["stage"] == "saved"
    assert fake.reported[-1]["path"] == image.path
    assert json.loads(path.with_suffix(".json").read_text("utf-8")) == image.artifact()
    assert len(list(directory.iterdir())) == 2


def test_saving_twice_leaves_one_file(tmp_path: Path) -> None:
    for _ in range(2):
        run(png(), save_to=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_in_async_calls_checking_and_saving_runs_off_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []
    for name in ("image_metadata", "save_image"):
        real = getattr(output, name)

        def seen(*args: Any, real: Any = real) -> Any:
            threads.append(threading.current_thread())
            return real(*args)

        monkeypatch.setattr(output, name, seen)
    run(png(), save_to=tmp_path, is_async=True)
    assert len(threads) == 2
    assert threading.current_thread() not in threads


def test_an_image_may_be_wanted_in_memory_alone() -> None:
    image, fake, _ = run(png(), keep_bytes=True)
    assert (image.read(), image.path, fake.reported) == (png(), None, [])


def test_a_download_that_fails_for_a_moment_is_tried_three_times() -> None:
    failure = Response(503, {})
    image, _, driver = run(failure, failure, png(), keep_bytes=True)
    assert image.warning is None
    assert driver.sleeps == [0.5, 1.0]
    image, _, _ = run(failure, failure, failure, keep_bytes=True)
    assert "HTTP 503" in (image.warning or "")


OTHER_URL = "https://cdn.example.com/b.png"


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("status", [403, 404, 410])
def test_an_address_that_expired_is_asked_for_anew_from_its_job(
    status: int, *, is_async: bool
) -> None:
    tries = 3 if status == 404 else 1  # what is not there yet may come
    image, _, driver = run(
        *[Response(status, {})] * tries,
        png(),
        polls=[response({"image_url": OTHER_URL})],
        keep_bytes=True,
        is_async=is_async,
    )
    assert urls(driver) == [URL] * tries + [OTHER_URL]
    assert (image.url, image.warning, image.read()) == (OTHER_URL, None, png())
    assert len(driver.requests) == 1


def test_an_address_that_expired_is_asked_for_once() -> None:
    gone = Response(410, {})
    image, _, driver = run(gone, gone, polls=[response({"image_url": OTHER_URL})], keep_bytes=True)
    assert "HTTP 410" in (image.warning or "")
    assert len(driver.requests) == 1


@pytest.mark.parametrize(
    "poll", [response({"image_url": URL}), response({"status": "expired"}), response({}, 404)]
)
def test_where_the_job_names_no_other_address_the_first_one_is_returned(poll: Response) -> None:
    image, _, driver = run(Response(410, {}), polls=[poll], keep_bytes=True)
    assert image.url == URL
    assert "HTTP 410" in (image.warning or "")
    assert urls(driver) == [URL]


@pytest.mark.parametrize(
    "given",
    [
        Response(410, {}),
        b"<title>Oops</title>",
        errors.APITimeoutError("late"),
        ValueError("what nobody thought of"),
    ],
)
def test_what_cannot_be_downloaded_leaves_the_address_and_a_warning(given: File) -> None:
    image, _, driver = run(given, polls=[response({"image_url": URL})], keep_bytes=True)
    assert image.warning
    assert image.url == URL
    assert urls(driver) == [URL]


@pytest.mark.parametrize("host", ["a..b", "a" * 64])
def test_an_address_without_a_valid_host_is_an_error_of_ours(host: str) -> None:
    driver = FakeDriver()
    image = image_of().model_copy(update={"url": f"https://{host}/x.png"})
    with pytest.raises(errors.ImageDownloadError, match="no valid host"):
        driver.run(download(image, FakeJob(driver).context))
    assert driver.downloads == []


def test_no_time_left_is_a_warning_too() -> None:
    image, _, _ = run(seconds=0.0, keep_bytes=True)
    assert "no time was left" in (image.warning or "")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError("broken")])
def test_what_cannot_be_saved_keeps_its_bytes_and_metadata(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def full(*_: Any) -> None:
        raise error

    monkeypatch.setattr(output, "atomic_write", full)
    image, _, _ = run(png(), save_to=tmp_path)
    assert (image.path, image.width, image.read()) == (None, 32, png())
    assert "can't be saved" in (image.warning or "")


def test_a_relative_directory_gives_an_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    image, _, _ = run(png(), save_to=Path("images"))
    assert image.path == str(tmp_path / "images" / "a-cat-77.png")


def asked(save_to: Path | None, limiter: Any, *, is_async: bool) -> None:
    effect = before_submission(save_to, limiter)
    if is_async:
        asyncio.run(effect.arun())  # type: ignore[arg-type]
    else:
        effect.run()


@pytest.mark.parametrize("is_async", [False, True])
def test_before_a_submission_the_directory_is_made_and_the_limiter_asked(
    tmp_path: Path, *, is_async: bool
) -> None:
    limiter = InMemoryRateLimiter(requests_per_second=1e6)
    asked(None, None, is_async=is_async)
    asked(tmp_path / "a" / "b", limiter, is_async=is_async)
    assert list((tmp_path / "a" / "b").iterdir()) == []
    assert limiter.last is not None


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("where", ["file/below", "x" * 300, "nul\0", "\ud800"])
def test_where_nothing_can_be_saved_nothing_is_paid_for(
    tmp_path: Path, where: str, *, is_async: bool
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(errors.ImageRequestError, match=r"save_to is .*Nothing was sent") as caught:
        asked(tmp_path / where, None, is_async=is_async)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("is_async", [False, True])
def test_a_limiter_that_fails_is_an_error_of_ours(*, is_async: bool) -> None:
    class Broken(InMemoryRateLimiter):
        def acquire(self, *, blocking: bool = True) -> bool:
            raise OSError("no such clock")

        async def aacquire(self, *, blocking: bool = True) -> bool:
            raise ValueError("no such clock")

    with pytest.raises(errors.ImageRequestError, match=r"rate_limiter failed .*no such clock"):
        asked(None, Broken(), is_async=is_async)


def test_the_last_images_are_kept_bounded_in_number_and_bytes() -> None:
    recent = RecentImages()
    for number in range(20):
        recent.add(image_of(id=str(number), bytes=9))
    assert [each.id for each in recent.all()] == [str(number) for number in range(12, 20)]
    recent.add(image_of(id="15", bytes=8))
    assert [each.id for each in recent.all()][-2:] == ["19", "15"]
    recent.add(image_of(id="big", bytes=RecentImages.MOST_BYTES - 8))
    assert [each.id for each in recent.all()] == ["15", "big"]
    recent.add(image_of(id="huge", bytes=RecentImages.MOST_BYTES + 1))
    assert [each.id for each in recent.all()] == ["huge"]
    assert pickle.loads(pickle.dumps(recent)).all() == ()  # noqa: S301 - our own


def test_the_seconds_reported_never_decrease(tmp_path: Path) -> None:
    _, fake, driver = run(png(), save_to=tmp_path)
    assert fake.reported[-1]["seconds"] >= driver.now - 1000.0
    assert fake.reported[-1]["seconds"] > (JOB.seconds or 0.0)


def test_the_model_reads_what_it_needs() -> None:
    text = tool_content(image_of(), "never")
    assert text == "Image 77 is ready: 512x640, amigo in 4.2 s, $0.0015.\nAddress: " + URL
    text = tool_content(image_of(path="/x/a.png", warning="it is late", seconds=None), "never")
    assert "Saved as: /x/a.png" in text
    assert "Note: it is late. It is paid for; use the address." in text


def test_the_model_is_shown_the_image_as_a_block() -> None:
    shown = tool_content(image_of(), "url")
    assert shown[1] == {"type": "image", "url": URL}
    shown = tool_content(image_of(png(), mime_type="image/png"), "data")
    encoded = base64.b64encode(png()).decode()
    assert shown[1] == {"type": "image", "base64": encoded, "mime_type": "image/png"}


def test_an_image_that_could_not_be_downloaded_is_described_in_words() -> None:
    assert isinstance(tool_content(image_of(warning="it is late"), "data"), str)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.AuthenticationError("HTTP 401: no"), "HTTP 401: no. Nothing was charged."),
        (
            errors.ImageJobFailedError("It failed.", maybe_charged=True, hint="Change it."),
            "It failed. Change it. It may have been charged.",
        ),
        (errors.ImageRequestError("No. Nothing was charged."), "No. Nothing was charged."),
    ],
)
def test_an_error_tells_the_model_what_to_do_and_whether_it_cost_anything(
    error: errors.MiniToolAIError, expected: str
) -> None:
    assert str(format_for_model(error)) == expected


def test_a_long_error_keeps_its_hint_and_its_charge_within_400_characters() -> None:
    error = errors.ImageJobTimeoutError("x" * 900, maybe_charged=True, hint="Resume it.")
    text = str(format_for_model(error))
    assert len(text) == 400
    assert text.endswith("… Resume it. It may have been charged.")


def test_the_error_itself_comes_along_and_survives_pickling() -> None:
    error = format_for_model(errors.ImageJobTimeoutError("late", job_id="7"))
    twin = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert isinstance(twin, ImageToolError)
    assert str(twin) == str(error)
    assert isinstance(twin.error, errors.ImageJobTimeoutError)
    assert twin.error.job_id == "7"


# Progress.

PROGRESS = ImageProgress(
    stage="waiting",
    job_id="77",
    tool_call_id=None,
    seconds=1.0,
    expected=None,
    url=None,
    path=None,
)


def test_no_callback_is_needed() -> None:
    action = report(PROGRESS, None)
    action.run()
    asyncio.run(action.arun())  # type: ignore[arg-type]


def test_a_callback_is_called_sync_and_async() -> None:
    reported: list[ImageProgress] = []

    async def listen(progress: ImageProgress) -> None:
        reported.append(progress)

    report(PROGRESS, reported.append).run()
    asyncio.run(report(PROGRESS, reported.append).arun())  # type: ignore[arg-type]
    asyncio.run(report(PROGRESS, listen).arun())  # type: ignore[arg-type]
    assert reported == [PROGRESS] * 3


def test_a_callback_that_fails_is_only_a_warning() -> None:
    def fail(_: ImageProgress) -> None:
        raise ValueError("boom")

    async def afail(_: ImageProgress) -> None:
        raise ValueError("boom")

    with pytest.warns(UserWarning, match="ValueError: boom"):
        report(PROGRESS, fail).run()
    with pytest.warns(UserWarning, match="ValueError: boom"):
        report(PROGRESS, afail).run()
    for callback in (fail, afail):
        with pytest.warns(UserWarning, match="ValueError: boom"):
            asyncio.run(report(PROGRESS, callback).arun())  # type: ignore[arg-type]


@pytest.mark.parametrize("present", [False, True])
def test_outside_a_graph_there_is_no_stream(
    monkeypatch: pytest.MonkeyPatch, *, present: bool
) -> None:
    if present:
        monkeypatch.setitem(sys.modules, "langgraph", sys)
    else:
        monkeypatch.delitem(sys.modules, "langgraph", raising=False)
    report(PROGRESS, None).run()


def test_in_a_graph_the_stream_is_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Any] = []

    class Config:
        @staticmethod
        def get_stream_writer() -> Any:
            return written.append

    monkeypatch.setitem(sys.modules, "langgraph", sys)
    monkeypatch.setitem(sys.modules, "langgraph.config", Config)
    report(PROGRESS, None).run()
    assert written == [{"type": "minitoolai_image", **PROGRESS}]


@pytest.mark.parametrize("in_a_loop", [False, True])
def test_an_async_callback_is_awaited_in_a_sync_call(*, in_a_loop: bool) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="lost")
    reported: list[tuple[ImageProgress, str]] = []

    async def callback(progress: ImageProgress) -> None:
        await asyncio.sleep(0)
        reported.append((progress, variable.get()))

    async def inside() -> None:
        report(PROGRESS, callback).run()

    variable.set("kept")
    if in_a_loop:
        asyncio.run(inside())
    else:
        report(PROGRESS, callback).run()
    assert reported == [(PROGRESS, "kept")]
