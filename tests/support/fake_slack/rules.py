"""Slack's limits as its documentation states them, written apart from the product's checker.

The models of slack_sdk say what they know; the rest is here. Empty answers mean: fine. Not a test.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.blocks import Block

Json = dict[str, Any]
KNOWN = {
    *("header", "section", "context", "actions", "divider", "rich_text", "input", "image"),
    *("file", "video", "markdown"),
}
TEXTS = {"section": 3000, "header": 150}


def wrong_blocks(blocks: object, most: int = 50) -> list[str]:
    """What is wrong with the blocks of a message."""
    if not isinstance(blocks, list):
        return ["blocks is not a list"]
    return list(_wrong(blocks, most))


def wrong_view(view: Json) -> list[str]:
    """What is wrong with a modal or a Home tab."""
    found = wrong_blocks(view.get("blocks"), most=100)
    if view.get("type") not in ("modal", "home"):
        found.append("view type")
    for name in ("title", "submit", "close") if view.get("type") == "modal" else ():
        text = view.get(name)
        if text is None:
            if name == "title":
                found.append("a modal needs a title")
        elif text.get("type") != "plain_text" or not 1 <= len(text.get("text", "")) <= 24:
            found.append(f"{name} is longer than 24 or no plain_text")
    if len(view.get("private_metadata") or "") > 3000:
        found.append("private_metadata")
    if len(view.get("callback_id") or "") > 255:
        found.append("callback_id")
    return found


def _wrong(blocks: list[Json], most: int) -> Iterator[str]:
    if len(blocks) > most:
        yield f"more than {most} blocks"
    ids = [block["block_id"] for block in blocks if "block_id" in block]
    if len(ids) != len(set(ids)) or any(not 1 <= len(one) <= 255 for one in ids):
        yield "block_id"
    actions = [
        str(element["action_id"])
        for block in blocks
        for element in _elements(block)
        if "action_id" in element
    ]
    if len(actions) != len(set(actions)) or any(not 1 <= len(one) <= 255 for one in actions):
        yield "action_id"
    for place, block in enumerate(blocks):
        if block.get("type") not in KNOWN:
            yield f"block {place}: unknown type"
            continue
        try:
            parsed = Block.parse(block)
            if parsed is not None:
                parsed.to_dict()
        except SlackObjectFormationError as error:
            yield f"block {place}: {error}"
        for problem in (*_texts(block), *_counts(block)):
            yield f"block {place}: {problem}"


def _texts(block: Json) -> Iterator[str]:
    kind = block["type"]
    if "text" in block:
        yield from _text(block["text"], TEXTS.get(kind, 3000))
        if kind == "header" and block["text"].get("type") != "plain_text":
            yield "a header is plain_text"
    elif kind == "header" or (kind == "section" and not block.get("fields")):
        yield "no text"
    if kind == "context":
        for element in block["elements"]:
            if element.get("type") != "image":
                yield from _text(element, 3000)


def _counts(block: Json) -> Iterator[str]:
    kind = block["type"]
    fields = block.get("fields", [])
    if len(fields) > 10:
        yield "more than 10 fields"
    for one in fields:
        yield from _text(one, 2000)
    elements = block.get("elements", [])
    most = {"context": 10, "actions": 25}.get(kind)
    if most is not None and not 1 <= len(elements) <= most:
        yield f"{len(elements)} elements"
    for element in _elements(block):
        yield from _element(element)
    if kind == "rich_text":
        yield from _rich(elements)


def _element(element: Json) -> Iterator[str]:
    if element.get("type") != "button":
        return
    yield from _text(element.get("text"), 75)
    if element["text"].get("type") != "plain_text":
        yield "a button's text is plain_text"
    if len(element.get("value", "x")) > 2000 or not element.get("value", "x"):
        yield "button value"
    if len(element.get("url", "")) > 3000:
        yield "button url"
    if len(element.get("accessibility_label", "")) > 75:
        yield "accessibility_label"
    if element.get("style", "primary") not in ("primary", "danger"):
        yield "button style"
    confirm = element.get("confirm")
    if confirm is not None:
        for name, most in (("title", 100), ("text", 300), ("confirm", 30), ("deny", 30)):
            yield from _text(confirm.get(name), most)


def _rich(elements: list[Json]) -> Iterator[str]:
    for one in elements:
        if one.get("type") not in (
            *("rich_text_section", "rich_text_preformatted", "rich_text_quote", "rich_text_list"),
        ):
            yield "rich_text element"
        elif one["type"] == "rich_text_list":
            yield from _rich(one["elements"])
        elif not one.get("elements"):
            yield "empty rich_text element"
        else:
            for leaf in one["elements"]:
                if leaf["type"] == "text" and not leaf.get("text"):
                    yield "empty rich text"


def _text(text: object, most: int) -> Iterator[str]:
    if not isinstance(text, dict) or text.get("type") not in ("plain_text", "mrkdwn"):
        yield "not a text object"
    elif not 1 <= len(str(text.get("text", ""))) <= most:
        yield f"text of {len(str(text.get('text', '')))} characters"
    elif text["type"] == "mrkdwn" and "emoji" in text:
        yield "emoji belongs to plain_text"
    elif text["type"] == "plain_text" and "verbatim" in text:
        yield "verbatim belongs to mrkdwn"


def _elements(block: Json) -> list[Json]:
    found = list(block.get("elements", [])) if block.get("type") == "actions" else []
    found += [block[name] for name in ("accessory", "element") if name in block]
    return found
