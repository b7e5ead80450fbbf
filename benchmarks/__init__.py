"""Benchmarks: ChatMiniToolAI beside other chat models, and beside httpx and core alone."""
