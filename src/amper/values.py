"""What amper tells the world: frozen values that turn into JSON.

Nothing here knows a job table, an event loop or an operating system; every layer above may
import from here, and an expected outcome is always one of these values, never an exception.
"""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, Literal, NewType

JobId = NewType("JobId", int)
"""A job's number: from 1 up, never reused within a manager."""

StreamName = Literal["stdout", "stderr"]

Mark = Literal["+", "-"]
"""The current job (`%+`) and the previous one (`%-`)."""


class JobStatus(StrEnum):
    """Where a job is in its life. `done`, `failed`, `killed` and `lost` are final."""

    QUEUED = "queued"
    RUNNING = "running"
    STOPPED = "stopped"
    DONE = "done"
    FAILED = "failed"
    KILLED = "killed"
    LOST = "lost"

    @property
    def is_final(self) -> bool:
        """Whether nothing more can happen to such a job."""
        return self in _FINAL


_FINAL: Final = frozenset({JobStatus.DONE, JobStatus.FAILED, JobStatus.KILLED, JobStatus.LOST})


def status_string(status: JobStatus, code: int | None) -> str:
    """Return `running`, `done:0`, `failed:3`, `killed:143`: the status as people and files see it."""
    if status is JobStatus.LOST or not status.is_final:
        return status.value
    return f"{status.value}:{code}"


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a process ended, as the kernel told it: an exit code or a signal, never both."""

    exit_code: int | None = None
    signal: int | None = None
    core_dumped: bool = False

    @classmethod
    def exited(cls, code: int) -> ExitStatus:
        """Return the status of a process that called exit with `code`."""
        return cls(exit_code=code)

    @classmethod
    def signaled(cls, signal: int, core_dumped: bool = False) -> ExitStatus:
        """Return the status of a process that `signal` ended."""
        return cls(signal=signal, core_dumped=core_dumped)

    @property
    def code(self) -> int:
        """The shell's number: the exit code, or 128 + signal."""
        if self.signal is not None:
            return 128 + self.signal
        return self.exit_code or 0

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary; unset fields are left out."""
        fields = {"code": self.code, "exit_code": self.exit_code, "signal": self.signal}
        return _without_unset(fields) | ({"core_dumped": True} if self.core_dumped else {})


Cause = Literal["kill", "cancel", "signal", "timeout", "close", "owner", "loop_closed"]


@dataclass(frozen=True, slots=True)
class EndedBy:
    """Who ended a job that did not end by itself, and why."""

    cause: Cause
    reason: str | None = None
    by: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary; unset fields are left out."""
        return _without_unset({"cause": self.cause, "reason": self.reason, "by": self.by})


@dataclass(frozen=True, slots=True)
class ExecResult:
    """What a job came to. `out` and `err` are what was kept; `*_dropped` counts what a bound took."""

    code: int
    out: bytes = b""
    err: bytes = b""
    data: Any = None
    out_dropped: int = 0
    err_dropped: int = 0
    ended_by: EndedBy | None = None

    @classmethod
    def success(cls, out: str | bytes = b"") -> ExecResult:
        """Return a result with code 0 that printed `out` (text is encoded as UTF-8)."""
        return cls(0, out=_as_bytes(out))

    @classmethod
    def failure(cls, code: int, err: str | bytes = b"") -> ExecResult:
        """Return a result with `code` that printed `err` to its standard error."""
        return cls(code, err=_as_bytes(err))

    @property
    def ok(self) -> bool:
        """Whether the code is 0."""
        return self.code == 0

    @property
    def has_output(self) -> bool:
        """Whether anything was printed that is kept."""
        return bool(self.out or self.err)

    def text_out(self) -> str:
        """Return `out` as text: UTF-8, undecodable bytes replaced."""
        return self.out.decode("utf-8", "replace")

    def text_err(self) -> str:
        """Return `err` as text: UTF-8, undecodable bytes replaced."""
        return self.err.decode("utf-8", "replace")

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary; `data` that is no JSON is described in words."""
        fields: dict[str, Any] = {"code": self.code}
        fields |= _output("out", self.out) | _output("err", self.err)
        fields["data"] = _json_or_repr(self.data)
        fields["out_dropped"] = self.out_dropped or None
        fields["err_dropped"] = self.err_dropped or None
        fields["ended_by"] = self.ended_by.to_dict() if self.ended_by else None
        return _without_unset(fields)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process and the children that it waited for used: seconds of CPU, bytes of memory.

    `max_rss` is at least what this process itself held when it started the command: Linux counts
    the moment between vfork and exec.
    """

    user: float
    system: float
    max_rss: int

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        user, system = round(self.user, 6), round(self.system, 6)
        return {"user": user, "system": system, "max_rss": self.max_rss}


@dataclass(slots=True)
class Ended:
    """The report that a job is over. `is_lost` says that nobody can tell how.

    It is made for each end and read at once: what is frozen, or a tuple with names, costs more there.
    """

    result: ExecResult
    signal: int | None = None
    usage: Usage | None = None
    is_lost: bool = False


