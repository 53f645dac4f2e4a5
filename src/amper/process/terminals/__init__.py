"""Terminals: ours, which is handed to groups of our session, and those of jobs that have their own."""
