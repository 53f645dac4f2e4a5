"""The last things that happened, numbered, for anybody to replay.

Two or three of them are written for every job, so an event is kept as a tuple and becomes an
`Event` when somebody reads it.
"""

from __future__ import annotations

from collections import deque
from time import time
from typing import Final

from amper.flow.settle import Waiter, settle
from amper.job.job import Job
from amper.values import EndedBy, Event, EventKind, EventPage, JobId, JobStatus, utc

EVENTS_KEPT: Final = 10_000

_Entry = tuple[float, EventKind, JobId, str, str, int | None, int | None, EndedBy | None]
"""A status is kept as its string: the collector need not look into a tuple of plain values."""


class EventLog:
    """A bounded log of events; `next` is the number that the next one gets."""

    __slots__ = ("_entries", "is_closed", "next", "waiters")

    def __init__(self, kept: int = EVENTS_KEPT) -> None:
        self._entries: deque[_Entry] = deque(maxlen=kept)
        self.next = 1
        self.is_closed = False
        self.waiters: set[Waiter[None]] = set()

    @property
    def last(self) -> int:
        """The number of the last event; 0 before the first."""
        return self.next - 1

    def append(self, kind: EventKind, job: Job) -> None:
        """Write down what has happened to a job that is not over."""
        self.record(time(), kind, job.id, job.command, job.status._value_, None, None, None)

    def record(self, *entry: *_Entry) -> None:
        """Write down an entry as it is, and wake who waits for it.

        Of the end there is only the code: the log must not keep the output of a job that was removed.
        """
        self._entries.append(entry)
        self.next += 1
        if self.waiters:
            self._wake()

    def close(self) -> None:
        """Let readers end when they have read the last event."""
        self.is_closed = True
        self._wake()

    def read(self, since: int, limit: int | None = None) -> EventPage:
        """Return the events after number `since`, at most `limit` of them.

        What was dropped before they could be read is counted, and stands as a `missed` event at the
        head of the page. Raises ValueError for a negative `since` or `limit`.
        """
        if since < 0 or (limit is not None and limit < 0):
            raise ValueError("since and limit must not be negative")
        entries = self._entries
        oldest = self.next - len(entries)
        missed = max(0, oldest - 1 - since)
        room = len(entries) + 1 if limit is None else limit
        events: list[Event] = []
        if missed and room:
            since = oldest - 1
            events.append(Event(since, utc(entries[0][0]), "missed", count=missed))
            room -= 1
        last = min(self.last, since + room)
        events += [
            _event(number, entries[number - oldest]) for number in range(since + 1, last + 1)
        ]
        return EventPage(tuple(events), last, missed)

    def _wake(self) -> None:
        waiters, self.waiters = self.waiters, set()
        for waiter in waiters:
            settle(waiter, None)


def _event(number: int, entry: _Entry) -> Event:
    time, kind, job_id, command, status, code, signal, ended_by = entry
    known = JobStatus(status)
    if known is JobStatus.LOST:
        # The result has one, but nobody knows how the job ended.
        code = None
    return Event(number, utc(time), kind, job_id, command, known, code, signal, ended_by)
