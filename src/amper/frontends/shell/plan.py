"""What to do for a text, step by step: as much as possible at once goes to `/bin/sh`.

Between two things that only we can do (a builtin of ours, a job in the background) one sh gets all
the text there is, so that whatever it sets, defines or reads in between stays within it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from amper.frontends.shell.grammar import ASSIGNMENT, Chain, Command, Pipeline, Text
from amper.frontends.shell.quoting import BLANK

NOTHING: Final = BLANK + "\n"
"""What has no meaning where a command could begin. Python knows more blanks than sh."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9_./+-]+")
"""A name that means itself."""


_AS_IN_SH: Final = frozenset({"jobs", "kill", "wait"})
"""What an sh does for its own jobs as we do it for ours."""

_FOR_US: Final = re.compile(r"%|^-(?:-.|n)")
"""What it does not know, or only where it controls jobs."""


@dataclass(frozen=True, slots=True)
class Own:
    """A builtin of ours: its words as they stand, and what becomes of what it says."""

    name: str
    words: tuple[str, ...]
    text: str
    assignments: str = ""
    """Those before its name, which hold for it alone."""
    names: tuple[str, ...] = ()
    """What they set."""
    redirections: str = ""
    pipe: str = ""
    """The rest of the pipeline, which reads what the builtin says."""
    is_negated: bool = False


@dataclass(frozen=True, slots=True)
class Assign:
    """Assignments that persist, as they stand."""

    names: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Outside:
    """What goes to `/bin/sh` as it stands."""

    text: str
    functions: tuple[tuple[str, str], ...] = ()
    """Those that it defines for later: name and definition."""
    only: Only | None = None
    is_last: bool = False
    """Whether nothing comes after it."""


@dataclass(frozen=True, slots=True)
class Background:
    """What goes to `/bin/sh` as a job in the background."""

    text: str
    only: Only | None = None


@dataclass(frozen=True, slots=True)
class Only:
    """The one command that a text is, if it is a simple one: its plain name, and where that stands."""

    name: str
    at: int


@dataclass(frozen=True, slots=True)
class Linked:
    """An and-or list of which something is ours: a connector before each but the first step."""

    links: tuple[tuple[str, Own | Assign | Outside], ...]


Step = Outside | Background | Linked

Names = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Ours:
    """Which names are ours: all builtins, and of them those that sh has not or that differ there."""

    builtins: Names
    only_ours: Names


def plan(text: Text, ours: Ours, *, inner_jobs: bool = False) -> list[Step]:
    """Return the steps of a text. What was not understood is the last one.

    `inner_jobs` says whether an sh starts jobs of its own in there, and in what it calls. What waits
    for them on the same line is that sh's, too, unless the line has jobs of ours.
    """
    if (
        inner_jobs
        and _is_for_sh(text, ours)
        and not any(each.is_background for each in text.chains)
    ):
        steps: list[Step] = [*_outside(text, text.chains)]
    else:
        steps = [*_steps(text, ours, text.chains)]
    rest = text.between(text.understood, len(text.text))
    return [*steps, Outside(rest)] if rest.strip(NOTHING) else steps


def plan_script(text: Text, ours: Ours) -> list[Step]:
    """Return the steps of a text that nothing comes after.

    Behind the last thing that only we can do, sh can do what is ours otherwise, and as it always
    does: it gets all the rest.
    """
    last = 0
    if text.inner_jobs and _is_for_sh(text, ours):
        # It waits for what an sh has started within a loop or a function, and no other sh could.
        return [Outside(text.text, is_last=True)]
    for number, chain in enumerate(text.chains, 1):
        names = (_name(text, pipeline.commands[0]) for _, pipeline in chain.links)
        if chain.is_background or any(map(ours.only_ours, names)):
            last = number
    steps = list(_steps(text, ours, text.chains[:last]))
    rest = text.between(text.chains[last - 1].end if last else 0, len(text.text))
    return [*steps, Outside(rest, is_last=True)] if rest.strip(NOTHING) else steps


def starts_unseen(text: Text) -> bool:
    """Return whether a text that is no definition of a function starts what is no job of ours."""
    functions = [
        command.span
        for chain in text.chains
        for _, pipeline in chain.links
        for command in pipeline.commands
        if command.function is not None
    ]
    return any(not any(span.start <= at < span.end for span in functions) for at in text.inner_jobs)


