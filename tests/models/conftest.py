"""How hypothesis searches: always in the same way, unless somebody wants to find something new.

So a failure is the doing of the change that is tested. With AMPER_EXPLORE in the environment each
run tries other examples, and more of them, and keeps those that failed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir
from hypothesis.database import DirectoryBasedExampleDatabase

HOME: Final = Path(__file__).parents[2] / ".hypothesis"
"""Git ignores it. Without this it would be wherever the tests are started."""

# A machine that is busy makes examples slow, and says nothing about them.
QUIET: Final = [HealthCheck.too_slow]

set_hypothesis_home_dir(HOME)
settings.register_profile(
    "same",
    deadline=None,
    max_examples=120,
    derandomize=True,
    database=None,
    print_blob=True,
    suppress_health_check=QUIET,
)
settings.register_profile(
    "explore",
    deadline=None,
    max_examples=5000,
    database=DirectoryBasedExampleDatabase(HOME / "examples"),
    print_blob=True,
    suppress_health_check=QUIET,
)
settings.load_profile("explore" if "AMPER_EXPLORE" in os.environ else "same")
