"""What `amper run --json` prints on standard output: one JSON object per line.

Each has a `kind`. `started` and `ended` are the manager's events (`Event.to_dict`) with the job's
`name`; `output` is a line of a job, or a piece of one, with its newline, in `text`, or in
`text_base64` where it is not UTF-8: put together, they are the output to the byte. `dropped` counts
`bytes` that came faster than they were read. The `summary` is last: `exit_code`, of each job what
`JobInfo.to_dict` has, and the names of those that were `not_run`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from amper.frontends.cli.report import Report
from amper.frontends.cli.writer import Writer
from amper.manager import JobManager
from amper.values import Event, JobInfo, StreamName


class JsonReport(Report):
    """A run told to a program."""

    def __init__(self, jobs: JobManager, is_ending: Callable[[], bool]) -> None:
        super().__init__(jobs, is_ending)
        self._out = Writer(1, "standard output")

    async def tell_event(self, event: Event, info: JobInfo) -> None:
        await self._out.write(_line(event.to_dict() | {"name": info.name}))

    async def tell_lines(self, info: JobInfo, stream: StreamName, lines: Sequence[bytes]) -> None:
        fields = _about("output", info, stream)
        await self._out.write(b"".join(_line(fields | _text(line)) for line in lines))

    async def tell_dropped(self, info: JobInfo, stream: StreamName, count: int) -> None:
        await self._out.write(_line(_about("dropped", info, stream) | {"bytes": count}))

    async def summarise(self, code: int, not_run: Mapping[str, str]) -> None:
        infos = [info.to_dict() for info in await self._jobs.list()]
        fields = {"kind": "summary", "exit_code": code, "jobs": infos, "not_run": list(not_run)}
        await self._out.write(_line(fields))
        await self._out.flush()


def _about(kind: str, info: JobInfo, stream: StreamName) -> dict[str, Any]:
    return {"kind": kind, "job_id": info.id, "name": info.name, "stream": stream}


def _line(fields: dict[str, Any]) -> bytes:
    # A command's arguments may hold bytes that are no UTF-8, and JSON cannot.
    return json.dumps(fields, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _text(line: bytes) -> dict[str, str]:
    try:
        return {"text": line.decode("utf-8")}
    except UnicodeDecodeError:
        return {"text_base64": base64.b64encode(line).decode("ascii")}
