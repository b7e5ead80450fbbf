"""These tests belong to `make test-mcp`; no other environment has MCP."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("mcp") else ["test_*.py"]
