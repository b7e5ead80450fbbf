import base64
import re
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from langchain_minitoolai import contract
from langchain_minitoolai._chat.content import (
    MAX_IMAGE_BYTES,
    NON_CONTENT_TYPES,
    is_image,
    to_content,
    to_parts,
)
from langchain_minitoolai.errors import InvalidInputError
from tests.unit_tests.strict import check_part

BYTES = b"\x89PNG\r\n\x1a\nand so on"
DATA = base64.b64encode(BYTES).decode()
URL = f"data:image/png;base64,{DATA}"
WEB = "https://example.com/a.png"
FIELD = "messages[2].content"


def shown(url: str, **detail: str) -> list[dict[str, Any]]:
    return [{"type": "image_url", "image_url": {"url": url, **detail}}]


def refusal(content: Any) -> str:
    with pytest.raises(InvalidInputError) as caught:
        to_parts(content, FIELD)
    assert str(caught.value).startswith(FIELD)
    return str(caught.value)


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        pytest.param({"type": "image_url", "image_url": WEB}, WEB, id="openai-text"),
        pytest.param({"type": "image_url", "image_url": {"url": WEB}}, WEB, id="openai-object"),
        pytest.param({"type": "image_url", "image_url": {"url": URL}}, URL, id="openai-data"),
        pytest.param({"type": "input_image", "image_url": WEB}, WEB, id="openai-responses"),
        pytest.param({"type": "image", "url": WEB}, WEB, id="v1-url"),
        pytest.param({"type": "image", "url": URL}, URL, id="v1-data-url"),
        pytest.param(
            {"type": "image", "base64": DATA, "mime_type": "image/png"}, URL, id="v1-base64"
        ),
        pytest.param({"type": "image", "source_type": "url", "url": WEB}, WEB, id="v0-url"),
        pytest.param(
            {"type": "image", "source_type": "base64", "data": DATA, "mime_type": "image/png"},
            URL,
            id="v0-base64",
        ),
        pytest.param(
            {"type": "image", "source": {"type": "url", "url": WEB}}, WEB, id="anthropic-url"
        ),
        pytest.param(
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": DATA},
                "cache_control": {"type": "ephemeral"},
            },
            URL,
            id="anthropic-base64",
        ),
        pytest.param(
            {"type": "media", "mime_type": "image/png", "data": DATA}, URL, id="google-media"
        ),
        pytest.param({"type": "file", "mime_type": "image/png", "base64": DATA}, URL, id="v1-file"),
    ],
)
def test_an_image_is_taken_in_every_form_that_users_hold(
    block: dict[str, Any], expected: str
) -> None:
    assert to_parts([block], FIELD) == shown(expected)
    assert is_image(block)
    check_part(to_parts([block], FIELD)[0])


@pytest.mark.parametrize("detail", contract.IMAGE_DETAILS)
@pytest.mark.parametrize(
    "form",
    [
        lambda detail: {"type": "image_url", "image_url": {"url": WEB, "detail": detail}},
        lambda detail: {"type": "image_url", "image_url": WEB, "detail": detail},
        lambda detail: {"type": "image_url", "image_url": {"url": WEB}, "detail": detail},
        lambda detail: {"type": "image", "url": WEB, "detail": detail},
        lambda detail: {"type": "image", "source": {"url": WEB}, "detail": detail},
        lambda detail: {"type": "image", "url": WEB, "extras": {"detail": detail}},
    ],
)
def test_the_detail_goes_along_wherever_it_stands(form: Any, detail: str) -> None:
    assert to_parts([form(detail)], FIELD) == shown(WEB, detail=detail)


def test_an_image_that_core_made_a_block_of_its_own_keeps_its_detail() -> None:
    block = {"type": "image_url", "image_url": {"url": WEB, "detail": "low"}}
    made = HumanMessage(content=[block]).content_blocks
    assert to_parts(list(made), FIELD) == shown(WEB, detail="low")


def test_extras_that_are_none_are_no_detail() -> None:
    assert to_parts([{"type": "image", "url": WEB, "extras": None}], FIELD) == shown(WEB)


