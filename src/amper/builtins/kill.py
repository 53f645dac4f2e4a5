"""`kill`: send a signal to jobs and processes, or end jobs and see them dead.

Its arguments are read by hand: `-9`, `-INT` and a process group `-123` look like options, and no
parser of options can tell them apart.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from amper.builtins.manual import HelpAsked, Manual, Report, UsageError, builtin, find, find_by_pid
from amper.builtins.signals import (
    signal_name,
    signal_names,
    signal_number,
    signal_of_code,
)
from amper.manager import JobManager
from amper.process.stranger import signal_stranger
from amper.values import JobId, JobInfo, JobStatus

MANUAL: Final = Manual(
    "kill [-s SIGNAL | -n NUMBER | -SIGNAL | --wait [--grace SECONDS]] job | pid ... or "
    "kill -l [SIGNAL ...]",
    """
Send a signal, TERM if none is named, to jobs and processes. One that fails does not stop the
others; the code is 1 then.

  -s SIGNAL, -SIGNAL   a name (TERM, SIGTERM, term) or a number
  -n NUMBER            a number
  --wait               end jobs instead: TERM, then KILL, and return when nothing of them is left
  --grace SECONDS      how long to wait between the two
  -l [SIGNAL ...]      list the signals, or tell the name of a number (or of an exit code, 128 and
                       more) and the number of a name
  --                   what follows is no option

A bare number is a pid, and means the job where it is that of a job's leader; a negative one is a
process group.
""",
)

NO_PROCESS: Final = 2**31 - 1
"""A number that no process has."""

_ENDING: Final = frozenset(
    {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGKILL}
)
"""What these do to a process, cancelling does to a job that has none."""

_OVER: Final = "no such process: the job is over"
_DEATHLESS: Final = "there was nothing to kill, or something of it does not die"

_ENDS_A_STOP: Final = frozenset({signal.SIGHUP, signal.SIGTERM, signal.SIGKILL})
"""Shells let a stopped job run on that gets one of the first two: it could not end otherwise. KILL
needs no such help, but whoever waits for the job then must not hear that it is stopped."""


@dataclass
class Order:
    """What is to be done to whom."""

    number: int | None = None
    lists: bool = False
    waits: bool = False
    grace: float | None = None
    targets: list[str] = field(default_factory=list)


@builtin(MANUAL)
async def kill(manager: JobManager, arguments: Sequence[str], report: Report) -> None:
    """Signal jobs and processes; with `--wait`, return when the jobs are provably dead."""
    order = read_order(arguments)
    if order.lists:
        _list(order.targets, report)
    elif order.waits:
        await _end(manager, order, report)
    else:
        number = signal.SIGTERM if order.number is None else order.number
        for target in order.targets:
            await _send(manager, target, number, report)


# Reading the arguments.


def read_order(arguments: Sequence[str]) -> Order:
    """Return what the arguments ask for."""
    order = Order()
    words = list(arguments)
    while words and words[0].startswith("-"):
        word = words.pop(0)
        if word == "--":
            break
        if order.number is not None and word[1:].isdigit():
            # The signal is known: this is a process group.
            words.insert(0, word)
            break
        _read_option(order, word, words)
        if order.lists:
            break
    order.targets = words
    _check(order)
    return order


def _read_option(order: Order, word: str, words: list[str]) -> None:
    name, equals, value = word.partition("=")
    if word == "--help":
        raise HelpAsked
    if word in ("-l", "-L"):
        order.lists = True
    elif word == "--wait":
        order.waits = True
    elif name == "--grace":
        order.grace = _seconds(value if equals else _value_of(word, words))
    elif word in ("-s", "-n"):
        order.number = _signal(_value_of(word, words), word)
    elif signal_number(word[1:]) is None and word[:2] in ("-s", "-n"):
        order.number = _signal(word[2:], word[:2])
    else:
        order.number = _signal(word[1:], "-")


def _value_of(option: str, words: list[str]) -> str:
    if not words:
        raise UsageError(f"{option} needs a value")
    return words.pop(0)


def _signal(name: str, option: str) -> int:
    number = signal_number(name)
    if number is None or (option == "-n" and not name.isdigit()):
        raise UsageError(f"{name}: no such signal (kill -l lists them)")
    return number


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    # Written so that a NaN is refused, too.
    if not seconds >= 0:
        raise UsageError(f"--grace {text}: give a number of seconds")
    return seconds


def _check(order: Order) -> None:
    if order.lists:
        return
    if not order.targets:
        raise UsageError("whom? give a job or a pid")
    if order.grace is not None and not order.waits:
        raise UsageError("--grace is for --wait")
    if order.waits and order.number is not None:
        raise UsageError("--wait sends TERM and then KILL: name no signal")


# Listing.


def _list(names: Sequence[str], report: Report) -> None:
    if not names:
        for name in signal_names():
            report.say(name)
    for name in names:
        is_number = name.isascii() and name.isdigit()
        number = signal_of_code(name) if is_number else signal_number(name)
        if number is None:
            report.complain(f"{name}: no such signal (kill -l lists them)")
        elif is_number:
            report.say("EXIT" if number == 0 else signal_name(number))
        else:
            report.say(str(number))


# Sending.


async def _send(manager: JobManager, target: str, number: int, report: Report) -> None:
    if target.startswith("%"):
        info = await find(manager, target, report)
    elif (info := await find_by_pid(manager, target)) is None:
        _send_to_process(target, number, report)
    if info is not None and not await _send_to_job(manager, info, number):
        if info.status.is_final:
            report.complain(f"{target}: {_OVER}")
        else:
            report.complain(
                f"{target}: the job has no process that {signal_name(number)} could reach"
            )


async def _send_to_job(manager: JobManager, info: JobInfo, number: int) -> bool:
    if await manager.signal(info.id, number):
        if number in _ENDS_A_STOP and info.status is JobStatus.STOPPED:
            await manager.signal(info.id, signal.SIGCONT)
        return True
    if info.status.is_final:
        return False
    if number == 0:
        return True
    return number in _ENDING and await manager.cancel(
        info.id, reason=f"kill -{signal_name(number)}"
    )


def _send_to_process(target: str, number: int, report: Report) -> None:
    digits = target.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        report.complain(f"{target}: neither a pid nor a job (a job is %{digits})")
        return
    try:
        # No pid is as long; the kernel's calls take no more.
        signal_stranger(int(target) if len(digits) <= 9 else NO_PROCESS, number)
    except OSError as error:
        report.complain(f"({target}) - {os.strerror(error.errno or 0)}")
    except ValueError as error:
        report.complain(f"({target}) - {error}")


# Ending.


async def _end(manager: JobManager, order: Order, report: Report) -> None:
    """End jobs at the same time. Cancelled, it waits no more; the jobs die all the same."""
    ids: dict[JobId, str] = {}
    over: set[str] = set()
    for target in order.targets:
        if target.startswith("%"):
            info = await find(manager, target, report)
        elif (info := await find_by_pid(manager, target)) is None:
            report.complain(f"{target}: --wait is for jobs (a job is %1, %name, ...)")
        if info is not None:
            ids.setdefault(info.id, target)
            if info.status.is_final and not await manager.signal(info.id, 0):
                over.add(target)
    async with asyncio.TaskGroup() as group:
        kills = {
            target: group.create_task(manager.kill(id, grace_period=order.grace))
            for id, target in ids.items()
        }
    for target, task in kills.items():
        if not task.result():
            report.complain(f"{target}: {_OVER if target in over else _DEATHLESS}")
