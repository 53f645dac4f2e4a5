"""The output of a job: its streams, as long as it runs and where they differ from its result after that.

A result's bytes are mostly the very memory of the streams, which can be made from it again.
"""

from __future__ import annotations

from dataclasses import replace

from amper.flow.stream import BoundedStream
from amper.job.job import Job
from amper.job.runner import Streams
from amper.values import ExecResult


def output_of(job: Job) -> Streams | None:
    """Return a job's streams, if it has any or has ended with output. Any thread may ask."""
    runner = job.runner
    streams = None if runner is None else runner.streams
    # The runner of a job that has just ended is not gone yet, and knows no more than the record.
    if runner is not None and not job.status.is_final:
        return streams
    facts, result = job.known, job.result
    if facts.streams is not None or result is None:
        return facts.streams
    dropped = result.out_dropped or result.err_dropped
    if job.containment is None and not result.has_output and not dropped:
        return None
    return closed_streams(result)


def closed_streams(result: ExecResult) -> Streams:
    """Return streams that are closed and hold what `result` does; nothing is copied."""
    return Streams(
        BoundedStream.of(result.out, result.out_dropped),
        BoundedStream.of(result.err, result.err_dropped),
    )


def can_be_made_again(streams: Streams, job: Job, result: ExecResult) -> bool:
    """Return whether `output_of` can do without the streams: the result's bytes are their memory."""
    if job.containment is None and not result.has_output:
        # That they were there at all is all that is known of them.
        return False
    return streams.stdout.is_frozen_as(result.out) and streams.stderr.is_frozen_as(result.err)


def output_size_of(job: Job) -> int:
    """Return how many bytes of output a job keeps."""
    result, facts = job.result, job.facts
    size = len(result.out) + len(result.err) if result is not None else 0
    if facts is not None and facts.streams is not None:
        for stream in facts.streams:
            size += stream.total_written - stream.bytes_evicted
    return size


def drop_output(job: Job) -> None:
    """Let go of a finished job's output, and count what went."""
    result, streams = job.result, job.known.streams
    assert result is not None
    job.result = replace(
        result,
        out=b"",
        err=b"",
        out_dropped=result.out_dropped + len(result.out),
        err_dropped=result.err_dropped + len(result.err),
    )
    if streams is not None:
        streams.stdout.evict()
        streams.stderr.evict()