STARTS = {
    "image/png": BYTES,
    "image/jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF",
    "image/webp": b"RIFF\n\x00\x00\x00WEBPVP8 ",
    "image/gif": b"GIF89a\x01\x00\x01\x00",
}


def base64_block(data: bytes | str, mime_type: str) -> list[dict[str, Any]]:
    return [{"type": "image", "base64": data, "mime_type": mime_type}]


@pytest.mark.parametrize("mime_type", contract.INPUT_IMAGE_TYPES)
def test_every_documented_type_of_image_is_taken(mime_type: str) -> None:
    data = base64.b64encode(STARTS[mime_type]).decode()
    expected = shown(f"data:{mime_type};base64,{data}")
    assert to_parts(base64_block(data, mime_type), FIELD) == expected


@pytest.mark.parametrize("mime_type", contract.INPUT_IMAGE_TYPES)
def test_an_image_in_bytes_is_encoded(mime_type: str) -> None:
    data = STARTS[mime_type]
    encoded = base64.b64encode(data)
    expected = shown(f"data:{mime_type};base64,{encoded.decode()}")
    assert to_parts(base64_block(data, mime_type), FIELD) == expected
    assert to_parts(base64_block(encoded, mime_type), FIELD) == expected


def test_bytes_that_are_no_image_are_refused() -> None:
    error = refusal(base64_block(b"\x00\xff", "image/png"))
    assert "bytes of an unknown type; allowed: image/png, " in error


@pytest.mark.parametrize("mime_type", contract.INPUT_IMAGE_TYPES)
def test_data_of_another_type_than_it_claims_is_refused_with_both(mime_type: str) -> None:
    for found, data in STARTS.items():
        if found != mime_type:
            encoded = base64.b64encode(data).decode()
            url = f"data:{mime_type};base64,{encoded}"
            for block in (
                *base64_block(encoded, mime_type),
                *base64_block(data, mime_type),
                {"type": "image_url", "image_url": {"url": url}},
                {"type": "image_url", "image_url": url},
            ):
                error = refusal([block])
                assert f"type is {mime_type!r}, but its data is of type {found!r}" in error


def test_data_of_a_type_that_is_not_recognized_is_sent() -> None:
    data = base64.b64encode(b"anything").decode()
    expected = shown(f"data:image/png;base64,{data}")
    assert to_parts(base64_block(data, "image/png"), FIELD) == expected


def test_jpg_is_the_same_as_jpeg_and_line_breaks_in_the_data_go_away() -> None:
    data = base64.b64encode(STARTS["image/jpeg"]).decode()
    wrapped = f"data:IMAGE/JPG;BASE64,{data[:8]}\n{data[8:]}\r\n"
    expected = shown(f"data:image/jpeg;base64,{data}")
    assert to_parts([{"type": "image_url", "image_url": wrapped}], FIELD) == expected


@pytest.mark.parametrize(
    ("block", "text"),
    [
        ("words", "words"),
        ({"type": "text", "text": "words", "cache_control": {"type": "ephemeral"}}, "words"),
        ({"type": "input_text", "text": "words"}, "words"),
        ({"type": "output_text", "text": "words", "annotations": []}, "words"),
        ({"text": "words"}, "words"),
        ({"type": "text", "text": None}, ""),
        ({"type": "refusal", "refusal": "No."}, "No."),
    ],
)
def test_text_is_taken_in_every_form(block: Any, text: str) -> None:
    assert to_parts([block], FIELD) == [{"type": "text", "text": text}]


def test_plain_text_is_one_part() -> None:
    assert to_parts("words", FIELD) == [{"type": "text", "text": "words"}]


@pytest.mark.parametrize("kind", NON_CONTENT_TYPES)
def test_thoughts_and_calls_are_no_content(kind: str) -> None:
    assert to_parts([{"type": kind}, "words"], FIELD) == [{"type": "text", "text": "words"}]


