"""Fault injection: a raw-socket server of wire faults, and the chat models that face them."""

import pytest

pytest.register_assert_rewrite("tests.faults.client")
