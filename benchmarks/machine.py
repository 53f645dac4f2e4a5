"""What the numbers were measured on, in words."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Final

PEERS: Final = ("aiojobs", "anyio", "trio", "uvloop")


def describe() -> dict[str, str]:
    """Describe the machine, and what of it is in use, by what each thing is called."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "Date": f"{datetime.now(UTC):%Y-%m-%d}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "Peers": ", ".join(f"{name} {_version(name)}" for name in PEERS),
        "Kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "Processors": f"{len(os.sched_getaffinity(0))} of {_processor()}",
        "Memory": f"{memory:.0f} GiB",
    }


def load() -> str:
    """Return how many processes wanted to run in the last minute, on average."""
    return f"{os.getloadavg()[0]:.1f}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"


def _processor() -> str:
    with open("/proc/cpuinfo") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return "unknown make"
