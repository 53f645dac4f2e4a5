"""The public names for type checkers; `__init__.py` imports each when it is asked for."""

from amper.errors import (
    AmbiguousJobSpec,
    AmperError,
    ChannelClosed,
    ChannelUsed,
    InternalError,
    InvalidJobSpec,
    ManagerClosed,
    NoSuchJob,
    WrongLoop,
)
from amper.flow.cancel import CancellationToken
from amper.flow.oneshot import Receiver, Sender, oneshot
from amper.flow.stream import BoundedStream
from amper.job.runner import Streams
from amper.manager import CurrentJob, JobManager, current_job
from amper.process.spawn import DEVNULL, PIPE, STDOUT
from amper.values import (
    Chunk,
    EndedBy,
    Event,
    EventPage,
    ExecResult,
    ExitStatus,
    JobId,
    JobInfo,
    JobStatus,
    StreamStats,
    Usage,
)

__all__ = [
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
