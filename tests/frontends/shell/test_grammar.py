from __future__ import annotations

import subprocess

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from amper.frontends.shell.grammar import is_complete, read
from amper.frontends.shell.plan import Linked, Outside, Step, plan, plan_script
from amper.frontends.shell.session import OURS

COMPLETE = [
    "", "a", "a b c", "a; b", "a && b || c", "a | b", "a &", "a & b", "! a", "a 2>&1 >f <g",
    "'a b'", '"a b"', r"a\ b", r'"a\"b"', "$(a)", '"$(a "b")"', "`a`", "${a}", '"${a:-"b c"}"',
    "$((1 + (2 * 3)))", "(a; b)", "{ a; b; }", "{ a; } >f", "f() { a; }", "f() (a)",
    "f()\n{\na\n}", "if a; then b; fi", "if a; then b; elif c; then d; else e; fi",
    "if a\nthen b\nfi | c", "while a; do b; done", "until a; do b; done <f", "for x in a b; do c; done",
    "for x; do a; done", "for x do a; done", "for x in; do a; done", "for do in do; do a; done",
    "case x in a) b;; esac", "case x in (a|b) c;; *) d; esac", "case $x in\na)\nb\n;;\nesac",
    "case x in esac", "$(case a in a) b;; esac)", "a # comment ' not a quote", "a#b 'c'", "# (", "a\n\nb\n",
    "a \\\n b", "a &&\nb", "a |\n\nb", "cat <<E\nbody\nE", "cat <<E\n' ( \\`\nE\n", "cat <<-E\n\tbody\n\tE\n",
    "cat <<'E'\n$(\nE", "cat <<A <<B\na\nA\nb\nB", "$(cat <<E\nx)\nE\n)",
    "cat <<E; if a\nbody\nE\nthen b; fi",
    "echo if then fi", "echo { }", "echo }", "X=1", "X=$(a b) Y='c d' e", "a >|f", "a <>f", "3>f a", "a3>f",
    "echo $", "echo $'", "echo a$", "if (a) then (b) fi", "{ (a) }", "if { a; } then b; fi",
    "a;b;c;",
]  # fmt: skip

INCOMPLETE = [
    "'a", '"a', '"a $(b', "$(a", "`a", "${a", "$((1", "(a", "(a;", "{ a", "{ a;", "f() {", "f()", "if a",
    "if a; then b", "if a; then b; else", "while a", "while a; do b",
    "for x in a b", "for x in a; do b",
    "case x in", "case x in a)", "case x in a) b;;", "a &&", "a ||", "a |", "a && b |", "!",
    "a \\", "cat <<E", "cat <<E\nbody", "cat <<E\nE ", "if a; then cat <<E\nE", "a; (b", "a & {",
    "echo \"it's",
    "a\nb |", "a |\n# comment",
]  # fmt: skip

WRONG = [
    ")",
    "a )",
    "fi",
    "a; done",
    "if ; then",
    "a | | b",
    "a && || b",
    "; a",
    "a ;; b",
    "}",
    "()",
]


def sh_says(text: str) -> str:
    """Return what /bin/sh makes of a text: good, incomplete or wrong."""
    done = subprocess.run(["/bin/sh", "-n", "-c", text], capture_output=True, check=False)
    if done.returncode == 0:
        return "good"
    early = (b"end of file", b"nterminated", b"EOF", b"Missing '}'")
    return "incomplete" if any(word in done.stderr for word in early) else "wrong"


@pytest.mark.parametrize("text", COMPLETE)
def test_what_sh_takes_is_complete_and_understood(text: str) -> None:
    if text != "echo $'":
        assert sh_says(text) == "good"
        found = read(text)
        assert (found.is_complete, found.understood) == (True, len(text))


@pytest.mark.parametrize("text", INCOMPLETE)
def test_what_sh_misses_the_end_of_is_incomplete(text: str) -> None:
    # sh takes the end of the file for the end of a here-document or of a line, too.
    assert (
        sh_says(text) == "incomplete"
        or text.startswith("$((")
        or "<<" in text
        or text.endswith("\\")
    )
    assert not is_complete(text)


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_left_to_sh(text: str) -> None:
    assert sh_says(text) == "wrong"
    assert is_complete(text)
    assert letters("".join(map(text_of, plan(read(text), OURS)))) == letters(text)


PIECES = st.sampled_from(
    ["a", "cd", "kill", "x=1", " ", " ", "\n", ";", "&", "&&", "|", "||", "(", ")", "$(", "`", "'", '"', "\\",
     "$", "${", "}", "{", "if", "then", "fi", "do", "done", "for", "in", "case", "esac", "!",
     "<", ">", "2>&1",
     "<<E", "\nE\n", "#", "$((", "))", ";;", "é", "\t", "while"]
)  # fmt: skip

TEXTS = st.lists(PIECES, max_size=14).map("".join) | st.text(max_size=30)


@given(TEXTS)
def test_no_text_makes_it_raise(text: str) -> None:
    found = read(text)
    plan(found, OURS)
    plan_script(found, OURS)


@example("\x1f")
@given(TEXTS.filter(lambda text: "#" not in text and "<<" not in text))
def test_no_text_is_lost(text: str) -> None:
    for steps in (
        plan(read(text), OURS),
        plan_script(read(text), OURS),
    ):
        assert letters("".join(map(text_of, steps))) == letters(text)


@given(st.lists(PIECES, max_size=10).map("".join))
def test_whatever_sh_takes_is_cut_where_sh_would_cut(text: str) -> None:
    # Each piece that goes to sh alone must be good alone, or the cut was within something.
    if sh_says(text) != "good" or not read(text).is_complete:
        return
    for step in plan(read(text), OURS):
        parts = [part for _, part in step.links] if isinstance(step, Linked) else [step]
        for part in parts:
            assert sh_says(part.text) == "good"


def letters(text: str) -> str:
    return "".join(character for character in text if character not in " \t\n;&|\\")


def text_of(step: Step) -> str:
    if isinstance(step, Linked):
        return "".join(part.text for _, part in step.links)
    return step.text


def test_a_here_document_goes_with_its_command() -> None:
    found = plan(read("cat <<A; kill %1; cat <<B\na\nA\nb\nB\nc"), OURS)
    assert [text_of(step) for step in found] == ["cat <<A\na\nA\n", "kill %1", "cat <<B\nb\nB\nc"]


def test_deep_nesting_is_left_to_sh() -> None:
    text = "$(" * 5000 + "a" + ")" * 5000 + "; kill %1"
    assert plan(read(text), OURS) == [Outside(text)]


def test_a_script_is_cut_only_where_amper_is_needed() -> None:
    text = "x=1\ncd /\nfoo &\ncd /tmp\nexport x\nwait %1\nx=2\ncd /\nfoo"
    found = plan_script(read(text), OURS)
    assert text_of(found[-1]).strip() == "x=2\ncd /\nfoo"
    assert len(found) == 7
