"""What Tab does: it completes as far as that is clear, and shows what could follow.

The line editor's own way asks whether to show many. Ctrl-C as the answer is an error to it, and while
it waits nothing ends it.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, Final

from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.completion import CompleteEvent, Completion, get_common_complete_suffix
from prompt_toolkit.data_structures import Size
from prompt_toolkit.key_binding import KeyPressEvent
from prompt_toolkit.output import Output
from prompt_toolkit.utils import get_cwidth

MORE: Final = "..."


def complete(event: KeyPressEvent) -> Coroutine[Any, Any, None] | None:
    """Complete the word before the cursor, or return what is to show what it may become."""
    buffer, output = event.current_buffer, event.app.output
    wish = CompleteEvent(completion_requested=True)
    found = list(buffer.completer.get_completions(buffer.document, wish))
    if len(found) == 1:
        buffer.delete_before_cursor(-found[0].start_position)
        buffer.insert_text(found[0].text)
    elif common := get_common_complete_suffix(buffer.document, found):
        buffer.insert_text(common)
    elif found:
        text = listed([_shown(each) for each in found], output.get_size())
        return _show(text, output)
    return None


async def _show(text: str, output: Output) -> None:
    await run_in_terminal(lambda: output.write(text), render_cli_done=True)


def listed(words: Sequence[str], size: Size) -> str:
    """Return words in columns, one below the other, as many as leave room for the line."""
    width = max(map(get_cwidth, words)) + 1
    columns = max(size.columns // width, 1)
    rows = -(-len(words) // columns)
    most = max(size.rows - 2, 1)
    lines = [words[row::rows] for row in range(rows)] if rows <= most else []
    if not lines:
        kept = words[: columns * most]
        lines = [*(kept[row::most] for row in range(most)), [MORE]]
    return "".join(f"{_line(line, width)}\n" for line in lines)


def _line(words: Sequence[str], width: int) -> str:
    return "".join(f"{word}{' ' * (width - get_cwidth(word))}" for word in words).rstrip()


def _shown(completion: Completion) -> str:
    """Return what may be shown of it: a file may be called anything."""
    return "".join(c if c.isprintable() else "?" for c in completion.display_text)
