"""Fetching a picture that is ready."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from langchain_minitoolai import errors
from langchain_minitoolai._http.effects import Invoke
from langchain_minitoolai._images import collect as _image_collect
from langchain_minitoolai._images.collect import Wish, collect
from langchain_minitoolai._images.result import GeneratedImage
from tests.unit_tests.acting import Actor, Counter
from tests.unit_tests.images.test_result import JOB, URL, png


class Depot:
    """Gives what is scripted for an address."""

    def __init__(self, *given: bytes | Exception) -> None:
        self.asked: list[tuple[str, float]] = []
        self._given = list(given)

    def fetch(self, address: str, seconds: float) -> Invoke:
        def run() -> bytes:
            self.asked.append((address, seconds))
            given = self._given.pop(0)
            if isinstance(given, Exception):
                raise given
            return given

        async def arun() -> bytes:
            return run()

        return Invoke(run, arun)


def collected(
    depot: Depot, *, seconds: float = 60.0, asynchronous: bool = False, **wish: Any
) -> tuple[GeneratedImage, Counter, Actor]:
    actor = Actor(asynchronous=asynchronous)
    counter = Counter(actor)
    image = actor.run(collect(JOB, counter.desk, Wish(depot.fetch, **wish), actor.now + seconds))
    return image, counter, actor


def test_nothing_is_fetched_that_nobody_wants() -> None:
    depot = Depot()
    image, _, _ = collected(depot)
    assert (image.url, image.width, image.mime_type, depot.asked) == (URL, 512, None, [])


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_picture_is_fetched_and_saved(tmp_path: Path, *, asynchronous: bool) -> None:
    depot = Depot(png())
    image, counter, _ = collected(depot, save_to=tmp_path, asynchronous=asynchronous)
    data = Path(image.path or "").read_bytes()
    assert image.read() == data
    assert (image.width, image.height, image.size) == (32, 24, len(data))
    assert image.sha256 == hashlib.sha256(data).hexdigest()
    assert depot.asked == [(URL, 60.0)]
    assert counter.told[-1]["stage"] == "saved"
    assert counter.told[-1]["path"] == image.path


def test_a_picture_may_be_wanted_in_memory_alone() -> None:
    image, counter, _ = collected(Depot(png()), keep=True)
    assert (image.read(), image.path, counter.told) == (png(), None, [])


def test_a_fetch_that_stumbles_is_tried_three_times() -> None:
    stumble = errors.PictureError("HTTP 503", is_retryable=True)
    image, _, actor = collected(Depot(stumble, stumble, png()), keep=True)
    assert image.warning is None
    assert actor.sleeps == [0.5, 1.0]
    image, _, _ = collected(Depot(stumble, stumble, stumble), keep=True)
    assert image.warning == "HTTP 503"


@pytest.mark.parametrize("given", [errors.PictureError("HTTP 410"), b"<title>Oops</title>"])
def test_what_cannot_be_fetched_leaves_the_address_and_a_warning(given: Any) -> None:
    depot = Depot(given)
    image, _, _ = collected(depot, keep=True)
    assert image.warning
    assert image.url == URL
    assert len(depot.asked) == 1


def test_no_time_left_is_a_warning_too() -> None:
    image, _, _ = collected(Depot(), seconds=0.0, keep=True)
    assert "no time was left" in (image.warning or "")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError("broken")])
def test_what_cannot_be_saved_keeps_its_facts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def full(*_: Any) -> None:
        raise error

    monkeypatch.setattr(_image_collect, "save_picture", full)
    image, _, _ = collected(Depot(png()), save_to=tmp_path)
    assert (image.path, image.width) == (None, 32)
    assert "can't be saved" in (image.warning or "")
