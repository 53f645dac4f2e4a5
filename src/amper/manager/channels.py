"""Jobs that run elsewhere and report through a channel, or through `finish`."""

from __future__ import annotations

import asyncio
from typing import Any

from amper.flow.oneshot import Receiver
from amper.job.runner import Streams
from amper.manager.coroutines import CANCELLED, closed, failed, result_of
from amper.manager.runner import LocalRunner
from amper.values import Ended, EndedBy

Channel = Receiver[Any] | asyncio.Future[Any]


class ChannelRunner(LocalRunner):
    """Waits for somebody else's report."""

    def __init__(self, channel: Channel | None, streams: Streams | None = None) -> None:
        super().__init__(streams)
        self._channel = channel

    def start(self) -> None:
        channel = self._channel
        if isinstance(channel, Receiver):
            channel.on_result(self._received)
        elif channel is not None:
            channel.add_done_callback(self._received)

    def loop_closed(self) -> None:
        channel = self._channel
        if isinstance(channel, Receiver):
            channel.on_result(self._received)
        elif channel is not None and channel.done():
            self._received(channel)
        elif channel is not None:
            # Nobody can settle a future of a loop that is closed.
            self.claim(EndedBy("loop_closed"))
            self._report(Ended(closed(self.streams, CANCELLED)))

    @property
    def needs_place(self) -> bool:
        # It runs elsewhere already.
        return False

    @property
    def has_work(self) -> bool:
        # Without a token there is nobody to ask; the process groups are another matter.
        return not self.is_over and self.token is not None

    def finish(self, value: Any) -> None:
        """End the job with a result, or with any other value as its data."""
        self._report(Ended(result_of(self.streams, value)))

    def close(self) -> None:
        # Whoever does the work elsewhere may listen.
        if self.token is not None:
            self.token.cancel(None if self.ended_by is None else self.ended_by.reason)
        self._report(Ended(closed(self.streams, CANCELLED)))

    def _received(self, channel: Channel) -> None:
        # Asked for also when the job is over, so that a future's error does not count as unseen.
        try:
            value = channel.result()
            if not self.is_over:
                self.finish(value)
        except asyncio.CancelledError:
            self.claim(EndedBy("cancel"))
            self._report(Ended(closed(self.streams, CANCELLED)))
        except BaseException as error:  # noqa: BLE001 - whatever it was, it is how the job ended.
            self._report(Ended(failed(self.streams, error)))

    def _report(self, report: Ended) -> None:
        if not self.is_over:
            self.reports.job_ended(self, report)


def check_channel(channel: object) -> Channel:
    """Return the receiving end of a channel. Raises TypeError or ValueError for anything else."""
    if isinstance(channel, Receiver):
        return channel
    if asyncio.isfuture(channel):
        if channel.get_loop() is not asyncio.get_running_loop():
            raise ValueError("the future belongs to another event loop, which will not tell us")
        return channel
    raise TypeError(
        "a registered job reports through the receiver of oneshot() or through an asyncio.Future, "
        f"not through {type(channel).__name__}"
    )
