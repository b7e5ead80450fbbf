"""Fault injection: a raw-socket server of wire faults, and the chat models that face them."""
