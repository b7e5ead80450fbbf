"""Benchmarks: the chat model beside those a user would pick instead, and beside the floors."""
