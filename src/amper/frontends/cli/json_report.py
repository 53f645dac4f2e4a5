"""What `amper run --json` prints: one JSON object per line, on standard output.

The manager's own events, `output` (a line, in `text` or `text_base64`), `dropped`, and at last a
`summary` with the exit code and what is known of every job.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

from amper.frontends.cli.report import Report
from amper.values import JobId, StreamName


class JsonReport(Report):
    """A run told to a program."""

    async def print_events(self) -> None:
        async for event in self._jobs.events():
            await self._print(event.to_dict())

    async def print_lines(
        self, id: JobId, name: str, stream: StreamName, lines: Sequence[bytes]
    ) -> None:
        for line in lines:
            fields = {"kind": "output", "job_id": id, "name": name, "stream": stream}
            await self._print(fields | _text(line))

    async def print_dropped(self, name: str, stream: StreamName, count: int) -> None:
        await self._print({"kind": "dropped", "name": name, "stream": stream, "bytes": count})

    async def summarise(self, code: int) -> None:
        infos = [info.to_dict() for info in await self._jobs.list()]
        await self._print({"kind": "summary", "exit_code": code, "jobs": infos})

    async def _print(self, fields: dict[str, Any]) -> None:
        await self._out.write(json.dumps(fields).encode() + b"\n")


def _text(line: bytes) -> dict[str, str]:
    try:
        return {"text": line.decode("utf-8")}
    except UnicodeDecodeError:
        return {"text_base64": base64.b64encode(line).decode("ascii")}
