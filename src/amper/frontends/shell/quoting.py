"""The words of a shell's text, without what they mean: where a word ends, quotes and all.

It does not judge: `/bin/sh` does. What it promises is that no character is taken for two things, and
that text which sh accepts is never cut within a quote, a substitution or a here-document.
"""

from __future__ import annotations

import contextlib
import re
from typing import Final, NamedTuple

BLANK: Final = " \t"

OPERATORS: Final = "\n;&|<>()"
"""Each of these ends a word, as blanks do."""

_PLAIN_WORD: Final = re.compile(r"""[^ \t\n;&|<>()'"`$\\]+(?=[ \t\n;&|<>()]|\Z)""")

LAST_JOB_BEGINS: Final = re.compile(r"\$\{?!")

_LAST_JOB: Final = re.compile(r"\$!|\$\{!\}")

_LAST_JOB_OR: Final = re.compile(r"\$\{!(:[-?]|-[^}])")
"""What stands behind it counts only where `$!` has no value. bash has something else in mind with
`${!-}` and `${!?...}`."""


class Incomplete(Exception):
    """The text ends before its last command does."""


class Unknown(Exception):
    """The text has a form that is not known here."""


class Span(NamedTuple):
    """From where to where something stands in the text."""

    start: int
    end: int


class Here(NamedTuple):
    """A here-document: where its operator stands, and the lines of its body with the last one."""

    operator: int
    body: Span


class _Awaited(NamedTuple):
    """A here-document whose body is still to come, with the word that ends it as it stands."""

    operator: int
    word: str
    strips: bool


