"""/v/jobs: a manager's jobs as a read-only filesystem that speaks fsspec.

    {id}/status  {id}/command  {id}/stdout  {id}/stderr  {id}/info.json

It reads the records that are there and knows no event loop, so any thread may use it: nothing is
cached, nothing waits, and what is read does not count as taken.

1. A call looks a job up once and reads that record, whatever happens to the job meanwhile.
2. What is not there is a FileNotFoundError, and a path that makes no sense is not there: fsspec's
   own questions (`exists`, `isdir`, `walk`) understand that error and no other.
"""

# mypy: allow-untyped-calls
# What fsspec lends us through `super()` has no types, and its exemption does not reach that far.

from __future__ import annotations

import errno
import inspect
import io
import json
import re
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any, Final, NamedTuple, NoReturn

from fsspec.spec import AbstractFileSystem
from fsspec.utils import stringify_path

from amper.flow.stream import BoundedStream
from amper.job.job import Job
from amper.job.outputs import output_of
from amper.job.table import JobTable
from amper.manager import JobManager
from amper.values import JobId

Entry = dict[str, Any]

MOUNT_POINT: Final = "v/jobs"
"""Where shells see the root of this filesystem."""

_ID: Final = re.compile(r"[1-9][0-9]{0,18}")
"""How an id is written: never in more digits than a counter can have, or than `int` will read."""


class JobFileSystem(AbstractFileSystem):
    """The jobs of one manager as files: `JobFileSystem(jobs)`, or `fsspec.open(..., jobs=jobs)`.

    Each job is a directory with these files, all of them as they are at the moment of the call:

    - `status`: `running`, `done:0`, ... and a newline; `command`: the command and a newline
    - `stdout`, `stderr`: the bytes so far that are kept, or nothing if nothing was attached
    - `info.json`: all that `JobManager.get` tells, and a newline

    `open` takes a snapshot: open again to see more. Whoever reads a final status first gets the
    whole output afterwards. A path is `1/stdout`; before it may stand `jobs://`, `/`, `/v/jobs/` or
    `jobs://v/jobs/`, and slashes at its end do not matter. Ids are in numerical order everywhere.
    Text is UTF-8 with undecodable bytes replaced, unless it is asked for differently: a snapshot
    may end in half a character.

    Raises:
        FileNotFoundError: there is no such job or file, or no such path could be.
        IsADirectoryError: a directory was to be read.
        PermissionError: something was to be changed.
    """

    protocol = "jobs"
    cachable = False

    def __init__(self, jobs: JobManager | None = None, **options: Any) -> None:
        """Show the jobs of the manager `jobs`, which is kept alive.

        Raises TypeError for anything that is not a JobManager.
        """
        if not isinstance(jobs, JobManager):
            raise TypeError(
                f"jobs must be the JobManager whose jobs are to be read, not {jobs!r}: "
                'JobFileSystem(manager), or fsspec.open("jobs://1/stdout", jobs=manager)'
            )
        super().__init__(**options)
        self._table = jobs.table

    # Looking.

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        """Return what is in a directory, or a file itself: entries as of `info`, or their paths."""
        place = self._locate(path)
        if place.job is None:
            places = [_Place(job, None) for job in self._table.jobs()]
        elif place.file is None:
            places = [_Place(place.job, file) for file in _FILES]
        else:
            places = [place]
        return [self._entry(place) if detail else place.path for place in places]

    def info(self, path: str, **kwargs: Any) -> Entry:
        """Return name, type and size of a file or directory.

        An output has `dropped` too: how many bytes a bound has taken from its beginning.
        """
        return self._entry(self._locate(path))

    def find(self, *args: Any, **kwargs: Any) -> Any:
        """Return the files below a path, by id."""
        return _by_id(super().find(*args, **kwargs))

    def glob(self, *args: Any, **kwargs: Any) -> Any:
        """Return the paths that match a pattern, by id."""
        return _by_id(super().glob(*args, **kwargs))

    def expand_path(self, *args: Any, **kwargs: Any) -> Any:
        """Return the paths that patterns and directories stand for, by id."""
        return _by_id(super().expand_path(*args, **kwargs))

    # Reading.

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any
    ) -> bytes:
        """Return a file's bytes from `start` to `end`, which count as in a slice."""
        return self._content(path)[start:end]

    def open(self, path: str, mode: str = "rb", *args: Any, **kwargs: Any) -> Any:
        """Open a snapshot of a file, as bytes or (mode `r`) as text."""
        if "b" not in mode:
            kwargs["encoding"] = kwargs.get("encoding") or "utf-8"
            kwargs["errors"] = kwargs.get("errors") or "replace"
        return super().open(path, mode, *args, **kwargs)

    def ukey(self, path: str) -> str:
        """Return a hash of a file's content: the size of a full stream stays while it flows."""
        return sha256(self._content(path)).hexdigest()

    def checksum(self, path: str) -> int:
        """Return the same hash as a number."""
        return int(self.ukey(path), 16)

    def _open(self, path: str, mode: str = "rb", *args: Any, **kwargs: Any) -> Snapshot:
        if not set(mode) <= set("rbt"):
            self._refuse()
        return Snapshot(self._content(path))

    # What it does not do.

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise PermissionError: jobs are changed through their manager."""
        raise PermissionError(
            errno.EPERM, "a filesystem of jobs is read-only: use the JobManager to change them"
        )

    mkdir = makedirs = rmdir = rm = rm_file = touch = _refuse
    copy = cp_file = mv = put = put_file = pipe_file = _refuse

    def _stay(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise TypeError: what is read here is in this process and nowhere else."""
        raise TypeError(
            "a JobFileSystem cannot be pickled or written as JSON, and neither can jobs"
        )

    __reduce__ = to_json = to_dict = _stay

    # Paths.

    @classmethod
    def _strip_protocol(cls, path: Any) -> str:
        """Return the one way to write a path: `1/stdout`, or nothing for the root."""
        text = stringify_path(path)
        if not isinstance(text, str):
            raise TypeError(f"a path is a str, not {type(text).__name__}")
        is_absolute = text.startswith(("/", "jobs://"))
        text = text.removeprefix("jobs://").strip("/")
        if is_absolute and f"{text}/".startswith(f"{MOUNT_POINT}/"):
            text = text.removeprefix(MOUNT_POINT).lstrip("/")
        return text

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, Any]:
        """Find no options in `path`, but let the keyword `jobs=manager` be one.

        fsspec takes a keyword with the name of a protocol for a dictionary of that protocol's
        options: `jobs={"jobs": manager}`. It asks this hook just before it looks there.
        """
        frame = inspect.currentframe()
        caller = None if frame is None else frame.f_back
        if caller is not None and caller.f_code.co_name == "_un_chain":
            options = caller.f_locals["kwargs"]
            if not isinstance(options.get("jobs", {}), dict):
                options["jobs"] = {"jobs": options["jobs"]}
        return {}

    def _locate(self, path: str) -> _Place:
        """Return the job and the file that a path names. Raises FileNotFoundError."""
        path = self._strip_protocol(path)
        if not path:
            return _Place(None, None)
        number, _, file = path.partition("/")
        job = self._table.get(JobId(int(number))) if _ID.fullmatch(number) else None
        if job is None:
            raise FileNotFoundError(errno.ENOENT, "There is no such job", path)
        if file and file not in _FILES:
            raise FileNotFoundError(errno.ENOENT, "A job has no such file", path)
        return _Place(job, file or None)

    def _entry(self, place: _Place) -> Entry:
        job, file = place
        if job is None or file is None:
            return {"name": place.path, "type": "directory", "size": 0}
        return {"name": place.path, "type": "file"} | _FILES[file].measure(self._table, job)

    def _content(self, path: str) -> bytes:
        place = self._locate(path)
        if place.job is None or place.file is None:
            raise IsADirectoryError(errno.EISDIR, "This is a directory", place.path or "/")
        return _FILES[place.file].read(self._table, place.job)


