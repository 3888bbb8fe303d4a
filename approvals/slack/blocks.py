"""Block Kit, as far as it is used here. Pure.

What others wrote goes through `plain` and `said`, which parse nothing; `ours` is for our own words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from approvals.slack.limits import ACTIONS, BUTTON, CONFIRM, FALLBACK, FIELD, HEADER, TEXT
from approvals.slack.text import fit, visible

Json = dict[str, Any]
NOTHING: Final = "-"
"""Stands where Slack wants a text and there is none."""


@dataclass(frozen=True, slots=True)
class MessageBody:
    """A message: `text` for notifications and screen readers, `blocks` for the eye."""

    text: str
    blocks: tuple[Json, ...]
    approvable: bool = False  # it has an Approve button


def face(text: str, blocks: Sequence[Json | None], *, approvable: bool = False) -> MessageBody:
    """The message of those blocks that are there."""
    return MessageBody(
        fit(text, FALLBACK), tuple(one for one in blocks if one is not None), approvable
    )


def plain(*lines: str, most: int = TEXT) -> Json:
    """Text of anyone's, in as many lines as are given: none of them holds another line."""
    shown = "\n".join(map(visible, lines))
    return {"type": "plain_text", "text": fit(shown, most).strip() or NOTHING, "emoji": False}


def ours(text: str, most: int = TEXT) -> Json:
    """Our own words, as `mrkdwn`; bare addresses and names in it stay text."""
    return {"type": "mrkdwn", "text": fit(text, most) or NOTHING, "verbatim": True}


def header(text: str) -> Json:
    return {"type": "header", "block_id": "what", "text": plain(text, most=HEADER)}


def section(block_id: str, text: Json) -> Json:
    return {"type": "section", "block_id": block_id, "text": text}


def fields(block_id: str, texts: Sequence[Json]) -> Json:
    for one in texts:
        one["text"] = fit(one["text"], FIELD)
    return {"type": "section", "block_id": block_id, "fields": list(texts)}


def context(block_id: str, texts: Sequence[Json]) -> Json:
    return {"type": "context", "block_id": block_id, "elements": list(texts)}


def rich(block_id: str, elements: Sequence[Json]) -> Json:
    return {"type": "rich_text", "block_id": block_id, "elements": list(elements)}


def said(text: str, **style: bool) -> Json:
    """A run of anyone's text inside rich text, already fit to be shown."""
    return {"type": "text", "text": text or NOTHING, **({"style": style} if style else {})}


def line(*runs: Json) -> Json:
    return {"type": "rich_text_section", "elements": list(runs)}


def bullets(items: Sequence[Json]) -> Json:
    return {"type": "rich_text_list", "style": "bullet", "elements": list(items)}


def preformatted(text: str) -> Json:
    return {"type": "rich_text_preformatted", "elements": [said(text)]}


def actions(block_id: str, buttons: Sequence[Json]) -> Json:
    return {"type": "actions", "block_id": block_id, "elements": list(buttons)[:ACTIONS]}


def button(
    action_id: str,
    label: str,
    *,
    value: str = "",
    url: str = "",
    style: str = "",
    spoken: str = "",
    confirm: Json | None = None,
) -> Json:
    """A button; `spoken` is what screen readers say of it."""
    made: Json = {"type": "button", "action_id": action_id, "text": plain(label, most=BUTTON)}
    if value:
        made["value"] = value
    if url:
        made["url"] = url
    if style:
        made["style"] = style
    if spoken:
        made["accessibility_label"] = fit(visible(spoken), BUTTON)
    if confirm is not None:
        made["confirm"] = confirm
    return made


def confirm(title: str, text: str, yes: str, no: str) -> Json:
    return {
        "title": plain(title, most=CONFIRM["title"]),
        "text": plain(text, most=CONFIRM["text"]),
        "confirm": plain(yes, most=CONFIRM["confirm"]),
        "deny": plain(no, most=CONFIRM["deny"]),
    }
