"""Job control as a library: coroutines and OS commands in one table, with one vocabulary.

    async with JobManager() as jobs:
        id = await jobs.start("make", timeout=60)
        print((await jobs.wait(id)).code)

`help(amper.JobManager)` tells all that can be done to a job, and `amper.builtins` is for shells.

A public name is imported when it is first asked for: the command line starts without the half of
Python that a manager needs. Type checkers read `__init__.pyi`.
"""

import importlib

_HOMES = {
    "DEVNULL": "amper.process.spawn",
    "PIPE": "amper.process.spawn",
    "STDOUT": "amper.process.spawn",
    "AmbiguousJobSpec": "amper.errors",
    "AmperError": "amper.errors",
    "BoundedStream": "amper.flow.stream",
    "CancellationToken": "amper.flow.cancel",
    "ChannelClosed": "amper.errors",
    "ChannelUsed": "amper.errors",
    "Chunk": "amper.values",
    "CurrentJob": "amper.manager",
    "EndedBy": "amper.values",
    "Event": "amper.values",
    "EventPage": "amper.values",
    "ExecResult": "amper.values",
    "ExitStatus": "amper.values",
    "InternalError": "amper.errors",
    "InvalidJobSpec": "amper.errors",
    "JobId": "amper.values",
    "JobInfo": "amper.values",
    "JobManager": "amper.manager",
    "JobStatus": "amper.values",
    "ManagerClosed": "amper.errors",
    "NoSuchJob": "amper.errors",
    "Receiver": "amper.flow.oneshot",
    "Sender": "amper.flow.oneshot",
    "StreamStats": "amper.values",
    "Streams": "amper.job.runner",
    "Usage": "amper.values",
    "WrongLoop": "amper.errors",
    "current_job": "amper.manager",
    "oneshot": "amper.flow.oneshot",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    # From now on it is found without us.
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *(name for name in __all__ if name not in globals())]
