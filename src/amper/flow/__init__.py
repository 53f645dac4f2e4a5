"""Bytes and stop requests over time."""