def _is_for_sh(text: Text, ours: Ours) -> bool:
    """Return whether an sh can do all of a text that asks for jobs, or ends them."""
    asked = [
        (pipeline.commands[0], name)
        for chain in text.chains
        for _, pipeline in chain.links
        if ours.only_ours(name := _name(text, pipeline.commands[0]))
    ]
    return bool(asked) and all(
        name in _AS_IN_SH and not any(map(_FOR_US.search, _words(text, command)))
        for command, name in asked
    )


def _steps(text: Text, ours: Ours, chains: Sequence[Chain]) -> Iterator[Step]:
    together: list[Chain] = []
    for chain in chains:
        if chain.is_background or any(_is_ours(text, link, ours) for _, link in chain.links):
            yield from _outside(text, together)
            together = []
            yield _background(text, chain) if chain.is_background else _linked(text, chain, ours)
        else:
            together.append(chain)
    yield from _outside(text, together)


def _outside(text: Text, chains: Sequence[Chain]) -> Iterator[Outside]:
    if chains:
        commands = [
            command
            for chain in chains
            for _, pipeline in chain.links
            for command in pipeline.commands
        ]
        yield Outside(
            text.between(chains[0].span.start, chains[-1].span.end),
            tuple(
                (command.function, text.between(*command.span))
                for command in commands
                if command.function is not None
            ),
            _only(text, chains[0]) if len(chains) == 1 else None,
        )


def _background(text: Text, chain: Chain) -> Background:
    return Background(text.between(*chain.span), _only(text, chain))


def _only(text: Text, chain: Chain) -> Only | None:
    """Return the command of a list that has but one, if it is simple and has a plain name."""
    (_, pipeline), *others = chain.links
    if others or len(pipeline.commands) > 1 or pipeline.is_negated:
        return None
    command = pipeline.commands[0]
    name = _name(text, command)
    if not _PLAIN.fullmatch(name):
        return None
    word = command.words[_assignments(_words(text, command))]
    return Only(name, word.start - chain.span.start)


def _linked(text: Text, chain: Chain, ours: Ours) -> Linked:
    return Linked(
        tuple((connector, _part(text, pipeline, ours)) for connector, pipeline in chain.links)
    )


def _part(text: Text, pipeline: Pipeline, ours: Ours) -> Own | Assign | Outside:
    if not _is_ours(text, pipeline, ours):
        return next(_outside(text, [Chain(pipeline.span, (("", pipeline),), 0)]))
    command = pipeline.commands[0]
    words = _words(text, command)
    count = _assignments(words)
    if count == len(words):
        return Assign(_set_by(words), text.between(*command.span))
    is_piped = len(pipeline.commands) > 1
    return Own(
        name=words[count],
        words=tuple(words[count + 1 :]),
        text=text.between(*pipeline.span),
        assignments=" ".join(words[:count]),
        names=_set_by(words[:count]),
        redirections=_redirections(text, command),
        pipe=text.between(pipeline.commands[1].span.start, pipeline.span.end) if is_piped else "",
        is_negated=pipeline.is_negated,
    )


def _redirections(text: Text, command: Command) -> str:
    """Return where what a builtin says is to go. None of ours reads anything."""
    found = [text.text[span.start : span.end] for span in command.redirections]
    return " ".join(each for each in found if not each.lstrip("0123456789").startswith("<"))


def _is_ours(text: Text, pipeline: Pipeline, ours: Ours) -> bool:
    command = pipeline.commands[0]
    words = _words(text, command)
    if words and _assignments(words) == len(words):
        alone = len(pipeline.commands) == 1 and not command.redirections
        return alone and not pipeline.is_negated
    # What changes the shell changes nothing in a pipeline, each command of which has its own.
    is_ours = ours.builtins if len(pipeline.commands) == 1 else ours.only_ours
    return is_ours(_name(text, command))


def _name(text: Text, command: Command) -> str:
    """Return the word that names what a command runs; "" if it is none, or has no plain name."""
    words = _words(text, command)
    count = _assignments(words)
    return words[count] if count < len(words) else ""


def _words(text: Text, command: Command) -> list[str]:
    return [text.text[span.start : span.end] for span in command.words]


def _set_by(assignments: Sequence[str]) -> tuple[str, ...]:
    return tuple(word.partition("=")[0] for word in assignments)


def _assignments(words: Sequence[str]) -> int:
    """Return how many assignments there are before the first other word."""
    count = 0
    while count < len(words) and ASSIGNMENT.match(words[count]):
        count += 1
    return count
