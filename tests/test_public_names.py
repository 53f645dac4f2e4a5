"""The public names are a promise: adding or losing one is a decision, and not an accident."""

import amper


def test_the_public_names_are_these() -> None:
    assert amper.__all__ == [
        "DEVNULL",
        "PIPE",
        "STDOUT",
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
        "JobId",
        "JobInfo",
        "JobManager",
        "JobStatus",
        "ManagerClosed",
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
