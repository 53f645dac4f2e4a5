"""Coroutines as jobs.

1. A job's task runs `_drive`, which awaits the caller's coroutine and reports from its own last
   step: no callback and no further turn of the loop lies between the end and the waiters.
2. `_drive` is started before the task gets it, up to a first pause inside its `try`. A task that is
   cancelled before its first step throws into a coroutine; one that never began could not report.
3. The module's one set holds live tasks: the loop holds them weakly, and garbage collection must
   never take a job.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable, Coroutine, Sequence
from functools import lru_cache
from typing import Any, Final

from amper.errors import AmperError
from amper.flow.cancel import CancellationToken
from amper.flow.settle import settle
from amper.job.outputs import closed_streams
from amper.job.runner import Streams
from amper.manager.runner import LocalRunner
from amper.values import Ended, EndedBy, ExecResult, JobId

CANCELLED: Final = 130
SILENT_SUCCESS: Final = ExecResult(0)
SUCCEEDED: Final = Ended(SILENT_SUCCESS)

_live_tasks: Final[set[asyncio.Task[None]]] = set()
_current: Final[contextvars.ContextVar[CoroutineRunner]] = contextvars.ContextVar("amper_job")


class CurrentJob:
    """The job that the running coroutine belongs to, as it sees itself."""

    __slots__ = ("_runner",)

    def __init__(self, runner: CoroutineRunner) -> None:
        self._runner = runner

    @property
    def id(self) -> JobId:
        """The job's id."""
        return self._runner.job.id

    @property
    def streams(self) -> Streams:
        """The job's own live outputs; what is written here can be read while the job runs."""
        return self._runner.own_streams()

    @property
    def token(self) -> CancellationToken:
        """The token that `cancel` trips."""
        return self._runner.own_token()

    @property
    def is_stop_requested(self) -> bool:
        """Whether somebody wants the job to stop: it should come to a checkpoint soon."""
        return self._runner.is_stop_requested

    async def checkpoint(self) -> None:
        """Suspend here as long as the job is to be stopped; return at once if it is not.

        The job is `stopped` from the moment it is suspended, and `running` again after `resume`.
        Place it where it may take long until the next step, with nothing held that others need.
        Whoever ends the job ends the suspension with it.
        """
        await self._runner.checkpoint()


def current_job() -> CurrentJob | None:
    """Return the job that the calling code runs in; None outside of spawned coroutines."""
    runner = _current.get(None)
    return None if runner is None else CurrentJob(runner)


