from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from amper.frontends.shell.asking import ends_too_early
from tests.frontends.shell.workbench import bench
from tests.support import run
from tests.work import on_a_loop

AS_IN_SH = [
    "echo a; echo b",
    "cd /tmp && pwd",
    "cd /tmp; pwd; cd -; pwd",
    "cd /nowhere || echo no",
    "X=1; echo $X",
    "X='a  b' Y=c; echo \"$X$Y\" $X",
    "X=$(echo a; exit 3); echo $? $X",
    "X=~; echo $X",
    'X=*; echo "$X"',
    "X=1; X=2 env | grep ^X=; echo $X",
    "export X=5; env | grep ^X=",
    "X=5; env | grep ^X=; export X; env | grep ^X=",
    "X=5; unset X; echo ${X-unset}",
    "export X=1; unset X; env | grep ^X= || echo no",
    "A=1 B=2; echo $A$B",
    "A=x; B=$A$A; echo $B",
    "false; echo $?",
    "(exit 7); echo $? $?",
    "! false; echo $?",
    "! cd /nowhere; echo $?",
    "! cd /tmp; echo $?; pwd",
    "cd /tmp | cat; pwd | tr a-z A-Z",
    "pwd >out; cat out; cd /; cat out",
    "cd '/tmp'; pwd",
    'cd "$HOME"; pwd',
    "cd ~; pwd",
    "cd; pwd",
    "mkdir 'a b'; cd 'a b'; pwd",
    "mkdir -p d/e; cd d/e; cd ..; pwd; cd ../d; pwd",
    "ln -s / l; cd l; pwd; pwd -P; cd ..; pwd",
    "mkdir d1; cd d*; pwd",
    "HOME=/tmp cd; pwd; echo $HOME",
    "f() { echo $1; }; cd /; f x; f y",
    "f() { return 4; }; cd /; f; echo $?",
    'cd /; echo $0 $# "$2"',
    'cd /; for x in "$@"; do echo $x; done',
    "cd / && cat <<E && cd /tmp && pwd\n$PWD\nE",
    "echo a; exit 4; echo b",
    "false; exit",
    "true || exit 3; echo a; false || exit 3; echo b",
    "if true; then exit 5; fi; cd /",
    "(exit 5); cd /; echo a",
    "{ exit 6; }; cd /",
    "echo exit; cd /; echo b",
    "false && cd / || cd /tmp; pwd",
    "true || cd / && cd /tmp; pwd",
    "cd /tmp & pwd; wait",
    "X=1 true; echo ${X-unset}",
    "X=${Y-z}; echo $X",
    "cd ${X-/tmp}; pwd",
    "cd $(echo /tmp); pwd",
    "x() { cd /tmp; }; x; pwd",
    "cd /\npwd\n\nexit 3",
    "echo ~ '~' \"~\"",
    "cd /tmp # pwd\npwd",
    "echo a # exit 3",
    "exit 300",
    'cd ""; pwd',
    "IFS=:; X=a:b; echo $X",
    "cd -- /tmp; pwd",
    "cd /tmp/; pwd; cd //; pwd",
    "unset -f f; f() { echo x; }; cd /; unset -f f; f 2>/dev/null || echo gone",
    'cd /tmp >f; cat "$OLDPWD/f"; pwd',
    "export A; A=3; env | grep ^A=",
    "if true; then cd /tmp; fi; pwd",
    "(cd /tmp); pwd",
    "for d in /tmp /; do cd $d; done; pwd; cd -",
    "cd / && ! true; echo $?",
    "{ cd /tmp; cd - >/dev/null; }; echo $OLDPWD",
    "echo [$!]; set -u; echo $!",
    "(exit 3) & wait $!; echo $?",
    "(exit 3) & p=$!; wait $p; echo $?; [ $p = $! ] && echo same",
    "(exit 3) & (exit 4) & wait $!; echo $?",
    "f() { [ $1 = $! ] && echo same; }; (exit 3) & p=$!; cd /; f $p; : & f $!; f $p",
    "(exit 3) & { p=$!; (exit 4) & wait $!; echo $?; [ $p = $! ] || echo another; }",
    "sleep 100 & kill $!; wait $!; echo $?",
    'sleep 100 & kill -9 "${!}"; wait ${!:-}; echo $?',
    "(exit 3) & wait $!; kill $! 2>/dev/null || echo over",
    "go() { cd /tmp; }; cd /; go; cd .; pwd",
    "go() { cd /tmp; }; on() { go; }; cd .; on; cd .; pwd",
    "out() { exit 3; }; cd .; out; echo never",
    "for i in 1 2; do X=$i; done; cd .; echo $X $i",
    "i=0; cd .; while [ $i -lt 3 ]; do i=$((i+1)); done; cd .; echo $i",
    "f() { X=5; export Y=6; unset Z; }; Z=1; cd .; f; cd .; echo $X ${Z-no}; env | grep ^Y=",
    ": ${X:=7}; cd .; echo $X",
    "read X Y <<E\na b c\nE\ncd .; echo $Y $X",
    "X=1; { X=2; (X=3); X=4 | cat; }; cd .; echo $X",
    "if true; then export X=1; fi; cd .; env | grep ^X=",
    "X=1; if true; then export X; fi; cd .; X=2; env | grep ^X=",
    "export X=1; if true; then unset X; fi; cd .; echo ${X-no}; env | grep ^X= || echo no",
    "if true; then X='a\n b'; Y=; fi; cd .; echo \"$X\" ${Y-no}",
    "if true; then IFS=1; fi; X=$(exit 11); echo $?; if true; then X=; (exit 11); fi; echo $?",
    "if true; then PATH=/nowhere; fi; cd .; env || echo no",
    "if true; then (exit 9); X=1; (exit 4); fi; echo $?",
    'export X=$(echo a b); cd .; echo "$X"',
    "HOME=/h; export X=~/bin:~/y Y='~'; cd .; echo $X $Y",
    "X=$(echo told >&2; echo a); cd .; echo $X",
    "cd $(echo /tmp; exit 4); echo $?; pwd",
    "set -x; if true; then X=1; fi; cd .; echo $X",
    "set -- x 'y  z' ''; cd .; echo $# \"$2\"; shift; cd .; echo $# \"$1\" $0; set --; cd .; echo $#",
    "f() { shift; set -- a; }; cd .; f 1 2; cd .; echo $# $1",
    "getopts ab: o -a -b c; cd .; getopts ab: o -a -b c; echo $o $OPTARG $OPTIND",
    "mkdir -p a/b c/b ./d; CDPATH=a:c; cd b; pwd; cd -",
    "mkdir -p a/b b; CDPATH=a; cd ./b; pwd",
    "mkdir -p a/b b; CDPATH=:a; cd b; pwd",
    "mkdir -p a/b b; CDPATH=a:; cd b; pwd",
    "mkdir -p a/b; CDPATH=a cd b; pwd; cd b || echo no",
    "mkdir -p a d; CDPATH=a; cd d; pwd; cd ..; pwd; cd /nowhere || echo no",
    "mkdir -p a; CDPATH=a; touch a/f; cd f || echo no; pwd; cd; pwd",
    "CDPATH=/nowhere:/usr; cd lib; pwd; cd -; cd /lib; pwd",
    "mkdir '~'; cd '~'; pwd",
]