class Snapshot(io.BufferedReader):
    """A file as it was when it was opened. Its `size` is what fsspec asks files for."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content))
        self.size = len(content)


class _Place(NamedTuple):
    """What a path names. No file: the job's directory; no job: the root."""

    job: Job | None
    file: str | None

    @property
    def path(self) -> str:
        if self.job is None:
            return ""
        return str(self.job.id) if self.file is None else f"{self.job.id}/{self.file}"


class _Text:
    """A file that is made when somebody reads it."""

    def __init__(self, make: Callable[[JobTable, Job], bytes]) -> None:
        self.read = make

    def measure(self, table: JobTable, job: Job) -> Entry:
        return {"size": len(self.read(table, job))}


class _Output:
    """One of the two streams, which are measured without a copy."""

    def __init__(self, index: int) -> None:
        self._index = index

    def read(self, table: JobTable, job: Job) -> bytes:
        stream = self._stream(job)
        return b"" if stream is None else stream.read()

    def measure(self, table: JobTable, job: Job) -> Entry:
        stream = self._stream(job)
        if stream is None:
            return {"size": 0, "dropped": 0}
        stats = stream.stats()
        return {"size": stats.current_size, "dropped": stats.bytes_evicted}

    def _stream(self, job: Job) -> BoundedStream | None:
        streams = output_of(job)
        return None if streams is None else streams[self._index]


def _line(text: str) -> bytes:
    try:
        # Arguments that are not UTF-8 reached us with surrogates, and leave as they were.
        return text.encode("utf-8", "surrogateescape") + b"\n"
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace") + b"\n"


def _status_string(table: JobTable, job: Job) -> str:
    status = table.status_now(job)
    return job.status_string if status.is_final else status.value


_FILES: Final[dict[str, _Text | _Output]] = {
    "status": _Text(lambda table, job: _line(_status_string(table, job))),
    "command": _Text(lambda table, job: _line(job.command)),
    "stdout": _Output(0),
    "stderr": _Output(1),
    "info.json": _Text(lambda table, job: _line(json.dumps(table.info_now(job).to_dict()))),
}


def _by_id(paths: Iterable[str] | dict[str, Entry]) -> Any:
    if isinstance(paths, dict):
        return {path: paths[path] for path in sorted(paths, key=_id_and_path)}
    return sorted(paths, key=_id_and_path)


def _id_and_path(path: str) -> tuple[int, str]:
    number = path.partition("/")[0]
    return int(number) if _ID.fullmatch(number) else 0, path
