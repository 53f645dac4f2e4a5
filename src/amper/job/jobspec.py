"""Job specs: how people name a job, as POSIX has it, and which job is meant.

    %% %+ %      the current job           %-       the previous job
    %3  3        the job with that id      %?text   the job whose command contains `text`
    %word        the job that is named `word`, or whose command begins with it

Finished jobs stay in a table for long, so that those which are not over come first: `%make` is the
`make` that runs, however many there were before. Among equals a name comes before a command.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from amper.errors import AmbiguousJobSpec, InvalidJobSpec, NoSuchJob
from amper.job.job import Job
from amper.job.table import JobTable
from amper.values import JobId

_LONGEST_ID: Final = 18
"""Digits. No table counts further, and Python refuses to read numbers of any length."""


def find_job(table: JobTable, spec: str) -> Job:
    """Return the job that a spec, or a bare id, means.

    Raises:
        InvalidJobSpec: it is neither.
        NoSuchJob: nothing matches.
        AmbiguousJobSpec: several jobs match equally well.
    """
    body = _body_of(spec)
    if body in ("", "%", "+"):
        return _existing(table, table.order.first_two[0], spec)
    if body == "-":
        return _existing(table, table.order.first_two[1], spec)
    if is_id(body):
        id = JobId(int(body)) if len(body) <= _LONGEST_ID else None
        return _existing(table, id, spec)
    if body.startswith("?"):
        text = body[1:]
        return _one_of(table.jobs(), spec, lambda job: text in job.command)
    return _one_of(
        table.jobs(),
        spec,
        lambda job: job.known.name == body,
        lambda job: job.command.startswith(body),
    )


def is_id(text: str) -> bool:
    """Return whether a text is a bare number."""
    return text.isascii() and text.isdigit()


def _body_of(spec: str) -> str:
    if is_id(spec):
        return spec
    if not spec.startswith("%") or spec == "%?":
        raise InvalidJobSpec(spec)
    return spec[1:]


def _existing(table: JobTable, id: JobId | None, spec: str) -> Job:
    job = None if id is None else table.get(id)
    if job is None:
        raise NoSuchJob(spec)
    return job


def _one_of(jobs: list[Job], spec: str, *tests: Callable[[Job], bool]) -> Job:
    """Return the one job that passes the first of the tests that any job passes."""
    unfinished = [job for job in jobs if not job.status.is_final]
    finished = [job for job in jobs if job.status.is_final]
    for candidates in (unfinished, finished):
        for passes in tests:
            found = [job for job in candidates if passes(job)]
            if len(found) == 1:
                return found[0]
            if found:
                raise AmbiguousJobSpec(spec, [(int(job.id), job.command) for job in found])
    raise NoSuchJob(spec)
