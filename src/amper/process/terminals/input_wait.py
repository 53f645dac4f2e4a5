"""Whether a program is blocked until somebody types: what the kernel says its threads are doing now.

A thread is blocked on a terminal if it sleeps in a read from it, or in a wait without a deadline that
nothing but the terminal, or the program itself, can end. Whoever waits for the network as well, or
until some time, goes on without us.

1. The evidence is of one moment. It is taken when somebody asks, and nothing is watched.
2. It takes the right to trace a process. Without it there is one hint left (`wchan`), or else nobody
   knows. It is the same on a machine whose system calls are not in the table.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from amper.process.descriptors import NO_DESCRIPTORS
from amper.process.terminals.socket_peer import peer_of
from amper.process.terminals.terminal import controlling_terminal

_CALLS: Final[dict[str, dict[int, str]]] = {
    "x86_64": {
        0: "read", 19: "read", 7: "poll", 271: "ppoll", 219: "restart", 23: "select", 270: "select",
        232: "epoll", 281: "epoll", 441: "epoll2",
    },
    "aarch64": {63: "read", 65: "read", 73: "ppoll", 72: "select", 22: "epoll", 441: "epoll2"},
}  # fmt: skip
"""The system calls of each machine that wait for input. Those that only differ in what does not matter
here have the same name; `restart` is what becomes of `poll` when the program was stopped meanwhile."""

_IN_A_READ: Final = b"n_tty_read"
_IN_A_POLL: Final = frozenset({b"do_sys_poll", b"do_poll", b"poll_schedule_timeout"})
"""Where in the kernel a thread sleeps, as far as kernels agree on it."""

_DEV_TTY: Final = os.makedev(5, 0)
"""Whoever opened `/dev/tty` has opened the terminal that controls him, by another number."""

_MOST_WATCHED: Final = 1024
"""Descriptors in one wait. A server has more, and is not waiting for a person."""

_POLLFD: Final = struct.Struct("ihh")
_READABLE: Final = 0x1 | 0x2
"""POLLIN and POLLPRI; epoll's have the same values."""

_WRITABLE: Final = 0x4

_NO_DEADLINE: Final = 0xFFFFFFFF
"""-1, as a 32-bit register has it."""


class _Unknown(Exception):
    """We may not look, or cannot understand what is there."""


class _Thread(NamedTuple):
    """A thread that sleeps in a system call."""

    pid: int
    id: int
    call: str
    arguments: list[int]


def waits_for_input(pids: Iterable[int], device: int) -> bool | None:
    """Return whether one of these processes is blocked until somebody types on a terminal.

    They are the members of the group in front of the terminal of this number (`st_rdev`): whoever is
    not in front is stopped when he reads. None if one of them may be blocked, and nobody can tell.
    """
    try:
        return _is_one_blocked(pids, device)
    except OSError as error:
        if error.errno not in NO_DESCRIPTORS:
            raise
        # There is none to look with.
        return None


def _is_one_blocked(pids: Iterable[int], device: int) -> bool | None:
    is_known = True
    for pid in pids:
        try:
            for name in os.listdir(f"/proc/{pid}/task"):
                if _is_blocked(pid, int(name), device):
                    return True
        except (_Unknown, PermissionError):
            is_known = False
        except (FileNotFoundError, ProcessLookupError):
            continue  # It is gone.
    return False if is_known else None


def _is_blocked(pid: int, id: int, device: int) -> bool:
    try:
        thread = _read_thread(pid, id)
    except PermissionError:
        return _is_seen_reading(pid, id, device)
    if thread is None or _state(pid, id) != b"S":
        return False
    if thread.call == "read":
        return _is_terminal(pid, thread.arguments[0], device)
    watched = list(_WATCHED[thread.call](thread))
    return any(_is_terminal(pid, fd, device) for fd in watched) and all(
        _is_terminal(pid, fd, device) or _is_internal(pid, fd) for fd in watched
    )


def _read_thread(pid: int, id: int) -> _Thread | None:
    """Return what a thread sleeps in; None if that is nothing that waits for input."""
    words = _read(f"/proc/{pid}/task/{id}/syscall").split()
    if not words or not words[0].isdigit():
        return None  # It runs, or it sleeps for a reason of the kernel's own.
    calls = _CALLS.get(os.uname().machine)
    if calls is None:
        raise _Unknown
    call = calls.get(int(words[0]))
    if call is None or (call == "restart" and _place(pid, id) not in _IN_A_POLL):
        return None
    return _Thread(pid, id, call, [int(word, 16) for word in words[1:7]])


def _is_seen_reading(pid: int, id: int, device: int) -> bool:
    """Tell without the right to trace. Raises _Unknown where nothing is seen."""
    if _place(pid, id) == _IN_A_READ and controlling_terminal(pid) == device:
        return True
    raise _Unknown


