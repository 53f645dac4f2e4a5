from __future__ import annotations

from pathlib import Path

import pytest

from amper.frontends.shell.programs import OF_SH, is_program
from amper.frontends.shell.state import State
from tests.frontends.shell.workbench import bench
from tests.shells import SHELLS, shell_says
from tests.support import run


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name, mode in (("good", 0o755), ("bad", 0o644), ("test", 0o755)):
        file = tmp_path / name
        file.write_text("#!/bin/sh\necho program $$ $X\n")
        file.chmod(mode)
    return tmp_path


def test_a_program_is_what_is_there_to_be_executed_and_nothing_of_sh(directory: Path) -> None:
    state = State({"PATH": f"{directory}:/usr/bin:/bin"})
    state.move(str(directory))
    state.functions["ls"] = "ls() { echo mine; }"
    known = {name: is_program(name, state) for name in ("good", "bad", "test", "ls", "sleep", "no")}
    assert known == {
        "good": True, "bad": False, "test": False, "ls": False, "sleep": True, "no": False,
    }  # fmt: skip
    assert is_program("./good", state)
    assert is_program("./test", state)
    assert not is_program("./bad", state)
    assert not is_program("/", state)
    state.assign("PATH", "")
    assert not is_program("sleep", state)


@pytest.mark.parametrize("shell", SHELLS)
def test_no_builtin_of_a_shell_is_taken_for_a_program(shell: str, tmp_path: Path) -> None:
    paths = ("/usr/bin", "/bin", "/usr/sbin", "/sbin")
    names = sorted({file.name for path in paths for file in Path(path).iterdir()} - OF_SH)
    names = [name for name in names if name.replace("-", "").replace("_", "").isalnum()]
    script = "".join(f"command -v {name}\n" for name in names)
    found = shell_says(shell, script, tmp_path).splitlines()
    assert found
    assert [name for name in found if "/" not in name] == []


@pytest.mark.parametrize(
    "line, is_alone",
    [
        ("good", True),
        ("  good # for the best", True),
        ("X=1 good >out 2>&1 <<E\n$HOME\nE", True),
        (">out good", True),
        ("good &", True),
        ("! good", False),
        ("good; good", False),
        ("good && good", False),
        ("good | cat", False),
        ("(good)", False),
        ("{ good; }", False),
        ("go'od'", False),
        ("$X", False),
        ("X=1", False),
        ("bad", False),
        ("echo good", False),
    ],
)
def test_a_program_that_is_all_of_a_line_takes_the_place_of_its_sh(
    directory: Path, line: str, is_alone: bool
) -> None:
    async def main() -> None:
        async with bench(directory) as shell:
            shell.state.assign("PATH", f"{directory}:{shell.state.get('PATH')}")
            await shell.type(line)
            scripts = [order.script for order in shell.launcher.orders]
            assert [" exec good" in f" {script}" for script in scripts].count(True) == is_alone
            assert all(order.title in line for order in shell.launcher.orders)

    run(main())


def test_what_comes_of_it_is_what_comes_of_any_command(directory: Path) -> None:
    async def main() -> None:
        async with bench(directory) as shell:
            shell.state.assign("PATH", f"{directory}:{shell.state.get('PATH')}")
            await shell.type("Y=2")
            assert (await shell.says("X=1 good")).split()[0::2] == ["program", "1"]
            assert await shell.says("expr $Y + 1") == "3\n"
            assert await shell.says("cat <<E\n$Y\nE") == "2\n"
            assert await shell.type("sh -c 'exit 7'") == ("", 7)
            assert await shell.says("expr $? + 1") == "8\n"
            assert await shell.type("nothing-of-this-name") == ("", 127)
            assert b"exec" not in shell.err.data

    run(main())
