"""A hold on the directory that a shell is in: we are never in it ourselves, and its name may go."""

from __future__ import annotations

import os
import weakref


class Anchor:
    """Holds a directory as being in it would, until nobody refers to the anchor any more."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._fd: int | None = None
        try:
            # It need not be readable.
            self._fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return  # Whatever is started there says why it cannot be.
        weakref.finalize(self, os.close, self._fd)

    @property
    def holds(self) -> bool:
        """Whether the directory was there to be held."""
        return self._fd is not None

    @property
    def path(self) -> str:
        """Where the directory is found: its name as long as it is that, and else our hold on it.

        A command that starts in the latter is where one of a shell's would be, which has gone
        nowhere else since, and not where its files could be taken for those of another directory.
        """
        if self._fd is None:
            return self._directory
        try:
            if os.path.samestat(os.stat(self._directory), os.fstat(self._fd)):
                return self._directory
        except OSError:
            pass  # There is nothing of that name, or no way to it.
        # The process that starts the command need not be ours, and /proc/self would be its own.
        return f"/proc/{os.getpid()}/fd/{self._fd}"