def _by_poll(thread: _Thread) -> Iterator[int]:
    entries, count, timeout = thread.arguments[:3]
    if timeout & _NO_DEADLINE == _NO_DEADLINE:
        yield from _polled(thread.pid, entries, count)


def _by_ppoll(thread: _Thread) -> Iterator[int]:
    entries, count, timeout = thread.arguments[:3]
    if timeout == 0:
        yield from _polled(thread.pid, entries, count)


def _polled(pid: int, address: int, count: int) -> Iterator[int]:
    if 0 < count <= _MOST_WATCHED:
        for fd, events, _ in _POLLFD.iter_unpack(_memory(pid, address, count * _POLLFD.size)):
            # A negative number is a place that is not used; an error is all that no event waits for.
            if fd >= 0 and events:
                yield fd if not events & _WRITABLE else -1


def _by_select(thread: _Thread) -> Iterator[int]:
    count, readable, writable, _, timeout = thread.arguments[:5]
    if timeout or not 0 < count <= _MOST_WATCHED:
        return
    # The kernel takes whole words; so has whoever declared the sets.
    size = (count + 63) // 64 * 8
    if writable and any(_bits(thread.pid, writable, size, count)):
        yield -1
    if readable:
        for fd, is_watched in enumerate(_bits(thread.pid, readable, size, count)):
            if is_watched:
                yield fd


def _bits(pid: int, address: int, size: int, count: int) -> list[bool]:
    number = int.from_bytes(_memory(pid, address, size), "little")
    return [bool(number >> fd & 1) for fd in range(count)]


def _by_epoll(thread: _Thread) -> Iterator[int]:
    if thread.arguments[3] & _NO_DEADLINE == _NO_DEADLINE:
        yield from _in_epoll(thread)


def _by_epoll2(thread: _Thread) -> Iterator[int]:
    if thread.arguments[3] == 0:
        yield from _in_epoll(thread)


def _in_epoll(thread: _Thread) -> Iterator[int]:
    for line in _read(f"/proc/{thread.pid}/fdinfo/{thread.arguments[0]}").splitlines():
        words = line.split()
        if words and words[0] == b"tfd:":
            events = int(words[3], 16)
            if events & (_READABLE | _WRITABLE):
                yield int(words[1]) if not events & _WRITABLE else -1


_WATCHED: Final[dict[str, Callable[[_Thread], Iterator[int]]]] = {
    "poll": _by_poll,
    "restart": _by_poll,
    "ppoll": _by_ppoll,
    "select": _by_select,
    "epoll": _by_epoll,
    "epoll2": _by_epoll2,
}
"""What yields the descriptors that a wait without a deadline watches: -1 for one that waits to write."""


def _is_terminal(pid: int, fd: int, device: int) -> bool:
    try:
        found = os.stat(f"/proc/{pid}/fd/{fd}").st_rdev
    except FileNotFoundError:
        return False
    return found == device or (found == _DEV_TTY and controlling_terminal(pid) == device)


def _is_internal(pid: int, fd: int) -> bool:
    """Return whether a descriptor is how the program wakes itself up: nobody else will."""
    try:
        target = os.readlink(f"/proc/{pid}/fd/{fd}")
    except FileNotFoundError:
        return False
    if target in ("anon_inode:[eventfd]", "anon_inode:[signalfd]"):
        return True
    kind, _, inode = target.rstrip("]").partition(":[")
    if kind == "pipe":
        return _files(pid).count(target) > 1
    if kind != "socket":
        return False
    # Of what is no Unix socket somebody else has the other end.
    if inode.encode() not in _read(f"/proc/{pid}/net/unix").split():
        return False
    try:
        return f"socket:[{peer_of(int(inode))}]" in _files(pid)
    except OSError as error:
        raise _Unknown from error


def _files(pid: int) -> list[str]:
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except FileNotFoundError:
            continue  # It was closed meanwhile.
    return found


def _state(pid: int, id: int) -> bytes:
    text = _read(f"/proc/{pid}/task/{id}/stat")
    return text[text.rindex(b")") + 2 :][:1]


def _place(pid: int, id: int) -> bytes:
    """Return where in the kernel a thread sleeps, if that may be known."""
    # A compiler that has made its own version of a function adds to its name.
    return _read(f"/proc/{pid}/task/{id}/wchan").partition(b".")[0]


def _memory(pid: int, address: int, size: int) -> bytes:
    fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.pread(fd, size, address)
    except (OSError, OverflowError) as error:
        # It goes on meanwhile, or it is a program for another kind of machine.
        raise _Unknown from error
    finally:
        os.close(fd)
    if len(data) < size:
        raise _Unknown
    return data


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.readall()
