"""The modals: deny with a reason, ask for a change, change arguments; and what a submit says. Pure.

Texts of agents, tools and servers stand in plain_text only. `private_metadata` is a look-up key
like a button's value: it is checked again when it comes back.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from approvals.editing import Edited, Field, edited
from approvals.model import Approval
from approvals.phrases import PRESETS
from approvals.slack.action_values import ASK, DENY, DONE, EDIT, Pressed, parse_value, value_of
from approvals.slack.text import visible

Json = dict[str, Any]

REASON: Final = "reason"
PRESET: Final = "preset"
ARGUMENTS: Final = "arguments"
"""Block ids of the inputs; errors of a submit name them."""

LONGEST_INPUT: Final = 3_000
_LONGEST_REASON: Final = 2_000
_LONGEST_NAME: Final = 200


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the button stood. Empty for App Home."""

    channel: str = ""
    ts: str = ""


@dataclass(frozen=True, slots=True)
class Submitted:
    """What a modal's metadata says, once it was found to be ours."""

    pressed: Pressed
    origin: Origin


def deny(approval: Approval, origin: Origin) -> Json:
    """A reason from the list, in one's own words, or both; one of the two is needed."""
    options = [{"text": _plain(words), "value": words} for words in PRESETS]
    chosen = {
        "type": "static_select",
        "action_id": PRESET,
        "placeholder": _plain("Choose, or write below"),
        "options": options,
    }
    return _modal(
        DENY,
        approval,
        origin,
        title="Deny this call",
        submit="Deny",
        blocks=[
            _input(PRESET, "Reason", chosen, optional=True),
            _input(REASON, "In your words", _written("It reaches the agent"), optional=True),
        ],
        sentence="It will not run, and the agent is told why.",
    )


def settle(approval: Approval, origin: Origin, action: str) -> Json:
    """How it is known whether an earlier call did what this one does."""
    done = action == DONE
    return _modal(
        action,
        approval,
        origin,
        title="It was done" if done else "It was not done",
        submit="Record",
        blocks=[
            _input(REASON, "What you looked at and found", _written("Kept in the history")),
        ],
        sentence="About the earlier call whose outcome is unknown. Nothing is sent again.",
    )


def ask(approval: Approval, origin: Origin) -> Json:
    """A denial that says what to change."""
    return _modal(
        ASK,
        approval,
        origin,
        title="Ask for a change",
        submit="Ask",
        blocks=[
            _input(REASON, "What should the agent change?", _written("It reaches the agent")),
        ],
        sentence="It will not run as it is. The agent is told what to change and may call again.",
    )


def edit(approval: Approval, origin: Origin, fields: tuple[Field, ...]) -> Json | None:
    """The arguments this rule lets a reviewer change, as JSON; None where the page must do it."""
    shown = editable_json(fields)
    if shown is None:
        return None
    box = {
        "type": "plain_text_input",
        "action_id": ARGUMENTS,
        "multiline": True,
        "max_length": LONGEST_INPUT,
        "initial_value": shown,
    }
    return _modal(
        EDIT,
        approval,
        origin,
        title="Change arguments",
        submit="Save",
        blocks=[_input(ARGUMENTS, "Arguments that may be changed", box)],
        sentence="Saving approves nothing: the changed call gets a new card to approve.",
    )


def offered(fields: tuple[Field, ...]) -> tuple[Field, ...]:
    """Those of them whose names a reader sees as they are."""
    return tuple(field for field in fields if visible(field.label) == field.label)


def editable_json(fields: tuple[Field, ...]) -> str | None:
    """The fields as one JSON object; None if there are none, too many, or two with one name."""
    names = Counter(field.label for field in fields)
    if not fields or max(names.values()) > 1:
        return None
    lines = [
        f"  {json.dumps(field.label, ensure_ascii=False)}: {_json_of(field)}" for field in fields
    ]
    shown = "{\n" + ",\n".join(lines) + "\n}"
    return shown if len(shown) <= LONGEST_INPUT else None


def submitted(view: Mapping[str, Any]) -> Submitted | None:
    """Which approval a modal is about; None when it is none of ours."""
    try:
        found = json.loads(view.get("private_metadata") or "")
    except (TypeError, ValueError):
        return None
    if not isinstance(found, dict):
        return None
    pressed = parse_value(found.get("value"))
    if pressed is None:
        return None
    channel, ts = (_text_of(found.get(name)) for name in ("channel", "ts"))
    return Submitted(pressed, Origin(channel, ts))


