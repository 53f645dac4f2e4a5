"""What /proc tells of one process."""

from __future__ import annotations

import shutil
from pathlib import Path

from amper.process.descriptors import Reserve
from amper.process.procfs import read_group, read_stat
from tests.handshakes import leading, state_of
from tests.unruly import unruly
from tests.work import NO_PROCESS


def test_a_process_tells_its_group_and_its_parent() -> None:
    with leading("sleep 1000 & echo ready $!; wait") as (pid, (child,)):
        assert read_group(pid, Reserve()) == read_group(child, Reserve()) == pid
        stat = read_stat(child, Reserve())
        assert stat is not None
        assert stat.parent == pid
    assert read_group(NO_PROCESS, Reserve()) is None


def test_a_zombie_is_nobody_and_a_process_without_its_first_thread_is_somebody() -> None:
    with leading(unruly("zombie_child")) as (pid, (zombie,)):
        assert state_of(zombie) == "Z"
        assert read_group(zombie, Reserve()) is None
    with leading(unruly("leave_headless")) as (pid, (headless,)):
        assert state_of(headless) == "Z"
        assert read_group(headless, Reserve()) == pid


def test_a_name_may_hold_anything(tmp_path: Path) -> None:
    program = shutil.copy("/bin/sleep", tmp_path / "a) Z 1 (b")
    with leading([str(program), "1000"], speaks=False) as (pid, _):
        assert read_group(pid, Reserve()) == pid
