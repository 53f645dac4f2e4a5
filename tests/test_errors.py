"""Exceptions: who can catch them, and what they tell whoever must act."""

from __future__ import annotations

import pickle

import pytest

import amper
from amper import (
    AmbiguousJobSpec,
    AmperError,
    ChannelClosed,
    ChannelUsed,
    InternalError,
    InvalidJobSpec,
    ManagerClosed,
    NoSuchJob,
    WrongLoop,
)


@pytest.mark.parametrize(
    "error, builtin, next_step",
    [
        (ManagerClosed(), RuntimeError, "make a new one"),
        (WrongLoop(), RuntimeError, "asyncio.run_coroutine_threadsafe"),
        (ChannelUsed(), RuntimeError, "make a new one"),
        (ChannelClosed(), Exception, "without sending a result"),
        (InvalidJobSpec("make"), ValueError, "write %1"),
        (NoSuchJob("%vi"), LookupError, "list the jobs"),
        (NoSuchJob("%+"), LookupError, "start or stop one"),
        (AmbiguousJobSpec("%vi", [(1, "vi"), (2, "vim")]), LookupError, "choose one"),
        (InternalError("a job is lost"), AssertionError, "report it"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_error_is_ampers_own_and_says_what_to_do(
    error: AmperError, builtin: type[Exception], next_step: str
) -> None:
    assert isinstance(error, AmperError)
    assert isinstance(error, builtin)
    assert next_step in str(error)
    # It may have to reach another process.
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_no_public_error_is_left_out() -> None:
    public = [getattr(amper, name) for name in amper.__all__]
    errors = {value for value in public if isinstance(value, type) and issubclass(value, Exception)}
    assert errors == {AmperError, *AmperError.__subclasses__()}


def test_a_bug_of_ours_carries_what_had_happened() -> None:
    error = InternalError("job 3 ended twice", ["started", "ended"])
    assert error.what == "job 3 ended twice"
    assert error.history == ("started", "ended")
    assert pickle.loads(pickle.dumps(error)).history == error.history
    first, *history, last = str(error).splitlines()
    assert (first, history) == ("job 3 ended twice", ["started", "ended"])
    assert "report" in last
