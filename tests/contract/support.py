"""How a case of the contract is run: once for each kind of runner."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.contract.kinds import KINDS, Work
from tests.support import run

Case = Callable[..., Coroutine[Any, Any, None]]


def for_each_kind(case: Case) -> Callable[..., None]:
    """Make a case that takes a class of work as its first argument a test of every kind."""

    @pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
    @functools.wraps(case)
    def of_kind(kind: type[Work], **kwargs: Any) -> None:
        run(case(kind, **kwargs))

    test: Callable[..., None] = of_kind
    return test
