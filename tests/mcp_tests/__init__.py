"""The MCP server, in an environment of its own: `make test-mcp`."""
