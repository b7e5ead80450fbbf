"""Batches on Ray, in an environment of their own: `make test-scale`."""
