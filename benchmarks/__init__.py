"""Measurements of the package, each run as `python -m benchmarks.NAME`."""
