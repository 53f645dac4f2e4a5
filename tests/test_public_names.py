"""The public names are a promise: adding or losing one is a decision, and not an accident."""

import ast
from pathlib import Path

import amper


def test_the_public_names_are_these() -> None:
    assert amper.__all__ == [
        "DEVNULL",
        "PIPE",
        "STDOUT",
        "AmbiguousJobSpec",
        "AmperError",
        "BoundedStream",
        "CancellationToken",
        "ChannelClosed",
        "ChannelUsed",
        "Chunk",
        "CurrentJob",
        "EndedBy",
        "Event",
        "EventPage",
        "ExecResult",
        "ExitStatus",
        "InternalError",
        "InvalidJobSpec",
        "JobId",
        "JobInfo",
        "JobManager",
        "JobStatus",
        "ManagerClosed",
        "NoSuchJob",
        "Receiver",
        "Sender",
        "StreamStats",
        "Streams",
        "Usage",
        "WrongLoop",
        "current_job",
        "oneshot",
    ]
    assert all(hasattr(amper, name) for name in amper.__all__)


def test_type_checkers_and_python_find_them_in_the_same_places() -> None:
    stub = Path(amper.__file__).with_suffix(".pyi")
    imports = [
        node for node in ast.walk(ast.parse(stub.read_text())) if isinstance(node, ast.ImportFrom)
    ]
    told = {alias.name: node.module for node in imports for alias in node.names}
    assert told == amper._HOMES  # type: ignore[attr-defined]  # The stub hides it.
    assert set(amper.__all__) <= set(dir(amper))
