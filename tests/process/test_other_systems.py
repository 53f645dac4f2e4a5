"""Systems other than Linux: what is there is told, and nothing fails for reasons of its own."""

from __future__ import annotations

import pytest

from tests.handshakes import run_script

ELSEWHERE = """
import sys
sys.platform = "darwin"
{0}
"""

TOLD = "amper needs Linux, with its pidfds, epoll and /proc: this is darwin\n"


@pytest.mark.parametrize("name", ["JobManager", "current_job", "PIPE"])
def test_the_library_says_what_it_needs(name: str) -> None:
    importing = f"try: from amper import {name}\nexcept ImportError as error: print(error)"
    assert run_script(ELSEWHERE.format(importing)) == TOLD


def test_the_command_says_what_it_needs() -> None:
    calling = "import amper.frontends.cli as cli\nsys.stderr = sys.stdout\nassert cli.main([]) == 1"
    assert run_script(ELSEWHERE.format(calling)) == f"amper: {TOLD}"
