"""Slack's limits on messages, checked before every send: slack_sdk's models miss some. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

Json = dict[str, Any]

TEXT: Final = 3_000
"""Characters of a text object; `_TEXTS` names the narrower ones."""

FALLBACK: Final = 3_900
"""Characters of a message's own text: Slack splits a longer one in two."""

MESSAGE_BLOCKS: Final = 50
HEADER: Final = 150
FIELDS: Final = 10
FIELD: Final = 2_000
CONTEXT: Final = 10
ACTIONS: Final = 25
BUTTON: Final = 75
VALUE: Final = 2_000
URL: Final = 3_000
ID: Final = 255
CONFIRM: Final = {"title": 100, "text": 300, "confirm": 30, "deny": 30}
WHOLE: Final = 10_000
"""Characters of all texts of one message's blocks. Slack documents none and refuses some messages
from 11,300 on (`msg_blocks_too_long`, bolt-js #2509 and #2867).
"""


def check(text: str, blocks: Sequence[Mapping[str, Any]]) -> list[str]:
    """What Slack would refuse of this message; empty means fine."""
    found = list(_blocks(blocks, MESSAGE_BLOCKS))
    if not 1 <= len(text) <= FALLBACK:
        found.append(f"text of {len(text)} characters")
    if sum(map(len, texts(blocks))) > WHOLE:
        found.append("all texts together are too long")
    return found


def texts(blocks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Every text in the blocks, wherever it stands."""
    for block in blocks:
        yield from _texts(block)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, member in value.items():
            if name == "text" and isinstance(member, str):
                yield member
            else:
                yield from _texts(member)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _blocks(blocks: Sequence[Mapping[str, Any]], most: int) -> Iterator[str]:
    if len(blocks) > most:
        yield f"{len(blocks)} blocks"
    yield from _ids("block_id", blocks)
    yield from _ids("action_id", [one for block in blocks for one in _elements(block)])
    for place, block in enumerate(blocks):
        for problem in _block(block):
            yield f"block {place} ({block.get('type')}): {problem}"


def _ids(name: str, holders: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    ids = [str(one[name]) for one in holders if name in one]
    if len(ids) != len(set(ids)):
        yield f"{name} is not unique"
    if any(not 1 <= len(one) <= ID for one in ids):
        yield f"{name} is empty or too long"


def _elements(block: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    rows = list(block.get("elements", ())) if block.get("type") == "actions" else []
    return rows + [block[name] for name in ("accessory", "element") if name in block]


def _block(block: Mapping[str, Any]) -> Iterator[str]:
    check_one = _BY_TYPE.get(str(block.get("type")))
    if check_one is None:
        yield "is not used here"
    else:
        yield from check_one(block)
    for element in _elements(block):
        if element.get("type") == "button":
            yield from _button(element)


def _header(block: Mapping[str, Any]) -> Iterator[str]:
    yield from _text(block.get("text"), HEADER, plain=True)


def _context(block: Mapping[str, Any]) -> Iterator[str]:
    yield from _count(block, CONTEXT)
    for element in block.get("elements", ()):
        yield from _text(element, TEXT)


def _actions(block: Mapping[str, Any]) -> Iterator[str]:
    yield from _count(block, ACTIONS)


def _rich_text(block: Mapping[str, Any]) -> Iterator[str]:
    found = list(_texts(block))
    if not found or any(not one for one in found):
        yield "an empty text"


def _input(block: Mapping[str, Any]) -> Iterator[str]:
    yield from _text(block.get("label"), FIELD, plain=True)


def _divider(_block: Mapping[str, Any]) -> Iterator[str]:
    yield from ()


def _section(block: Mapping[str, Any]) -> Iterator[str]:
    fields = block.get("fields", ())
    if "text" in block:
        yield from _text(block["text"], TEXT)
    elif not fields:
        yield "neither text nor fields"
    if len(fields) > FIELDS:
        yield f"{len(fields)} fields"
    for one in fields:
        yield from _text(one, FIELD)


def _count(block: Mapping[str, Any], most: int) -> Iterator[str]:
    if not 1 <= len(block.get("elements", ())) <= most:
        yield f"{len(block.get('elements', ()))} elements"


def _button(button: Mapping[str, Any]) -> Iterator[str]:
    yield from _text(button.get("text"), BUTTON, plain=True)
    if not 1 <= len(button.get("value", "-")) <= VALUE:
        yield "value is empty or too long"
    if not 1 <= len(button.get("url", "-")) <= URL:
        yield "url is empty or too long"
    if len(button.get("accessibility_label", "")) > BUTTON:
        yield "accessibility_label is too long"
    if button.get("style", "primary") not in ("primary", "danger"):
        yield "style is neither primary nor danger"
    confirm = button.get("confirm")
    if isinstance(confirm, Mapping):
        for name, most in CONFIRM.items():
            yield from _text(confirm.get(name), most)


def _text(text: object, most: int, *, plain: bool = False) -> Iterator[str]:
    if not isinstance(text, Mapping) or text.get("type") not in ("plain_text", "mrkdwn"):
        yield "no text object"
        return
    if plain and text["type"] != "plain_text":
        yield "it must be plain_text"
    if not 1 <= len(text.get("text", "")) <= most:
        yield f"{len(text.get('text', ''))} characters of at most {most}"


_BY_TYPE: Final = {
    "header": _header,
    "section": _section,
    "context": _context,
    "actions": _actions,
    "rich_text": _rich_text,
    "input": _input,
    "divider": _divider,
}
