"""Work for jobs that need no process, and what tests ask about such jobs."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Coroutine, Generator, Iterator
from typing import Any, Final, ParamSpec

import pytest

from amper import JobId, JobInfo, JobManager
from amper.job.retention import Retention
from tests.support import run

P = ParamSpec("P")

UNKNOWN: Final = JobId(4711)

NO_PROCESS: Final = 2**22 + 1
"""A number that no process or group has: it is above the highest that Linux gives."""


def on_a_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make an async test a plain one, where it does not matter what kind of loop it runs on."""

    @functools.wraps(test)
    def on_loop(*args: P.args, **kwargs: P.kwargs) -> None:
        run(test(*args, **kwargs))

    return on_loop


async def turn() -> None:
    """Let everything that is ready now have its turn."""
    await asyncio.sleep(0)


async def endless() -> None:
    await asyncio.get_running_loop().create_future()


async def give(value: Any = None) -> Any:
    return value


async def fail(error: BaseException) -> None:
    raise error


async def swallow(times: int, outcome: Any = None) -> Any:
    """Go on after so many cancellations, and return `outcome` then."""
    for _ in range(times):
        with contextlib.suppress(asyncio.CancelledError):
            await endless()
    return outcome


async def be_deaf(until: asyncio.Future[Any]) -> None:
    """Swallow every cancellation until a future is done."""
    while not until.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(until)


def gate() -> asyncio.Future[Any]:
    """Return what a job can be made of that ends when the test says so."""
    return asyncio.get_running_loop().create_future()


class Awaitable:
    """Something of a caller's own that can be awaited."""

    def __init__(self, inner: asyncio.Future[Any]) -> None:
        self.inner = inner

    def __await__(self) -> Generator[Any, None, Any]:
        return self.inner.__await__()


async def info_of(jobs: JobManager, id: JobId) -> JobInfo:
    info = await jobs.get(id)
    assert info is not None
    return info


async def history(jobs: JobManager, id: JobId) -> list[str]:
    """Return the kinds of all events of a job, in order."""
    page = await jobs.read_events(limit=100_000)
    return [event.kind for event in page.events if event.job_id == id]


def waiters_of(jobs: JobManager, id: JobId) -> int:
    """Return how many wait for a job that is not over."""
    job = jobs.table.get(id)
    assert job is not None
    assert job.runner is not None
    waiters = job.runner.waiters
    if waiters is None:
        return 0
    return len(waiters) if isinstance(waiters, set) else 1


def bound(
    jobs: JobManager,
    *,
    taken: int | None = None,
    untaken: int | None = None,
    output: int | None = None,
) -> None:
    """Give an empty manager smaller bounds than it promises, so that a test can reach them."""
    table = jobs.table
    assert not table.ids()
    table.retention = Retention(table._jobs, taken, untaken, output)


@contextlib.contextmanager
def no_complaints(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail if an event loop logs an error: an exception or a task that nobody looked after."""
    caplog.clear()
    yield
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
