"""What all builtins have in common."""

from __future__ import annotations

import inspect

import pytest

from amper import ExecResult, JobManager, builtins
from amper.builtins import BUILTINS
from tests.builtins.words import typed
from tests.work import endless, on_a_loop

VERBS = sorted(BUILTINS)


def test_they_are_these_and_all_are_coroutine_functions_of_a_manager_and_words() -> None:
    assert VERBS == ["bg", "disown", "fg", "jobs", "kill", "stop", "wait"]
    assert {*VERBS, "BUILTINS", "Builtin"} == set(builtins.__all__)
    for verb in VERBS:
        function = BUILTINS[verb]
        assert getattr(builtins, verb) is function
        assert inspect.iscoroutinefunction(function)
        assert list(inspect.signature(function).parameters) == ["manager", "arguments"]
        assert function.__doc__


@pytest.mark.parametrize("verb", VERBS)
@on_a_loop
async def test_help_explains_each_and_does_nothing(verb: str) -> None:
    async with JobManager() as manager:
        manager.spawn("work", endless())
        for line in (f"{verb} --help", f"{verb} --help %1"):
            code, out, err = await typed(manager, line)
            assert (code, err) == (0, "")
            assert out.startswith(f"usage: {verb} ")
            assert "A job is %1" in out
        assert await manager.get_status_string(await manager.resolve("%1")) == "running"


@pytest.mark.parametrize("verb", VERBS)
@on_a_loop
async def test_an_option_that_does_not_exist_is_a_usage_error_that_teaches(verb: str) -> None:
    async with JobManager() as manager:
        manager.spawn("work", endless())
        for option in ("-z", "--zzz"):
            code, out, err = await typed(manager, f"{verb} {option} %1")
            assert (code, out) == (2, "")
            message, usage = err.splitlines()
            assert message.startswith(f"{verb}: ")
            assert "z" in message.removeprefix(verb)
            assert usage.startswith(f"usage: {verb} ")
        assert await manager.get_status_string(await manager.resolve("%1")) == "running"


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "wait"])
@on_a_loop
async def test_a_job_that_is_not_there_is_a_failure_and_the_others_have_their_turn(
    verb: str,
) -> None:
    async with JobManager() as manager:
        manager.spawn("make", endless())
        manager.spawn("make", endless())
        for spec, message in {
            "%9": "no such job",
            "%make": r"%1 (make), %2 (make)",
            "%?": "no job spec",
        }.items():
            code, out, err = await typed(manager, f"{verb} {spec}")
            assert (code, out) == (1, "")
            assert message in err
            assert err.startswith(f"{verb}: ")


@pytest.mark.parametrize("verb", VERBS)
@on_a_loop
async def test_one_str_is_a_mistake_of_the_caller(verb: str) -> None:
    async with JobManager() as manager:
        with pytest.raises(TypeError, match="list of str"):
            await BUILTINS[verb](manager, "%1")


@on_a_loop
async def test_without_words_a_builtin_can_be_called_with_the_manager_alone() -> None:
    async with JobManager() as manager:
        assert await builtins.wait(manager, []) == ExecResult(0)
