"""These tests belong to `make test-scale`; no other environment has Ray."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("ray") else ["test_*.py"]
