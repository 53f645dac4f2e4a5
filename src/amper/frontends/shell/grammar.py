"""Where the commands of a shell's text begin and end: POSIX's grammar, recognised and not obeyed.

Whatever stands between two places of the text goes to `/bin/sh` as it stands, so that nothing here
has to know what a command means. Where the text is not understood, all of the rest is one command.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from amper.frontends.shell.quoting import Here, Incomplete, Span, Unknown, Words

ASSIGNMENT: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=")

_FUNCTION_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")

_REDIRECTIONS: Final = ("<<<", "<<-", "<<", "<&", "<>", "<", ">>", ">&", ">|", ">")

_IF: Final = frozenset({"then", "elif", "else", "fi"})

_CLOSING: Final = frozenset({"then", "elif", "else", "fi", "do", "done", "esac", "}", "in"})


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a pipeline: its words and redirections; a compound one tells none."""

    span: Span
    words: tuple[Span, ...] = ()
    redirections: tuple[Span, ...] = ()
    function: str | None = None
    """The name of the function that it defines."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Commands with `|` between them; `!` before them turns the code around."""

    span: Span
    is_negated: bool
    commands: tuple[Command, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """Pipelines with `&&` or `||` before all but the first one; `&` behind them is no part of it."""

    span: Span
    links: tuple[tuple[str, Pipeline], ...]
    end: int
    """Where what follows begins."""
    is_background: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """A text and its commands. What was not understood is behind `understood`."""

    text: str
    chains: tuple[Chain, ...]
    heres: tuple[Here, ...]
    understood: int
    is_complete: bool = True
    """Whether it ends where a command ends."""
    last_jobs: tuple[Span, ...] = ()
    """Where `$!` is expanded, in no order; of what was not understood only some."""
    inner_jobs: tuple[int, ...] = ()
    """Where a `&` stands within a compound command, whose jobs are those of the sh that runs it."""

    def between(self, start: int, end: int) -> str:
        """Return what stands there, with the here-documents that belong to it and no others."""
        pieces = []
        behind = []
        at = start
        for here in self.heres:
            belongs = start <= here.operator < end
            is_inside = start <= here.body.start < end
            if belongs and not is_inside:
                behind.append(self.text[here.body.start : here.body.end])
            elif is_inside and not belongs:
                pieces.append(self.text[at : here.body.start])
                at = here.body.end
        pieces.append(self.text[at:end])
        return "\n".join(["".join(pieces), "".join(behind)]) if behind else "".join(pieces)


def read(text: str) -> Text:
    """Return the commands of a text. It never raises, and loses nothing."""
    parser = _Parser(text)
    chains: list[Chain] = []
    known = understood = 0
    is_complete = True
    try:
        while (chain := parser.chain_or_end()) is not None:
            chains.append(chain)
            if not parser.awaits_here:
                # What precedes a here-document on its line is of no use without it.
                known, understood = len(chains), parser.at
        if parser.awaits_here:
            raise Incomplete
        understood = len(text)
    except Incomplete:
        is_complete = False
    except (Unknown, RecursionError):
        pass
    return Text(
        text,
        tuple(chains[:known]),
        tuple(parser.heres),
        understood,
        is_complete,
        tuple(parser.last_jobs),
        tuple(parser.inner_jobs),
    )


def is_complete(text: str) -> bool:
    """Return whether no quote, substitution, compound command or here-document is left open."""
    return read(text).is_complete


class _Parser(Words):
    """One function for each rule of the grammar."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.inner_jobs: list[int] = []
        self._depth = 0
        """In how many subshells and substitutions we are, whose jobs nobody outside can wait for."""

    def chain_or_end(self) -> Chain | None:
        """Go on behind the next and-or list and what ends it; None at the end of the text."""
        self.skip_lines()
        if self.is_at_end:
            return None
        chain = self._chain()
        is_background = self.begins("&")
        if is_background or (self.begins(";") and not self._ends_case()):
            self.at += 1
        elif self.text[self.at : self.at + 1] not in ("", "\n"):
            raise Unknown
        end = self.at
        self.skip_blanks()
        if self.begins("\n"):
            self.end_line()
        return Chain(chain.span, chain.links, end, is_background)

    def nested(self) -> None:
        self._depth += 1
        try:
            self._list(frozenset())
        finally:
            self._depth -= 1
        self._expect(")")

    def _list(self, closing: frozenset[str]) -> None:
        """Go on behind the and-or lists of a compound command, up to one of the words."""
        while True:
            self.skip_lines()
            if self.is_at_end or self.begins(")") or self._ends_case():
                return
            if closing and self.peek() in closing:
                return
            self._chain()
            if self.begins("&") and not self._depth:
                self.inner_jobs.append(self.at)
            if self.begins("&") or (self.begins(";") and not self._ends_case()):
                self.at += 1

    def _chain(self) -> Chain:
        links = [("", self._pipeline())]
        while self.begins("&&") or self.begins("||"):
            connector = self.text[self.at : self.at + 2]
            self.at += 2
            self._skip_to_command()
            links.append((connector, self._pipeline()))
        return Chain(Span(links[0][1].span.start, links[-1][1].span.end), tuple(links), self.at)

    def _pipeline(self) -> Pipeline:
        start = self.at
        is_negated = False
        while self.peek() == "!":
            is_negated = not is_negated
            self.at += 1
            self._skip_to_command()
        commands = [self._command()]
        while self.begins("|") and not self.begins("||"):
            self.at += 2 if self.begins("|&") else 1
            self._skip_to_command()
            commands.append(self._command())
        return Pipeline(Span(start, commands[-1].span.end), is_negated, tuple(commands))

    def _skip_to_command(self) -> None:
        self.skip_lines()
        if self.is_at_end:
            raise Incomplete

    def _command(self) -> Command:
        """Go on behind a command and the blanks behind it."""
        start = self.at
        if self.begins("("):
            self.at += 1
            self.nested()
            return self._compound(start)
        word = self.peek()
        compounds = {
            "if": self._if,
            "while": self._loop,
            "until": self._loop,
            "for": self._for,
            "case": self._case,
            "{": self._group,
        }
        if word in compounds:
            self.at += len(word)
            compounds[word]()
            return self._compound(start)
        if word in _CLOSING:
            raise Unknown
        return self._simple()

    def _compound(self, start: int) -> Command:
        end = self.at
        self.skip_blanks()
        while self._redirection() is not None:
            end = self.at
            self.skip_blanks()
        return Command(Span(start, end))

    def _simple(self) -> Command:
        start = end = self.at
        words: list[Span] = []
        redirections: list[Span] = []
        while True:
            if self.begins("("):
                return self._function(words, redirections)
            found = self._redirection()
            if found is not None:
                redirections.append(found)
            elif (found := self.word()) is not None:
                words.append(found)
            else:
                break
            end = self.at
            self.skip_blanks()
        if end == start:
            raise Unknown
        return Command(Span(start, end), tuple(words), tuple(redirections))

    def _function(self, words: list[Span], redirections: list[Span]) -> Command:
        """Go on behind `name() compound`; we are at its parenthesis."""
        if len(words) != 1 or redirections:
            raise Unknown
        name = self.text[words[0].start : words[0].end]
        self.at += 1
        self.skip_blanks()
        self._expect(")")
        if not _FUNCTION_NAME.fullmatch(name):
            raise Unknown
        self._skip_to_command()
        body = self._command()
        return Command(Span(words[0].start, body.span.end), function=name)

    def _redirection(self) -> Span | None:
        start = place = self.at
        while place < len(self.text) and self.text[place] in "0123456789":
            place += 1
        operator = next((each for each in _REDIRECTIONS if self.text.startswith(each, place)), None)
        if operator is None or self.text.startswith(("<(", ">("), place):
            return None
        self.at = place + len(operator)
        self.skip_blanks()
        word = self.word()
        if word is None:
            raise Incomplete if self.is_at_end else Unknown
        if operator in ("<<", "<<-"):
            self.await_here(start, word, strips=operator == "<<-")
        return Span(start, self.at)

    def _if(self) -> None:
        while True:
            self._list(_IF)
            if self._keyword(_IF) == "fi":
                return

    def _loop(self) -> None:
        self._list(frozenset({"do"}))
        self._keyword({"do"})
        self._body()

    def _for(self) -> None:
        self.skip_blanks()
        if self.word() is None:
            raise Incomplete if self.is_at_end else Unknown
        self.skip_lines()
        if self.peek() == "in":
            self.at += len("in")
            self.skip_blanks()
            while self.word() is not None:
                self.skip_blanks()
        if self.begins(";"):
            self.at += 1
        self.skip_lines()
        self._keyword({"do"})
        self._body()

    def _body(self) -> None:
        self._list(frozenset({"done"}))
        self._keyword({"done"})

    def _group(self) -> None:
        self._list(frozenset({"}"}))
        self._keyword({"}"})

    def _case(self) -> None:
        self.skip_blanks()
        if self.word() is None:
            raise Incomplete if self.is_at_end else Unknown
        self.skip_lines()
        self._keyword({"in"})
        while True:
            self.skip_lines()
            if self.peek() == "esac":
                self.at += len("esac")
                return
            self._pattern()
            self._list(frozenset({"esac"}))
            if self._ends_case():
                self.at += 2
                # bash's `;;&`.
                self.at += self.begins("&")
            elif self.peek() != "esac":
                raise Incomplete if self.is_at_end else Unknown

    def _ends_case(self) -> bool:
        return self.begins(";;") or self.begins(";&")

    def _pattern(self) -> None:
        if self.begins("("):
            self.at += 1
        while True:
            self.skip_blanks()
            if self.word() is None:
                raise Incomplete if self.is_at_end else Unknown
            self.skip_blanks()
            if not self.begins("|"):
                break
            self.at += 1
        self._expect(")")

    def _keyword(self, words: frozenset[str] | set[str]) -> str:
        self.skip_blanks()
        word = self.peek()
        if word not in words:
            raise Incomplete if self.is_at_end else Unknown
        self.at += len(word)
        return word

    def _expect(self, token: str) -> None:
        if not self.begins(token):
            raise Incomplete if self.is_at_end else Unknown
        self.at += len(token)
