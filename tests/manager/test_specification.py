"""The specification's methods: each is there, by its name, in its kind, with its parameters."""

from __future__ import annotations

import inspect

import pytest

from amper import JobManager

# Positional parameters, each with its default; keyword-only ones follow a star.
COROUTINES = {
    "register": "command, rx, *, name=None, tags=()",
    "register_with_streams": "command, rx, stdout, stderr, *, name=None, tags=()",
    "wait": "id, timeout=None",
    "wait_all": "ids=None, timeout=None",
    "running_count": "",
    "get_command": "id",
    "get_status_string": "id",
    "read_stdout": "id",
    "read_stderr": "id",
    "register_stopped": "command, pid, pgid, rx=None, *, name=None, tags=()",
    "stop_job": "id, pid, pgid",
    "resume_job": "id",
    "last_stopped": "",
    "get_process_info": "id",
    "set_cancel_token": "id, token",
    "cancel": "id, *, reason=None",
    "add_pgid": "id, pgid",
}
PLAIN = {
    "spawn": "command, future, *, name=None, tags=()",
    "set_persist_output_files": "on",
    "persist_output_files": "",
}

FAMILY = {
    "exists": "id",
    "get": "id",
    "list": "*, status=None, name=None, tag=None, cwd=None",
    "list_ids": "",
    "job_pgids": "id",
    "try_result": "id",
    "streams": "id",
    "resolve": "spec",
    "finish": "id, result",
    "remove": "id",
    "reap_finished": "",
    "kill": "id, *, grace_period=None, reason=None, by=None",
    "signal": "id, sig",
    "stop": "id",
    "resume": "id",
    "foreground": "id",
    "resize": "id, columns, rows",
    "write_stdin": "id, data",
    "close_stdin": "id",
    "read_output": "id, since=0, *, stream='stdout', limit=None",
    "wait_any": "ids=None, timeout=None",
    "read_events": "since=0, limit=1000",
    "aclose": "*, grace_period=None, reason=None",
}
ITERATORS = {
    "follow": "id, since=0, *, stream='stdout'",
    "as_completed": "ids=None",
    "events": "since=0",
}


def parameters(name: str) -> str:
    """Return the parameters of a method as they would be written, without types and `self`."""
    signature = inspect.signature(getattr(JobManager, name))
    bare = [
        parameter.replace(annotation=parameter.empty)
        for parameter in list(signature.parameters.values())[1:]
    ]
    return str(inspect.Signature(bare))[1:-1]


def test_there_are_twenty() -> None:
    assert len(COROUTINES | PLAIN) == 20


@pytest.mark.parametrize("promised", [COROUTINES, PLAIN, FAMILY, ITERATORS])
def test_methods_of_these_names_take_these(promised: dict[str, str]) -> None:
    assert {name: parameters(name) for name in promised} == promised


def test_all_are_coroutines_but_those_that_have_to_be_plain() -> None:
    public = [name for name, _ in inspect.getmembers(JobManager, inspect.isfunction)]
    coroutines = {name for name in public if inspect.iscoroutinefunction(getattr(JobManager, name))}
    assert {name for name in coroutines if not name.startswith("_")} == {
        *COROUTINES,
        *FAMILY,
        "start",
        "run",
    }
    plain = {name for name in public if not name.startswith("_")} - coroutines
    assert plain == PLAIN.keys() | ITERATORS.keys()


def test_every_method_says_what_it_promises_and_what_it_returns() -> None:
    for name in (*COROUTINES, *PLAIN, *FAMILY, *ITERATORS, "start", "run"):
        method = getattr(JobManager, name)
        assert inspect.getdoc(method), name
        assert inspect.signature(method).return_annotation is not inspect.Signature.empty, name


def test_a_manager_is_made_with_these() -> None:
    made = inspect.signature(JobManager.__init__).parameters
    assert {"finished_retention", "grace_period", "max_running", "containment"} <= made.keys()
    defaults = {name: it.default for name, it in made.items() if name != "self"}
    assert (defaults["finished_retention"], defaults["grace_period"]) == (100, 2.0)
    assert (defaults["max_running"], defaults["containment"]) == (None, "group")
    assert {it.kind for name, it in made.items() if name != "self"} == {
        inspect.Parameter.KEYWORD_ONLY
    }
