"""Chat completions: messages to requests, response bytes to chunks."""
