"""When the kernel gives no more processes, a command is a failed job and nothing else is disturbed."""

from __future__ import annotations

import errno
import os
import resource

import pytest

from amper import PIPE, JobManager
from amper.process import spawn
from tests.handshakes import in_a_process_of_its_own, outcome, result_of


async def exhaust(jobs: JobManager) -> None:
    """Begin what cannot begin, while something runs; then there is room again."""
    running = await jobs.start(["cat"], stdin=PIPE)
    soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    resource.setrlimit(resource.RLIMIT_NPROC, (1, hard))
    for command in (["true"], "exit 3"):
        id = await jobs.start(command)
        assert await jobs.get_status_string(id) == "failed:126"
        result = await result_of(jobs, id)
        assert os.strerror(errno.EAGAIN) in result.text_err()
    assert await jobs.write_stdin(running, b"still there")
    assert await jobs.kill(await jobs.start(["true"])) is False
    resource.setrlimit(resource.RLIMIT_NPROC, (soft, hard))
    assert await jobs.close_stdin(running)
    assert (await result_of(jobs, running)).out == b"still there"
    assert (await outcome(jobs, "echo again")).out == b"again\n"


@in_a_process_of_its_own
async def test_a_fork_that_fails_is_a_job_that_failed_126() -> None:
    become_ordinary()
    async with JobManager() as jobs:
        jobs.set_persist_output_files(False)
        await exhaust(jobs)


@in_a_process_of_its_own
async def test_a_fork_that_fails_on_a_python_that_we_do_not_know() -> None:
    become_ordinary()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spawn, "KNOWN_SIGNATURES", frozenset())
        async with JobManager() as jobs:
            jobs.set_persist_output_files(False)
            await exhaust(jobs)


def become_ordinary() -> None:
    """Give up root's rights, for which there is no limit."""
    # Whatever is imported late must be readable for whoever we are then.
    import subprocess  # noqa: F401 - the fallback's, before its file is out of reach.

    if os.geteuid() == 0:
        os.setgroups(())
        os.setgid(65534)
        os.setuid(65534)
