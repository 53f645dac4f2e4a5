"""The table at the end of a run: what became of each job."""

from __future__ import annotations

import io
import resource
from collections.abc import Iterable, Mapping
from typing import Final

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from amper.frontends.cli import terminal
from amper.frontends.cli.names import printable
from amper.values import JobInfo

UNBOUNDED: Final = 100_000
"""The width of a page that is no screen: nothing is cut off."""


def table_of(infos: Iterable[JobInfo], not_run: Mapping[str, str]) -> bytes:
    """Return the table as standard error can show it; `not_run` has commands by name."""
    # Of one width for all that most jobs hold, so that two tables can be compared.
    memory = Column("memory", min_width=len("< 99.9 MiB"))
    table = Table("", "job", "code", "time", memory, "command", box=None, pad_edge=False)
    for info in infos:
        style = "green" if info.exit_code == 0 else "red"
        cells = (info.name or "", str(info.exit_code), time_of(info), memory_of(info))
        table.add_row(Text(info.status, style), *map(Text, cells), _command(info.command))
    for name, command in not_run.items():
        table.add_row("not run", Text(name), "-", "-", "-", _command(command))
    page = io.StringIO()
    coloured = terminal.has_colours(2)
    Console(
        file=page,
        width=terminal.width(2) if terminal.is_terminal(2) else UNBOUNDED,
        force_terminal=coloured,
        color_system="standard" if coloured else None,
        highlight=False,
    ).print(table)
    return "".join(f"{line.rstrip()}\n" for line in page.getvalue().splitlines()).encode()


def _command(text: str) -> Text:
    return Text(printable(text), overflow="ellipsis", no_wrap=True)


def time_of(info: JobInfo) -> str:
    """Return how long a job ran."""
    return f"{info.elapsed:.2f} s" if info.started_at else "-"


def memory_of(info: JobInfo) -> str:
    """Return the most memory that a job's leader, or a child that it waited for, has held."""
    if info.usage is None:
        return "-"
    # Linux counts what we held ourselves at the start of the command; a smaller one does not show.
    ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    bound = "< " if info.usage.max_rss <= ours else ""
    return f"{bound}{info.usage.max_rss / 2**20:.1f} MiB"