class CoroutineRunner(LocalRunner):
    """Runs a coroutine or an awaitable as a task of the event loop."""

    _suspended: Sequence[asyncio.Future[None]] = ()
    """What waits at a checkpoint: the coroutine, or several tasks that it has made."""

    def __init__(self, loop: asyncio.AbstractEventLoop, awaitable: Awaitable[Any]) -> None:
        super().__init__()
        self.loop = loop
        self._awaitable = awaitable
        self._context: contextvars.Context | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_asked = False
        self._is_stop_requested = False

    @property
    def needs_place(self) -> bool:
        # A task, or whatever else keeps a future, runs already and cannot be held back.
        return not asyncio.isfuture(self._awaitable)

    def hold(self) -> None:
        """Keep the caller's context for a start that comes later."""
        self._context = contextvars.copy_context()

    def start(self) -> None:
        if self._context is not None:
            context, self._context = self._context, None
            context.run(self.start)
            return
        driver = self._drive()
        driver.send(None)
        task = self.loop.create_task(driver, name=self.job.command)
        # With an eager task factory it may be over already.
        if not self.is_over:
            self._task = task
            _live_tasks.add(task)
            if self._is_asked:
                # In its first step, which an eager task takes before we have the task.
                task.cancel()

    def discard(self) -> None:
        super().discard()
        dispose(self._awaitable)

    @property
    def is_stop_requested(self) -> bool:
        return self._is_stop_requested

    def ask_to_stop(self) -> bool:
        if self._is_asked or asyncio.isfuture(self._awaitable):
            # It ends already, or is somebody else's task, which knows of no checkpoint.
            return False
        self._is_stop_requested = True
        # Work that waits for its stopped processes comes to no checkpoint, and need not.
        return all(group.is_gone() for group in self.groups)

    def ask_to_resume(self) -> bool:
        self.take_back_stop()
        self.reports.job_resumed(self)
        return not asyncio.isfuture(self._awaitable)

    def take_back_stop(self) -> None:
        self._is_stop_requested = False
        suspended, self._suspended = self._suspended, ()
        if suspended:
            self.reports.job_resumed(self)
        for waiter in suspended:
            settle(waiter, None)

    def stop_limit(self, grace_period: float) -> float:
        return grace_period

    async def checkpoint(self) -> None:
        """Wait, stopped, until nobody wants a stop any more."""
        while self._is_stop_requested:
            waiter = self.loop.create_future()
            self._suspended = (*self._suspended, waiter)
            self.reports.job_stopped(self)
            try:
                await waiter
            except asyncio.CancelledError:
                self._suspended = [other for other in self._suspended if other is not waiter]
                if not self._suspended and not self.is_over:
                    # Nothing stands still here any more: whatever was cancelled cleans up.
                    self.reports.job_resumed(self)
                raise

    def ask_to_end(self) -> None:
        # Asked twice, a coroutine would be interrupted in the clean-up that the first one began.
        if not self._is_asked:
            self.insist()

    def insist(self) -> None:
        self._is_asked = True
        # As SIGCONT does for a process that is stopped: it has to run to end.
        self.take_back_stop()
        if self._task is not None:
            self._task.cancel()

    def give_up(self) -> None:
        if not self.is_over:
            self.reports.job_ended(self, Ended(closed(self.streams, CANCELLED)))

    def own_streams(self) -> Streams:
        """Return the job's streams, made now if nobody asked before; closed if it is over."""
        result = self.job.result
        if self.streams is None and result is not None:
            # A task that has outlived its job asks: nobody would ever close new ones.
            return closed_streams(result)
        return own_streams(self)

    def own_token(self) -> CancellationToken:
        if self.token is None and self._is_asked:
            # Whoever asks late is told as well.
            self.token = CancellationToken()
            self.token.cancel(None if self.ended_by is None else self.ended_by.reason)
        return super().own_token()

    def loop_closed(self) -> None:
        if self.is_over or not self.loop.is_closed():
            return
        task, self._task = self._task, None
        if task is not None:
            _live_tasks.discard(task)
            # What became of it is in the table, and asyncio, which would complain, has no other switch.
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001
        self.claim(EndedBy("loop_closed"))
        self.give_up()

    def be_cancelled(self) -> None:
        self.ask_to_end()

    async def _drive(self) -> None:
        try:
            await _PAUSE  # type: ignore[misc]  # An iterator is all that Python asks for.
            # From here on it is the task that runs, in its own copy of the caller's context.
            _current.set(self)
            value = await self._awaitable
            report = (
                SUCCEEDED
                if value is None and self.streams is None
                else Ended(result_of(self.streams, value))
            )
        except asyncio.CancelledError:
            # Whatever was cancelled before its first step has not been awaited yet.
            dispose(self._awaitable)
            if asyncio.isfuture(self._awaitable):
                self._awaitable.cancel()
            if self.ended_by is None:
                self.claim(EndedBy("loop_closed" if self._is_loop_ending() else "cancel"))
            report = Ended(closed(self.streams, CANCELLED))
        except (SystemExit, KeyboardInterrupt) as error:
            task = asyncio.current_task()
            if task is not None:
                # It goes its way through the loop; nobody needs to be told that nobody asked for it.
                task.add_done_callback(asyncio.Task.exception)
            self._report(Ended(failed(self.streams, error)))
            raise
        except BaseException as error:
            if isinstance(error, GeneratorExit) and self.loop.is_closed():
                # The loop was closed under its tasks, which are thrown away now.
                dispose(self._awaitable)
                raise
            report = Ended(failed(self.streams, error))
        self._report(report)

    def _is_loop_ending(self) -> bool:
        """Return whether the task is cancelled with all the others, as `asyncio.run` does at its end."""
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0 and self.reports.is_loop_ending()

    def _report(self, report: Ended) -> None:
        if self._task is not None:
            _live_tasks.discard(self._task)
            self._task = None
        if self._is_stop_requested:
            # Tasks that it has made, and left at a checkpoint, are not the job's any more.
            self.take_back_stop()
        # It may have been given up long ago.
        if not self.is_over:
            self.reports.job_ended(self, report)


