"""Paid jobs in a store."""

import re

from hypothesis import given
from hypothesis import strategies as st

from langchain_minitoolai._images.job_store import call_key, job_key


def test_a_call_is_known_by_id_service_and_arguments() -> None:
    body = {"prompt": "x", "steps": 4}
    keys = {
        call_key("1", "https://a/api", body),
        call_key("2", "https://a/api", body),
        call_key("1", "https://b/api", body),
        call_key("1", "https://a/api", {**body, "steps": 5}),
    }
    assert len(keys) == 4
    assert call_key("1", "https://a/api", dict(reversed(body.items()))) in keys


@given(st.text(), st.text())
def test_a_key_is_one_that_every_store_takes(call: str, job: str) -> None:
    call = call.encode("utf-8", "replace").decode()
    job = job.encode("utf-8", "replace").decode()
    for key in (call_key(call, "x", {}), job_key(job)):
        assert re.fullmatch(r"[a-zA-Z0-9_-]{1,80}", key)
    assert job_key(job) != job_key(job + "x")


def test_a_plain_job_id_can_be_read_in_its_key() -> None:
    assert job_key("12345678") == "minitoolai-job-12345678"