def reason_in(view: Mapping[str, Any]) -> str:
    """What was written, or else what was chosen; "" when neither."""
    chosen = _state(view, PRESET).get("selected_option")
    preset = _text_of(chosen.get("value")) if isinstance(chosen, dict) else ""
    written = _text_of(_state(view, REASON).get("value")).strip()
    return (written or (preset if preset in PRESETS else ""))[:_LONGEST_REASON]


def edit_in(view: Mapping[str, Any], arguments: bytes, fields: tuple[Field, ...]) -> Edited | str:
    """The call as the modal would have it, or what is wrong with it in words."""
    try:
        wanted = json.loads(
            _text_of(_state(view, ARGUMENTS).get("value")),
            object_pairs_hook=_once,
            parse_int=_Amount,
            parse_float=_Amount,
            parse_constant=_never,
        )
    except _Twice as twice:
        return f"{twice} is there twice."
    except (ValueError, RecursionError):
        return 'This is not JSON. Keep the form {"name": value}.'
    if not isinstance(wanted, dict):
        return 'Keep the form {"name": value}.'
    by_label = {field.label: field for field in fields}
    given: dict[str, str] = {}
    for label, value in wanted.items():
        field = by_label.get(label)
        if field is None:
            return f"{visible(label)[:_LONGEST_NAME]} may not be changed here."
        written = _as_form(field, value)
        if written is None:
            return f"{visible(label)[:_LONGEST_NAME]} must stay a {field.kind}."
        given[field.name] = written
    found = edited(arguments, fields, given)
    if isinstance(found, str):
        return found
    return found if found.rows else "Nothing was changed yet."


class _Amount(str):
    """A number as it was written: no digit of it is lost."""

    __slots__ = ()


class _Twice(Exception):
    """A name that stands in the object more than once."""


def _once(pairs: list[tuple[str, Any]]) -> Json:
    found: Json = {}
    for name, value in pairs:
        if name in found:
            raise _Twice(visible(name)[:_LONGEST_NAME])
        found[name] = value
    return found


def _never(constant: str) -> Any:
    raise ValueError(constant)


def _as_form(field: Field, value: Any) -> str | None:
    """The value as a form would send it; None if it is of another kind."""
    match field.kind, value:
        case "number", _Amount():
            return str(value)
        case "yes or no", bool():
            return "true" if value else "false"
        case "text", str() if not isinstance(value, _Amount):
            return value
    return None


def _json_of(field: Field) -> str:
    return json.dumps(field.value, ensure_ascii=False) if field.kind == "text" else field.value


def _modal(
    callback: str,
    approval: Approval,
    origin: Origin,
    *,
    title: str,
    submit: str,
    blocks: list[Json],
    sentence: str,
) -> Json:
    call = approval.call
    names = [visible(name)[:_LONGEST_NAME] for name in (call.tool, call.server)]
    agent = visible(call.grant_label or call.grant)[:_LONGEST_NAME]
    about = f"{names[0]} on {names[1]}, asked by {agent}. {sentence}"
    kept = {"value": value_of(approval), "channel": origin.channel, "ts": origin.ts}
    return {
        "type": "modal",
        "callback_id": callback,
        "private_metadata": json.dumps(kept),
        "title": _plain(title),
        "submit": _plain(submit),
        "close": _plain("Back"),
        "blocks": [
            {"type": "section", "block_id": "about", "text": _plain(about)},
            *blocks,
        ],
    }


def _input(block_id: str, label: str, element: Json, *, optional: bool = False) -> Json:
    return {
        "type": "input",
        "block_id": block_id,
        "optional": optional,
        "label": _plain(label),
        "element": element,
    }


def _written(hint: str) -> Json:
    return {
        "type": "plain_text_input",
        "action_id": REASON,
        "multiline": True,
        "max_length": _LONGEST_REASON,
        "placeholder": _plain(hint),
    }


def _plain(words: str) -> Json:
    return {"type": "plain_text", "text": words, "emoji": False}


def _state(view: Mapping[str, Any], block_id: str) -> Mapping[str, Any]:
    """What was entered into this input. The element's action_id does not matter: it has one."""
    state = view.get("state")
    values = state.get("values") if isinstance(state, dict) else None
    block = values.get(block_id) if isinstance(values, dict) else None
    elements = list(block.values()) if isinstance(block, dict) else []
    return elements[0] if elements and isinstance(elements[0], dict) else {}


def _text_of(value: object) -> str:
    # A lone surrogate is legal in JSON's escapes and nowhere in UTF-8.
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""
