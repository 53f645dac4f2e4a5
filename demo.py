"""What amper does, on real input: the standard library of the Python that runs this.

Six commands and a coroutine are jobs of one table, all at once. One command is a check that fails.
One never ends, and is killed with all that it started; none of that listens to SIGTERM.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import os
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from amper import BoundedStream, JobId, JobManager, current_job

LIBRARY: Final = Path(sysconfig.get_path("stdlib"))

SERVER: Final = """\
trap '' TERM
for worker in 1 2 3; do
    (sleep 1000 & sleep 1000 & echo "worker $worker is up, with two helpers"; wait) &
done
wait
"""

COMMANDS: Final = {
    "server": SERVER,
    "compile": [sys.executable, "-m", "compileall", "-f", "json", "email"],
    "sizes": "wc -l *.py | sort -n | tail -n 5",
    "words": r"cat *.py | tr -cs A-Za-z '\n' | sort | uniq -c | sort -rn | head -n 5",
    "hash": "cat *.py | sha256sum",
    "check": "! grep -nw XXX http/*.py",
}

COLOURS: Final = ("cyan", "yellow", "green", "magenta", "blue", "bright_cyan", "bright_yellow")
EXPECTED: Final = dict.fromkeys((*COMMANDS, "longest"), "done:0")
EXPECTED.update({"check": "failed:1", "server": "killed:137"})


class Screen(Console):
    def on_broken_pipe(self) -> None:
        """Go on in silence when nobody reads any more, as in `python demo.py | head`."""
        with contextlib.suppress(SystemExit):
            super().on_broken_pipe()


screen = Screen(highlight=False, soft_wrap=True)


def length(node: ast.FunctionDef) -> int:
    return (node.end_lineno or 0) - node.lineno + 1


async def find_longest() -> int:
    """Look for the longest function. What a coroutine returns is its job's result."""
    job = current_job()
    assert job is not None
    longest = 0
    for path in sorted(LIBRARY.glob("*.py")):
        tree = await asyncio.to_thread(ast.parse, path.read_bytes())
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and length(node) > longest:
                longest = length(node)
                # A job has streams of its own, which anybody can read while it runs.
                job.streams.stdout.write(f"{path.name}: {node.name}, {longest} lines\n".encode())
    return longest


async def start_all(jobs: JobManager, cache: str) -> dict[str, JobId]:
    env = os.environ | {"PYTHONPYCACHEPREFIX": cache}
    ids = {
        name: await jobs.start(command, name=name, cwd=LIBRARY, env=env)
        for name, command in COMMANDS.items()
    }
    return ids | {"longest": jobs.spawn("find_longest()", find_longest(), name="longest")}


async def print_lines(name: str, colour: str, stream: BoundedStream) -> None:
    async for line in stream.lines():
        screen.print(Text.assemble((f"{name:>8} | ", colour), line))


def count_processes(session: int) -> int:
    """Count the living processes of a session, as the kernel sees them."""
    count = 0
    for process in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # It ended while we looked.
            state, _, _, its_session = process.read_text().rpartition(")")[2].split()[:4]
            count += int(its_session) == session and state not in "ZX"
    return count


async def kill_server(jobs: JobManager, server: JobId) -> int:
    """Kill the server once all of it is up; return how many of its processes are left."""
    streams = await jobs.streams(server)
    assert streams is not None
    lines = streams.stdout.lines()
    for _worker in range(3):
        await anext(lines)
    session, _group = await jobs.get_process_info(server) or (0, 0)
    screen.print(f"killing the server: {count_processes(session)} processes", style="bold")
    await jobs.kill(server, reason="the demo is over", by="demo.py")
    left = count_processes(session)
    screen.print(f"the server is dead: {left} processes left", style="bold")
    return left


async def print_table(jobs: JobManager) -> None:
    table = Table("state", "job", "code", "time", "memory, at most", "lines", box=None)
    for info in await jobs.list():
        result = await jobs.try_result(info.id)
        state = Text(info.status, "green" if info.exit_code == 0 else "red")
        lines = 0 if result is None else (result.out + result.err).count(b"\n")
        memory = "-" if info.usage is None else f"{info.usage.max_rss / 2**20:.0f} MiB"
        cells = [str(info.exit_code), f"{info.elapsed:.2f} s", memory, str(lines)]
        table.add_row(state, info.name, *cells)
    screen.print()
    screen.print(table)


async def demo(cache: str) -> bool:
    """Run it all; return whether everything went as told."""
    async with JobManager(grace_period=0.5) as jobs:
        # Everything is shown here, so that nobody needs it in files.
        jobs.set_persist_output_files(False)
        ids = await start_all(jobs, cache)
        names = {id: name for name, id in ids.items()}
        printers = {}
        async with asyncio.TaskGroup() as printing:
            for (id, name), colour in zip(names.items(), COLOURS, strict=True):
                printers[id] = [
                    printing.create_task(print_lines(name, colour, stream))
                    for stream in await jobs.streams(id) or ()
                ]
            async for id, _result in jobs.as_completed(set(names) - {ids["server"]}):
                await asyncio.wait(printers[id])
                screen.print(f"{names[id]} is over: {await jobs.get_status_string(id)}")
            left = await kill_server(jobs, ids["server"])
        await print_table(jobs)
        statuses = {name: await jobs.get_status_string(id) for name, id in ids.items()}
    return left == 0 and statuses == EXPECTED


def main() -> int:
    try:
        with tempfile.TemporaryDirectory() as cache:
            return 0 if asyncio.run(demo(cache)) else 1
    except KeyboardInterrupt:
        screen.print("interrupted: all jobs were ended")
        return 130


if __name__ == "__main__":
    sys.exit(main())