@pytest.mark.parametrize(
    "block",
    [
        {"type": "audio", "base64": "AA==", "mime_type": "audio/wav"},
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
        {"type": "video", "url": "https://example.com/a.mp4"},
        {"type": "file", "base64": "AA==", "mime_type": "application/pdf"},
        {"type": "media", "data": "AA==", "mime_type": "video/mp4"},
        {"type": "document", "source": {}},
        {"no": "type"},
    ],
)
def test_what_the_service_does_not_take_is_refused_by_its_name(block: dict[str, Any]) -> None:
    error = refusal(["words", block])
    assert error.startswith(f"{FIELD}[1]")
    assert repr(block.get("type")) in error
    assert "allowed: text and images" in error


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc/passwd",
        "/home/me/a.png",
        "a.png",
        "ftp://example.com/a.png",
        "https:example.com",
        "",
        "x" * 500,
    ],
)
def test_an_address_that_is_not_on_the_web_is_refused(address: str) -> None:
    error = refusal([{"type": "image_url", "image_url": {"url": address}}])
    assert repr(address[:60])[:-1] in error
    assert "allowed: https:, http:, or data:image/" in error
    assert len(error) < 300


@pytest.mark.parametrize("address", [None, 5, b"https://example.com/a.png"])
def test_an_address_that_is_no_text_is_refused(address: Any) -> None:
    error = refusal([{"type": "image_url", "image_url": {"url": address}}])
    assert repr(address) in error
    assert "allowed: text" in error


@pytest.mark.parametrize(
    "url",
    [
        f"data:application/pdf;base64,{DATA}",
        f"data:image/svg+xml;base64,{DATA}",
        "data:image/png,raw",
        f"data:;base64,{DATA}",
        "data:nonsense",
    ],
)
def test_data_of_another_kind_is_refused(url: str) -> None:
    error = refusal([{"type": "image", "url": url}])
    assert repr(url)[:-1] in error
    assert ", ".join(contract.INPUT_IMAGE_TYPES) in error


@pytest.mark.parametrize("data", ["", "!!!!", "AAA", "AA==AA==", "====", "   "])
def test_data_that_is_empty_or_no_base64_is_refused(data: str) -> None:
    error = refusal([{"type": "image_url", "image_url": f"data:image/png;base64,{data}"}])
    assert "empty or no base64" in error


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image"},
        {"type": "image", "base64": ""},
        {"type": "image", "base64": 5, "mime_type": "image/png"},
        {"type": "image", "file_id": "file-1"},
        {"type": "image", "source": {"type": "file", "file_id": "file-1"}},
        {"type": "input_image", "file_id": "file-1"},
    ],
)
def test_an_image_that_is_nowhere_is_refused(block: dict[str, Any]) -> None:
    assert "allowed: image_url, url, base64 with mime_type, or source" in refusal([block])


def test_base64_needs_its_type() -> None:
    error = refusal([{"type": "image", "base64": DATA}])
    assert "without its mime_type" in error
    assert ", ".join(contract.INPUT_IMAGE_TYPES) in error


def test_an_image_that_is_too_large_is_refused_with_its_size() -> None:
    data = "A" * (40 * 1024 * 1024)
    error = refusal([{"type": "image", "base64": data, "mime_type": "image/png"}])
    assert f"{len(data) * 3 // 4:,}" in error
    assert f"at most {MAX_IMAGE_BYTES:,}" in error
    assert len(error) < 200


@pytest.mark.parametrize("detail", ["medium", 5, "", ["low"]])
def test_a_detail_that_is_not_documented_is_refused(detail: Any) -> None:
    error = refusal([{"type": "image_url", "image_url": {"url": WEB, "detail": detail}}])
    assert f"detail is {detail!r}; allowed: {', '.join(contract.IMAGE_DETAILS)}" in error


def test_text_parts_join_to_plain_text_and_images_keep_the_parts() -> None:
    text = to_parts(["a", {"type": "text", "text": "b"}], FIELD)
    assert to_content(text) == "ab"
    mixed = to_parts(["a", {"type": "image", "url": WEB}], FIELD)
    assert to_content(mixed) is mixed
    assert to_content([]) == ""


def test_a_refusal_does_not_repeat_the_data() -> None:
    url = f"data:image/bmp;base64,{DATA * 50}"
    assert not re.search(re.escape(DATA * 3), refusal([{"type": "image", "url": url}]))