@pytest.mark.parametrize("text", AS_IN_SH)
def test_what_sh_has_too_does_what_it_does_there(text: str, tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    ours.mkdir()

    async def typed() -> tuple[str, int]:
        async with bench(ours) as shell:
            return await shell.type(text)

    said, code = run(typed())
    done = subprocess.run(
        ["/bin/sh", "-c", text, "amper", "one", "two words"],
        cwd=theirs,
        capture_output=True,
        text=True,
        check=False,
    )
    expected = done.stdout.replace("theirs", "ours").replace("THEIRS", "OURS")
    assert (said.removesuffix("[left]"), code) == (expected, done.returncode)


def test_builtins_of_ours_stand_in_lists_and_pipelines(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as shell:
            await shell.type("sleep 100 & sleep 200 &")
            assert await shell.says("jobs | grep -c sleep") == "2\n"
            assert await shell.says("kill %9 2>/dev/null || echo no") == "no\n"
            assert await shell.says("kill %1 && wait %1; echo $?") == "143\n"
            assert await shell.says("X=%2; kill $X; wait '%2'; echo $?") == "143\n"
            assert await shell.says("kill %9 2>&1 | wc -l; jobs >f; cat f") == "1\n"

    run(test())


def test_the_job_is_listed_as_it_was_typed(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as shell:
            await shell.type("X=1; f() { :; }; false")
            await shell.type("sleep 1$X$? | cat &")
            assert "Running                 sleep 1$X$? | cat &" in await shell.says("jobs")
            assert shell.launcher.orders[-1].script.endswith("! :\nsleep 1$X$? | cat")

    run(test())


def test_what_a_job_in_the_background_wrote_can_be_seen(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as shell:
            await shell.type("echo hello; echo there &")
            assert (
                await shell.says("wait %2; output %2; output %2 | tr a-z A-Z") == "there\nTHERE\n"
            )
            assert await shell.says("output -f %2") == "there\n"
            assert (await shell.type("output %7"))[1] == 1
            assert (await shell.type("output -x"))[1] == 2

    run(test())


def test_where_all_jobs_are_over_the_newest_that_wrote_something_is_meant(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as shell:
            assert await shell.type("output") == ("", 1)
            assert b"`jobs -a`" in shell.err.data
            assert b"`output %N`" in shell.err.data
            await shell.type("echo older & wait; seq 2 & wait; true & wait")
            assert await shell.type("output") == ("1\n2\n", 0)
            assert await shell.says("output | tail -n 1") == "2\n"
            await shell.type("sleep 100 &")
            assert await shell.type("output") == ("", 0)

    run(test())


def test_a_job_that_is_disowned_is_said_to_end_with_the_shell(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as shell:
            await shell.type("true & wait; sleep 100 & sleep 200 &")
            assert await shell.type("disown %1 %2") == ("", 0)
            assert shell.err.data.decode() == "disown: sleep 100: it still ends with this shell\n"
            shell.err.data = b""
            assert await shell.says("disown -a 2>&1 | tr a-z A-Z") == (
                "DISOWN: SLEEP 200: IT STILL ENDS WITH THIS SHELL\n"
            )
            assert await shell.type("disown %9") == ("", 1)
            assert b"still" not in shell.err.data

    run(test())


def test_what_sh_cannot_expand_is_not_run(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as shell:
            assert (await shell.type("cd ${X?nothing}"))[1] == 2
            assert b"nothing" in shell.err.data
            assert (await shell.type("X=${X?nothing}"))[1] == 2
            assert shell.state.directory == str(tmp_path)

    run(test())


def test_the_first_failure_ends_a_shell_that_is_told_so(tmp_path: Path) -> None:
    cases = {
        "false; echo a": ("[left]", 1),
        "cd /nowhere; echo a": ("[left]", 1),
        "cd /nowhere || echo a; false || echo b": ("a\nb\n", 0),
        "! cd /; echo a": ("a\n", 0),
        "false && cd /; echo a": ("a\n", 0),
        "cd / && false; echo a": ("[left]", 1),
        "cd / && ! true; echo a": ("a\n", 0),
    }

    async def test() -> None:
        for text, outcome in cases.items():
            async with bench(tmp_path, "-e") as shell:
                assert await shell.type(text) == outcome, text

    run(test())


def test_an_sh_that_gives_up_sends_nobody_away(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as shell:
            text = "X=1; if true; then X=2; cd ${NONE?missing}; fi"
            assert await shell.type(text) == ("", 2)
            assert b"missing" in shell.err.data
            assert await shell.type("echo $X; exit 3") == ("1\n[left]", 3)

    run(test())


def test_nothing_of_ours_is_seen_where_sh_traces_a_text(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as shell:
            assert await shell.type("set -x; for X in 3; do :; done; cd /; echo $X") == ("3\n", 0)
            assert shell.err.data.decode() == "+ :\n"

    run(test())


def test_what_an_sh_starts_for_itself_is_waited_for_by_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as shell:
            assert await shell.says("for i in 3; do (exit $i) & done; wait $!; echo $?") == "3\n"
            await shell.type("f() { (exit $1) & }; g() { f 4; }")
            assert await shell.says("g; wait $!; echo $?") == "4\n"
            assert shell.err.data == b""
            await shell.type("f 5")
            assert shell.err.data == b""
            # What is ours stays ours.
            assert await shell.says("(exit 6) & p=$!; f 7; wait $p; echo $?") == "6\n"

    run(test())


def test_what_an_sh_starts_and_leaves_is_said_to_be_no_job(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as shell:
            assert await shell.type("for i in 1; do sleep 100 & done; :") == ("", 0)
            assert b"is no job here" in shell.err.data
            assert await shell.says("kill $!; echo $?") == "0\n"

    run(test())


def test_a_text_of_any_length_is_run(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as shell:
            many = "\N{EURO SIGN}" * 100_000
            assert await shell.says(f"X={many}; f() {{ echo ${{#X}} $2; }}; cd .") == ""
            assert await shell.says('f "$@"') == f"{len(many.encode())} two words\n"
            assert await shell.says("Y=${X#?}; cd .; f $0 ok; echo ${#Y} $#") == (
                f"{len(many.encode())} ok\n{len(many.encode()) - 1} 2\n"
            )
            sh = shell.shell.sh
            early, wrong = await sh.complaint(f"if {many}"), await sh.complaint(f"if ; {many}")
            assert early is not None
            assert wrong is not None
            assert (ends_too_early(early), ends_too_early(wrong)) == (True, False)

    run(test())


def test_a_signal_that_ended_a_command_is_told(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as shell:
            assert (await shell.type("kill -TERM $$"))[1] == 1  # It is ours, and there is no %1.
            assert (await shell.type("sh -c 'kill -SEGV $$'"))[1] == 139
            assert b"Segmentation fault\n" in shell.err.data

    run(test())


def test_ctrl_c_ends_the_rest_of_the_line(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as shell:
            assert await shell.type("sh -c 'kill -INT $PPID'; :; cd /; echo a") == ("", 130)

    run(test())


def test_a_directory_that_is_gone_is_left_like_any_other(tmp_path: Path) -> None:
    gone = f"{tmp_path}/gone"

    async def test() -> None:
        async with bench(tmp_path) as shell:
            await shell.type("sleep 100 &")
            assert await shell.type("mkdir gone; cd gone; rmdir ../gone") == ("", 0)
            # What sh runs is in it still, and finds nothing there.
            assert await shell.says("ls -A; echo one; X=1; echo $X $?") == "one\n1 0\n"
            assert await shell.says("pwd") == f"{gone}\n"
            assert await shell.says("jobs | grep -c sleep") == "1\n"
            assert await shell.type("kill --wait %1") == ("", 0)
            assert await shell.says("if true; then :; else cd /; fi; pwd") == f"{gone}\n"
            assert await shell.says("(exit 3); echo $?") == "3\n"
            assert await shell.says("cd ..; pwd; cd /; pwd; cd -; pwd") == (
                f"{tmp_path}\n/\n{tmp_path}\n{tmp_path}\n"
            )
            assert await shell.type("cd gone") == ("", 1)
            assert await shell.type("exit 3") == ("[left]", 3)

    run(test())


def test_a_directory_that_moved_is_still_the_one_where_commands_run(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as shell:
            await shell.type("mkdir a; cd a; echo in a >f; mv ../a ../b; mkdir ../a")
            assert await shell.says("cat f") == "in a\n"
            assert await shell.says("cd ../a; cat f || echo no") == "no\n"

    run(test())


def test_what_cannot_be_started_says_why(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as shell:
            # Only the sh that went there has ever held it.
            await shell.type("if true; then mkdir gone; cd gone; rmdir ../gone; fi")
            shell.err.data = b""
            why = f"cannot change to the directory {tmp_path}/gone: No such file or directory\n"
            assert await shell.type("echo a; echo b") == ("", 126)
            assert shell.err.data.decode() == f"amper: {why}"
            shell.err.data = b""
            assert await shell.type("echo a &") == ("", 0)
            assert shell.err.data.decode() == f"amper: {why}"
            shell.err.data = b""
            assert await shell.type("X=1") == ("", 126)
            assert shell.err.data.decode() == f"amper: {why}"
            assert await shell.type("cd /; exit 3") == ("[left]", 3)

    run(test())


def test_the_last_job_in_the_background_is_known_by_its_pid(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as shell:
            assert await shell.says("echo [$!]") == "[]\n"
            await shell.type("sleep 100 & sleep 100 &")
            first, second = [info.pid for info in await shell.jobs.list()]
            assert await shell.says("echo $!") == f"{second}\n"
            assert await shell.says("jobs -p") == f"{first}\n{second}\n"
            await shell.type("echo $! &")
            assert await shell.says("wait $!; output %echo") == f"{second}\n"
            assert "echo $!" in await shell.says("jobs -a %echo")
            assert await shell.type(f"kill {first}; wait {first}") == ("", 143)
            assert await shell.type(f"kill --wait {second}; wait %2") == ("", 143)
            # What is over is not mistaken for whoever has its number now.
            assert await shell.type(f"kill {second}") == ("", 1)
            assert shell.err.data.decode().endswith(
                f"kill: {second}: no such process: the job is over\n"
            )

    run(test())


def test_what_a_builtin_cannot_write_is_a_failure_of_its_own(tmp_path: Path) -> None:
    full = "jobs: write error: No space left on device\n"
    cases = {
        "jobs >/dev/full": ("", 1, full),
        "! jobs >/dev/full; echo $?": ("0\n", 0, full),
        "jobs >/dev/full 2>f; echo $?; cat f": (f"1\n{full}", 0, ""),
        "jobs >/dev/full | cat; echo $?": ("0\n", 0, full),
        "jobs >&-": ("", 1, "jobs: standard output: Bad file descriptor\n"),
        # What says nothing writes nothing.
        "kill -0 %1 >/dev/full": ("", 0, ""),
        "kill -0 %1 >&-": ("", 0, ""),
        "kill %9 2>/dev/full": ("", 1, ""),
        "jobs %1 %9 >/dev/full 2>&1": ("", 1, ""),
        "kill %9 >f; cat f": (
            "",
            0,
            "kill: %9: no such job: list the jobs to see which there are\n",
        ),
        # A reader that has enough is no failure, and has no message.
        "help | true": ("", 0, ""),
        "help | head -n 1 | wc -l": ("1\n", 0, ""),
    }

    async def test() -> None:
        async with bench(tmp_path) as shell:
            await shell.type("sleep 100 &")
            for text, (out, code, err) in cases.items():
                shell.err.data = b""
                assert (*await shell.type(text), shell.err.data.decode()) == (out, code, err), text
        async with bench(tmp_path, "-e") as shell:
            await shell.type("sleep 100 &")
            assert (
                await shell.says("jobs >/dev/full || echo no; help | true; echo on") == "no\non\n"
            )
            assert shell.err.data.decode() == full
            assert await shell.type("jobs >/dev/full; echo never") == ("[left]", 1)

    run(test())


@pytest.mark.parametrize("line", ["umask 077", "set -e", "set +e", "ulimit -n 64", "alias ll=ls"])
@on_a_loop
async def test_what_is_lost_on_the_next_line_is_told(line: str, tmp_path: Path) -> None:
    async with bench(tmp_path) as shell:
        assert await shell.type(line) == ("", 0)
        name = line.partition(" ")[0]
        assert shell.err.data.decode() == f"amper: `{name}` lasts to the end of its line\n"


@pytest.mark.parametrize(
    "line",
    ["umask", "umask -S", "umask 077; true", "umask nonsense", "ulimit -n", "set -- a", "set a"],
)
@on_a_loop
async def test_a_question_a_mistake_and_what_serves_its_own_line_lose_nothing(
    line: str, tmp_path: Path
) -> None:
    async with bench(tmp_path) as shell:
        await shell.type(line)
        assert b"lasts" not in shell.err.data