Containment = Literal["group", "tree"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInfo:
    """A snapshot of one job, made when it was asked for.

    `elapsed` is in seconds of a monotonic clock: from the start until the end, or until now.
    `output_open` says that something still holds the job's output open after its leader ended;
    `output_late` counts the bytes that came through it since, which are in no result.
    `mark` is "+" on the current job and "-" on the previous one. `waits_for_input` says of a job
    with a terminal whether something of it sleeps until somebody types, as the kernel saw it when it
    was asked; None of every other job, and where the kernel does not tell.
    """

    id: JobId
    command: str
    status: JobStatus
    created_at: datetime
    name: str | None = None
    tags: tuple[str, ...] = ()
    cwd: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    pid: int | None = None
    pgids: tuple[int, ...] = ()
    output_file: str | None = None
    output_open: bool = False
    output_late: int = 0
    containment: Containment | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    elapsed: float = 0.0
    usage: Usage | None = None
    ended_by: EndedBy | None = None
    mark: Mark | None = None
    waits_for_input: bool | None = None

    @property
    def status_string(self) -> str:
        """`running`, `done:0`, `failed:3`, ...: the status, with the code of a job that is over."""
        return status_string(self.status, self.exit_code)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary; unset fields are left out."""
        fields = {
            "id": int(self.id),
            "command": self.command,
            "name": self.name,
            "tags": list(self.tags) or None,
            "cwd": self.cwd,
            "status": self.status.value,
            "exit_code": self.exit_code,
            "signal": self.signal,
            "pid": self.pid,
            "pgids": list(self.pgids) or None,
            "output_file": self.output_file,
            "output_open": self.output_open or None,
            "output_late": self.output_late or None,
            "containment": self.containment,
            "created_at": _rfc3339(self.created_at),
            "started_at": _rfc3339(self.started_at),
            "finished_at": _rfc3339(self.finished_at),
            "elapsed": round(self.elapsed, 6),
            "usage": self.usage.to_dict() if self.usage else None,
            "ended_by": self.ended_by.to_dict() if self.ended_by else None,
            "mark": self.mark,
            "waits_for_input": self.waits_for_input,
        }
        return _without_unset(fields)


EventKind = Literal["queued", "started", "stopped", "resumed", "ended", "removed", "missed"]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `seq` grows; `count` is how many events a `missed` stands for."""

    seq: int
    time: datetime
    kind: EventKind
    job_id: JobId | None = None
    command: str | None = None
    status: JobStatus | None = None
    exit_code: int | None = None
    signal: int | None = None
    ended_by: EndedBy | None = None
    count: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary; unset fields are left out."""
        fields = {
            "seq": self.seq,
            "time": _rfc3339(self.time),
            "kind": self.kind,
            "job_id": self.job_id,
            "command": self.command,
            "status": self.status.value if self.status else None,
            "exit_code": self.exit_code,
            "signal": self.signal,
            "ended_by": self.ended_by.to_dict() if self.ended_by else None,
            "count": self.count,
        }
        return _without_unset(fields)


@dataclass(frozen=True, slots=True)
class EventPage:
    """Some events: go on with `since=next`; `missed` counts those that were gone already."""

    events: tuple[Event, ...]
    next: int
    missed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        events = [event.to_dict() for event in self.events]
        return {"events": events, "next": self.next, "missed": self.missed}


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of output: go on at `next`; a bound took `dropped` bytes before it.

    `closed` says that it is the last: the stream is closed and this chunk reaches its end.
    """

    data: bytes
    next: int
    dropped: int = 0
    closed: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        fields = _output("data", self.data)
        return fields | {"next": self.next, "dropped": self.dropped, "closed": self.closed}


@dataclass(frozen=True, slots=True)
class StreamStats:
    """How full a stream is: all in bytes."""

    current_size: int
    max_size: int
    total_written: int
    bytes_evicted: int
    closed: bool

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return {
            "current_size": self.current_size,
            "max_size": self.max_size,
            "total_written": self.total_written,
            "bytes_evicted": self.bytes_evicted,
            "closed": self.closed,
        }


_LONGEST_INT: Final = 2048
"""Bits: fewer digits than the smallest limit that can be set (`sys.set_int_max_str_digits`)."""


def utc(seconds: float) -> datetime:
    """Return the aware UTC datetime of `seconds` since the epoch."""
    return datetime.fromtimestamp(seconds, UTC)


def _rfc3339(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _as_bytes(text: str | bytes) -> bytes:
    if isinstance(text, bytes):
        return text
    if not isinstance(text, str):
        # Through a view, because `bytes(5)` is five zeros.
        return bytes(memoryview(text))
    try:
        # File names reach Python with surrogates for bytes that are not UTF-8; they go back as they were.
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        # Any other half of a pair is written out: an error's message must not become an error.
        return text.encode("utf-8", "backslashreplace")


def _without_unset(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}


def _output(key: str, data: bytes) -> dict[str, str]:
    """Put bytes under `key` as text, or under `key_base64` where they are not UTF-8."""
    try:
        return {key: data.decode("utf-8")}
    except UnicodeDecodeError:
        return {f"{key}_base64": base64.b64encode(data).decode("ascii")}


def _json_or_repr(value: Any) -> Any:
    """Return what JSON can carry as it is, and a readable stand-in for everything else."""
    for describe in (_jsonable, repr):
        try:
            return describe(value)
        except Exception:  # noqa: BLE001 - a broken repr must not take the result along.
            continue
    return f"<{type(value).__name__}>"


def _jsonable(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case int() if value.bit_length() > _LONGEST_INT:
            # Python refuses to write out, and to read, one of thousands of digits.
            return f"<int of {value.bit_length()} bits>"
        case None | bool() | int() | float() | str():
            return value
        case list() | tuple():
            return [_jsonable(item) for item in value]
        case dict():
            return {str(key): _jsonable(item) for key, item in value.items()}
    to_dict = getattr(value, "to_dict", None)
    if callable(to_dict) and not isinstance(value, type):
        return _jsonable(to_dict())
    return repr(value)
