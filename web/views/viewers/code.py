"""Code with its words told apart, by Pygments. Pure but for the clock of its own thread.

Pygments' patterns backtrack, and the text is an agent's: it is given in windows too short for that
to matter, within a time that the whole call has. What is not coloured is shown all the same; and no
colouring is used that does not give back exactly the text.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import Any, Final

from web.views.viewers.spans import Effort, Mark, MarkedText, joined

LANGUAGES: Final = {
    "sql": "SQL", "python": "Python", "json": "JSON", "yaml": "YAML", "toml": "TOML",
    "bash": "shell", "javascript": "JavaScript", "typescript": "TypeScript", "go": "Go",
    "rust": "Rust", "java": "Java", "c": "C",
}  # fmt: skip
"""By Pygments' name what people call it. Each is tried against hostile texts in the tests."""

WINDOW: Final = 3_000  # characters that are coloured at a time
MOST: Final = 120_000  # characters of a text that is coloured

Reading = Callable[[str], Iterable[tuple[int, Any, str]]]


def lines_in(
    lines: list[str], language: str, effort: Effort
) -> tuple[list[tuple[MarkedText, ...]], bool]:
    """Each line in its colours, and whether all are coloured."""
    text = "\n".join(lines)
    if language not in LANGUAGES or len(text) > MOST:
        return [(MarkedText(line),) for line in lines], False
    read = _lexer(language)  # loading it is not the text's doing
    spans: list[MarkedText] = []
    whole = True
    for window in windows(text):
        whole = whole and effort.seconds > 0
        if not whole:
            spans.append(MarkedText(window))
            continue
        began = time.thread_time()
        spans += coloured(window, read)
        effort.seconds -= time.thread_time() - began
    return list(_by_line(spans)), whole


def windows(text: str) -> Iterator[str]:
    """The text in parts, each ended by an empty line, else a line, where there is one."""
    at = 0
    while at < len(text):
        end = at + WINDOW
        if end < len(text):
            low = at + WINDOW // 2
            empty, line = text.rfind("\n\n", low, end), text.rfind("\n", low, end)
            end = empty + 2 if empty > 0 else line + 1 if line > 0 else end
        yield text[at:end]
        at = end


def coloured(window: str, read: Reading) -> tuple[MarkedText, ...]:
    """The window in its colours; plain where Pygments would lose a character of it."""
    spans = tuple(MarkedText(value, _mark(kind)) for _, kind, value in read(window))
    if "".join(span.text for span in spans) != window:
        return (MarkedText(window),)
    return joined(spans)


def _lexer(language: str) -> Reading:
    """Loaded on first use: most calls carry no code."""
    lexer = import_module("pygments.lexers").get_lexer_by_name(language)
    read: Reading = lexer.get_tokens_unprocessed
    return read


def _mark(kind: Any) -> Mark:
    names = tuple(map(str, kind))
    match names[:1]:
        case ("Keyword",):
            return "word"
        case ("Comment",):
            return "remark"
        case ("Literal",):
            return "quote" if names[1:2] == ("String",) else "digit"
        case ("Name",):
            return "word" if names[1:2] in (("Builtin",), ("Tag",)) else ""
        case _:
            return ""


def _by_line(spans: list[MarkedText]) -> Iterator[tuple[MarkedText, ...]]:
    line: list[MarkedText] = []
    for span in spans:
        first, *more = span.text.split("\n")
        line.append(MarkedText(first, span.mark))
        for text in more:
            yield joined(line) or (MarkedText(""),)
            line = [MarkedText(text, span.mark)]
    yield joined(line) or (MarkedText(""),)