class Words:
    """A place in a text that moves on, word by word."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.heres: list[Here] = []
        self.last_jobs: list[Span] = []
        """Where `$!` is expanded, in one of its forms."""
        self._awaited: list[_Awaited] = []

    def begins(self, token: str) -> bool:
        """Return whether `token` comes next."""
        return self.text.startswith(token, self.at)

    @property
    def is_at_end(self) -> bool:
        """Whether nothing comes any more."""
        return self.at >= len(self.text)

    def skip_blanks(self) -> None:
        """Go on behind blanks, continued lines and a comment."""
        while not self.is_at_end:
            if self.text[self.at] in BLANK:
                self.at += 1
            elif self.begins("\\\n"):
                self.at += 2
                if self.is_at_end:
                    raise Incomplete
            elif self.begins("#"):
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            else:
                return

    def skip_lines(self) -> None:
        """Go on behind blanks and ends of lines."""
        self.skip_blanks()
        while self.begins("\n"):
            self.end_line()
            self.skip_blanks()

    def end_line(self) -> None:
        """Go on behind the end of a line, and the here-documents that begin there."""
        self.at += 1
        awaited, self._awaited = self._awaited, []
        for each in awaited:
            self._read_here(each)

    @property
    def awaits_here(self) -> bool:
        """Whether the body of a here-document is still to come."""
        return bool(self._awaited)

    def peek(self) -> str:
        """Return the next word if nothing of it is quoted or substituted, and stay where we are."""
        # It looks at no substitution: those nest, and would be read twice as often at each level.
        found = _PLAIN_WORD.match(self.text, self.at)
        return "" if found is None else found[0]

    def word(self) -> Span | None:
        """Go on behind a word; None if there is none."""
        start = self.at
        while not self.is_at_end:
            character = self.text[self.at]
            if character in BLANK or character in OPERATORS:
                break
            self._part(character)
        return Span(start, self.at) if self.at > start else None

    def await_here(self, operator: int, word: Span, *, strips: bool) -> None:
        """Remember that the body of a here-document begins behind this line."""
        self._awaited.append(_Awaited(operator, self.text[word.start : word.end], strips))

    def read_quoted(self, start: int) -> None:
        """Go from there to the end of the text, all of which is as within double quotes."""
        self.at = start
        while not self.is_at_end:
            self._quoted_part()

    def nested(self) -> None:
        """Go on behind the commands of a substitution, up to its `)`."""
        raise NotImplementedError

    def _part(self, character: str) -> None:
        if character == "\\":
            self._escape()
        elif character == "'":
            self._go_behind("'", self.at + 1)
        elif character == '"':
            self._double()
        elif character == "`":
            self._backquote()
        elif character == "$":
            self._dollar(quoted=False)
        else:
            self.at += 1

    def _escape(self) -> None:
        self.at += 2
        if self.at > len(self.text) or (self.is_at_end and self.text[-1] == "\n"):
            raise Incomplete

    def _go_behind(self, token: str, start: int) -> None:
        end = self.text.find(token, start)
        if end < 0:
            raise Incomplete
        self.at = end + len(token)

    def _double(self) -> None:
        self.at += 1
        while not self.begins('"'):
            self._quoted_part()
        self.at += 1

    def _quoted_part(self) -> None:
        if self.is_at_end:
            raise Incomplete
        character = self.text[self.at]
        if character == "\\":
            self._escape()
        elif character == "`":
            self._backquote()
        elif character == "$":
            self._dollar(quoted=True)
        else:
            self.at += 1

    def _backquote(self) -> None:
        self.at += 1
        quote = ""
        while not self.begins("`"):
            if self.is_at_end:
                raise Incomplete
            character = self.text[self.at]
            if character == "\\":
                self._escape()
            elif character == "$" and quote != "'" and self._last_job():
                pass
            else:
                if character == quote:
                    quote = ""
                elif character in "'\"" and not quote:
                    quote = character
                self.at += 1
        self.at += 1

    def _last_job(self) -> bool:
        """Go on behind `$!` if we are at it."""
        found = _LAST_JOB.match(self.text, self.at)
        if found is None:
            return False
        self.last_jobs.append(Span(self.at, found.end()))
        self.at = found.end()
        return True

    def _dollar(self, *, quoted: bool) -> None:
        if self._last_job() or (self.begins("$((") and self._arithmetic()):
            return
        if self.begins("$("):
            self.at += 2
            self.nested()
        elif self.begins("${"):
            start, inside = self.at, len(self.last_jobs)
            self.at += 2
            while not self.begins("}"):
                if self.is_at_end:
                    raise Incomplete
                if quoted and not self.begins('"'):
                    self._quoted_part()
                else:
                    self._part(self.text[self.at])
            self.at += 1
            if _LAST_JOB_OR.match(self.text, start):
                self.last_jobs[inside:] = [Span(start, self.at)]
        else:
            # The second one of `$$` begins nothing.
            self.at += 2 if self.begins("$$") else 1

    def _arithmetic(self) -> bool:
        """Go on behind `$((...))`; False if it is a substitution that begins with a subshell."""
        before, known = self.at, len(self.last_jobs)
        if self._reads_arithmetic():
            return True
        self.at = before
        del self.last_jobs[known:]
        return False

    def _reads_arithmetic(self) -> bool:
        self.at += 3
        depth = 2
        while depth:
            if self.is_at_end:
                return False
            character = self.text[self.at]
            if character in "()":
                depth += 1 if character == "(" else -1
                self.at += 1
            else:
                try:
                    self._part(character)
                except Incomplete:
                    return False
        return self.text[self.at - 2] == ")"

    def _read_here(self, awaited: _Awaited) -> None:
        delimiter = without_quotes(awaited.word)
        start = self.at
        while not self.is_at_end:
            end = self.text.find("\n", self.at)
            end = len(self.text) if end < 0 else end
            line = self.text[self.at : end]
            self.at = min(end + 1, len(self.text))
            if (line.lstrip("\t") if awaited.strips else line) == delimiter:
                self.heres.append(Here(awaited.operator, Span(start, self.at)))
                if delimiter == awaited.word:
                    self._find_last_jobs(start)
                return
        raise Incomplete

    def _find_last_jobs(self, start: int) -> None:
        """Find `$!` between there and here, which is expanded as in double quotes."""
        if not LAST_JOB_BEGINS.search(self.text, start, self.at):
            return
        body = type(self)(self.text[: self.at])
        # sh says what is wrong with it, or it knows more than we do.
        with contextlib.suppress(Incomplete, Unknown, RecursionError):
            body.read_quoted(start)
        self.last_jobs += body.last_jobs


def without_quotes(word: str) -> str:
    """Return a word as sh reads the end of a here-document: quotes removed, nothing expanded."""
    plain = []
    quote = ""
    at = 0
    while at < len(word):
        character = word[at]
        at += 1
        if character == "\\" and quote != "'" and at < len(word):
            if quote and word[at] not in '$`"\\':
                plain.append(character)
            plain.append(word[at])
            at += 1
        elif character == quote:
            quote = ""
        elif character in "'\"" and not quote:
            quote = character
        else:
            plain.append(character)
    return "".join(plain)
