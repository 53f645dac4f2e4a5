"""How a shell starts commands, in front of it and behind it: the one place that knows of the terminal."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from amper.frontends.shell.long_text import sh_command
from amper.manager import JobManager
from amper.values import JobId


@dataclass(frozen=True, slots=True)
class Order:
    """A command for `/bin/sh`, as it is executed and as people read it."""

    script: str
    title: str
    directory: str
    environment: dict[str, str]
    positional: tuple[str, ...]
    options: tuple[str, ...] = ()
    stdin: int | None = None
    """Instead of the shell's own."""
    pass_fds: tuple[int, ...] = ()

    @property
    def command(self) -> list[str]:
        """What is executed."""
        return sh_command(self.options, self.script, self.positional)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a command in front: over, or stopped."""

    code: int
    is_stopped: bool = False
    signal: int | None = None
    complaint: bytes = b""
    """Why it could not be started, if nobody has said so."""


class Launcher(ABC):
    """Starts the commands of one shell."""

    def __init__(self, jobs: JobManager) -> None:
        self.jobs = jobs

    @abstractmethod
    async def in_front(self, order: Order) -> Outcome:
        """Run a command and wait until it is over or stops."""

    @abstractmethod
    async def in_background(self, order: Order) -> JobId:
        """Start a command, and do not wait for it."""

    @abstractmethod
    async def to_front(self, id: JobId) -> Outcome:
        """Let a job go on in front, and wait until it is over or stops."""

    async def announcement(self, id: JobId) -> str:
        """Return what there is to say of a job that was started in the background, or was not."""
        if await self.jobs.get_process_info(id) is not None:
            return ""
        # What has never run has written nothing but why.
        chunk = await self.jobs.read_output(id, stream="stderr")
        return "" if chunk is None else chunk.data.decode("utf-8", "surrogateescape")

    def options_of(self, order: Order, **options: Any) -> dict[str, Any]:
        """Return what `JobManager.start` is to know of an order."""
        if order.stdin is not None:
            options["stdin"] = order.stdin
        options["pass_fds"] = (*order.pass_fds, *options.get("pass_fds", ()))
        return options | {
            "title": order.title,
            "cwd": order.directory,
            "env": order.environment,
        }