def own_streams(runner: LocalRunner) -> Streams:
    """Return a runner's streams, made now if nobody asked before."""
    if runner.streams is None:
        runner.streams = Streams.empty()
    return runner.streams


def result_of(streams: Streams | None, value: Any) -> ExecResult:
    """Make a result of what a coroutine or a channel gave, and close the streams with it.

    A stream that got nothing live is filled from the result. A value that is no result becomes its
    data, and what was written live its output.
    """
    if isinstance(value, ExecResult):
        check_result(value)
        if streams is not None:
            for stream, output in zip(streams, (value.out, value.err), strict=True):
                if output and stream.total_written == 0:
                    stream.write(output)
                stream.freeze()
        return value
    return closed(streams, 0, value)


def closed(
    streams: Streams | None, code: int, data: Any = None, ended_by: EndedBy | None = None
) -> ExecResult:
    """Close the streams and return a result with what they hold as its output."""
    if streams is None:
        return ExecResult(code, data=data, ended_by=ended_by)
    stdout, stderr = streams
    out, err = stdout.freeze(), stderr.freeze()
    if not out and not err:
        if data is None:
            is_success = code == 0 and ended_by is None
            return SILENT_SUCCESS if is_success else _silent(code, ended_by)
        # What evicts something also keeps something.
        return ExecResult(code, data=data, ended_by=ended_by)
    return ExecResult(code, out, err, data, stdout.bytes_evicted, stderr.bytes_evicted, ended_by)


@lru_cache(maxsize=1)
def _silent(code: int, ended_by: EndedBy | None) -> ExecResult:
    """Return a result without output: the same as the last time, if it says the same.

    Of thousands that are ended at once each would have one of its own to say so.
    """
    return ExecResult(code, ended_by=ended_by)


def failed(streams: Streams | None, error: BaseException) -> ExecResult:
    """Return the result of work that raised `error`, which its standard error then tells."""
    message = f"{_described(error)}\n"
    if streams is None:
        return ExecResult.failure(1, message)
    streams.stderr.write(message.encode("utf-8", "replace"))
    return closed(streams, 1)


def check_result(result: ExecResult) -> None:
    """Raise TypeError for a result that would be of no use to those who wait for it."""
    for output in (result.out, result.err):
        if not isinstance(output, bytes):
            raise TypeError(
                f"the output of an ExecResult is bytes, not {type(output).__name__}: "
                "ExecResult.success(...) and .failure(...) encode text"
            )
    if isinstance(result.code, bool) or not isinstance(result.code, int):
        raise TypeError(f"the code of an ExecResult is an int, not {type(result.code).__name__}")


def check_awaitable(future: object) -> None:
    """Raise TypeError for what cannot be awaited, and say what was probably meant."""
    if inspect.isawaitable(future):
        return
    hint = ""
    if inspect.iscoroutinefunction(future) or inspect.isfunction(future):
        name = getattr(future, "__name__", "it")
        hint = f": call it, as in {name}()"
    raise TypeError(f"a job needs a coroutine or an awaitable, not {type(future).__name__}{hint}")


def dispose(awaitable: object) -> None:
    """Close a coroutine that nobody will await, so that it does not complain of its neglect."""
    if isinstance(awaitable, Coroutine):
        awaitable.close()


class _Pause:
    """Awaited, it gives control back once, and is the cheapest thing that does.

    What it gives back goes to `start`, which has no use for it; and the collector is not interested
    in the iterator of a range.
    """

    __await__ = range(1).__iter__


_PAUSE: Final = _Pause()


def _described(error: BaseException) -> str:
    """Describe an exception in a line, with where it was raised."""
    name = type(error).__name__
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - an error that cannot describe itself is an error all the same.
        text = ""
    described = f"{name}: {text}" if text else name
    if isinstance(error, AmperError):
        # Where in amper it was raised helps nobody.
        return described
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return described
    code = trace.tb_frame.f_code
    return f"{described} ({code.co_name}, {code.co_filename}:{trace.tb_lineno})"
