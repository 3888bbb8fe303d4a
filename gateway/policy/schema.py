"""The JSON Schema (2020-12) of policy.json, with descriptions that editors show. Pure.

It says what a schema can say. Durations that are too long, unknown groups, contradictions and
regexes that do not compile are `document.check`'s business.
"""

from __future__ import annotations

from typing import Any

from approvals.headline import MOST_TEMPLATE
from gateway.policy import vocabulary
from gateway.policy.conditions import MATCHES, OPERATORS
from gateway.policy.rules import DETACHED, REVEAL, RISKS

Schema = dict[str, Any]
_PATTERN = r"^[A-Za-z0-9_.*?-]{1,128}$"
_ARGS = r"^args(\.[^.\[\]\s\"'{}]+|\[(\d{1,6}|\*)\])+$"
_PATH = (
    r"^(args(\.[^.\[\]\s\"'{}]+|\[(\d{1,6}|\*)\])+"
    r"|tool\.annotations\.[^.\[\]\s\"'{}]+|tool\.risk|grant\.label|client\.name|session\.calls)$"
)


def schema() -> Schema:
    """The whole schema; `signoff policy schema` prints it."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Signoff policy",
        "description": "What agents may do with the tools of MCP servers.",
        **_object(
            {
                "$schema": {"type": "string", "minLength": 1},
                "version": {"const": "1", "description": 'The format: "1".'},
                "description": _text("For people; changes nothing."),
                "default": _default(),
                "hide": _hide(),
                "reviewers": {
                    "type": "object",
                    "description": "Groups of reviewers by name.",
                    "additionalProperties": {
                        "anyOf": [{"$ref": "#/$defs/names"}, {"$ref": "#/$defs/group"}]
                    },
                },
                "approval": {
                    **_object({**_terms(), "risk": _level()}),
                    "description": "Terms of every approval that does not say otherwise.",
                },
                "redact": _redact(),
                "all_tools": {"$ref": "#/$defs/all_tools"},
                "tools": {"$ref": "#/$defs/tools"},
                "servers": {
                    "type": "object",
                    "description": "Rules that are added for one server, by its name.",
                    "additionalProperties": {"$ref": "#/$defs/server"},
                    "propertyNames": {"pattern": r"\S"},
                },
            },
            required=("version", "default"),
        ),
        "$defs": _definitions(),
    }


def _definitions() -> dict[str, Schema]:
    rules = _rules()
    return {
        "names": _names(),
        "group": _object(
            {
                "description": _text("For people; changes nothing."),
                "members": {"$ref": "#/$defs/names"},
                "channel": _text("Where calls that this group decides are announced in Slack."),
            },
            required=("members",),
        ),
        "condition": _condition(),
        "conditions": {
            "type": "array",
            "items": {"$ref": "#/$defs/condition"},
            "description": "All must hold; [] always holds.",
        },
        "deny_rule": _object(
            {
                "description": _text("For people; changes nothing."),
                "conditions": {"$ref": "#/$defs/conditions"},
                "on_deny": _text("What the agent is told."),
                "reason": _text("The same as on_deny."),
            },
            required=("conditions",),
        ),
        "hold_rule": _object(
            {"conditions": {"$ref": "#/$defs/conditions"}, **_hold()}, required=("conditions",)
        ),
        "limit": _limit(),
        "all_tools": {
            **_object(rules),
            "description": "Rules that are added to every tool; they list none.",
        },
        "tools": {
            "type": "object",
            "description": "Tools by exact name or glob (* and ?). {} allows the tool.",
            "propertyNames": {"pattern": _PATTERN},
            "additionalProperties": {"$ref": "#/$defs/tool"},
        },
        "tool": _object(
            {
                **rules,
                vocabulary.SUMMARY: _summary(),
                "redact": _redact(),
                **_effect(),
                **_older(),
            }
        ),
        "server": _server(rules),
    }


def _server(rules: dict[str, Schema]) -> Schema:
    return _object(
        {
            "description": _text("For people; changes nothing."),
            "default": _default(),
            "hide": _hide(),
            "redact": _redact(),
            "limits": rules["limits"],
            "all_tools": {"$ref": "#/$defs/all_tools"},
            "tools": {"$ref": "#/$defs/tools"},
        }
    )


def _names() -> Schema:
    return {
        "type": "array",
        "minItems": 1,
        "items": {"type": "string", "minLength": 1},
        "description": (
            'Groups, local accounts ("alice"), "slack:T024/U07", "slack-group:T024/S01", '
            '"oidc:bob@example.com", "oidc-group:NAME".'
        ),
    }


def _object(properties: Schema, required: tuple[str, ...] = ()) -> Schema:
    result: Schema = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    return {**result, "required": list(required)} if required else result


def _text(description: str) -> Schema:
    return {"type": "string", "pattern": r"\S", "maxLength": 1000, "description": description}


def _default() -> Schema:
    return {
        "enum": list(vocabulary.DEFAULTS),
        "description": "What happens to calls of tools that are listed nowhere.",
    }


def _hide() -> Schema:
    return {
        "type": "array",
        "items": {"type": "string", "pattern": _PATTERN},
        "description": "Names or globs of tools that no list shows and no call reaches.",
    }


def _redact() -> Schema:
    return {
        "type": "array",
        "items": {"type": "string", "pattern": _ARGS},
        "description": "Argument paths people and the history must not see.",
    }


def _summary() -> Schema:
    return {
        "type": "string",
        "pattern": r"^(?=.*\S)([^{}]|\{args[^{}]+\})*$",
        "maxLength": MOST_TEMPLATE,
        "description": (
            'The held call in one sentence: "Charge {args.amount|money:minor} to {args.customer}". '
            f"Formats: {', '.join(vocabulary.FORMATS)}; money:minor divides, money:major does not."
        ),
    }


def _effect() -> Schema:
    text = 'What a call does in the world, such as "refund:{args.payment_id}": done once.'
    return {
        "effect": _text(text),
        "effect_for": _duration("How long it counts once it is done; default 30d."),
        "effect_again": {
            "enum": list(vocabulary.AGAIN),
            "description": "What is done already: refuse it, or ask a person for a second time.",
        },
    }


def _rules() -> Schema:
    return {
        "description": _text("For people; changes nothing."),
        "limits": {"type": "array", "items": {"$ref": "#/$defs/limit"}},
        "deny_if": {
            "type": "array",
            "items": {"$ref": "#/$defs/deny_rule"},
            "description": "Denied when one of these holds, or cannot be compared.",
        },
        "require": {
            "type": "array",
            "items": {
                "allOf": [
                    {"$ref": "#/$defs/deny_rule"},
                    {"properties": {"conditions": {"minItems": 1}}},
                ]
            },
            "description": "Denied unless all of these hold.",
        },
        "approve_if": {
            "type": "array",
            "items": {"$ref": "#/$defs/hold_rule"},
            "description": "Held for a person when one of these holds, or cannot be compared.",
        },
        "require_approval": {
            "description": "Every call is held for a person; an object states the terms.",
            "anyOf": [{"type": "boolean"}, _object(_hold())],
        },
    }


def _hold() -> Schema:
    return {
        "description": _text("For people; changes nothing."),
        "reason": _text("Why a person is asked; the agent and the reviewer read it."),
        vocabulary.SUMMARY: _summary(),
        vocabulary.OLDER_EXPIRES: _duration("An older name of `expires`."),
        **_terms(),
    }


def _terms() -> Schema:
    least, most = vocabulary.QUORUM
    return {
        "reviewers": {"$ref": "#/$defs/names"},
        "quorum": {
            "type": "integer",
            "minimum": least,
            "maximum": most,
            "description": "How many different people must approve.",
        },
        "expires": _duration("How long someone may decide."),
        "hold": _duration("How long the call itself waits before the agent gets a handle."),
        "use_within": _duration("How long an approval may be used."),
        "undo": _duration("How long it can be taken back for sure: nothing starts before."),
        "when_detached": {
            "enum": list(DETACHED),
            "description": "When the agent is gone: keep the approval, execute, or withdraw.",
        },
        "editable": {
            "type": "array",
            "items": {"type": "string", "pattern": _ARGS},
            "description": "Arguments a reviewer may change before approving.",
        },
        "risk": _risk(),
        "not_owner": {"type": "boolean", "description": "The grant's owner may not decide."},
        "deny_memory": _duration("How long the identical call is refused after a denial."),
        "allow_duplicates": {
            "type": "boolean",
            "description": "Identical calls get an approval each.",
        },
        "channel": _text("Where to announce it in Slack."),
        "web_only": {
            "type": "boolean",
            "description": "Announced in Slack, but approved on the page (or command line) only.",
        },
        "reveal": {
            "enum": list(REVEAL),
            "description": "An administrator may look behind what `redact` names; recorded.",
        },
    }


def _risk() -> Schema:
    return {
        "description": (
            "How risky the call is: at least this, and at least what the tool's class says. "
            '{"set": "low"} sets it whatever the class says; the reviewer is told.'
        ),
        "anyOf": [_level(), _object({"set": _level()}, required=vocabulary.RISK)],
    }


def _level() -> Schema:
    return {"enum": list(RISKS)}


def _duration(description: str) -> Schema:
    return {
        "description": f'{description} "50s", "30m", "1h30m", "2d", or seconds.',
        "anyOf": [
            {"type": "integer", "minimum": 0},
            {
                "type": "string",
                "pattern": r"^(?=\d)(\d{1,6}d)?(\d{1,6}h)?(\d{1,6}m)?(\d{1,8}s)?$",
            },
        ],
    }


def _condition() -> Schema:
    scalar: Schema = {"type": ["string", "number", "boolean"]}
    kinds: list[tuple[list[str], Schema]] = [
        (["exists"], {"type": "boolean"}),
        (["lt", "lte", "gt", "gte"], {"type": "number"}),
        (["in", "not_in"], {"type": "array", "minItems": 1, "items": scalar}),
        (["regex", "not_regex"], {"type": "string", "maxLength": 1000}),
        (["starts_with", "ends_with"], {"type": "string", "minLength": 1}),
        (["eq", "neq", "contains", "not_contains"], scalar),
    ]
    return {
        **_object(
            {
                "path": {
                    "type": "string",
                    "pattern": _PATH,
                    "description": (
                        "args.a.b, args.items[0], args.items[*].price (see `match`), "
                        "tool.annotations.NAME, tool.risk, grant.label, client.name, session.calls"
                    ),
                },
                "op": {
                    "enum": list(OPERATORS),
                    "description": (
                        "An absent value closes under neq, not_in, not_regex and not_contains: "
                        "deny_if and approve_if fire, require fails."
                    ),
                },
                "value": {"description": "What to compare with; its type depends on `op`."},
                "match": {
                    "enum": list(MATCHES),
                    "description": (
                        "Which elements of [*] have to meet it. Unsaid: every one, and at least "
                        "one, in `require`; any in `deny_if` and `approve_if`."
                    ),
                },
            },
            required=vocabulary.CONDITION_NEEDS,
        ),
        "allOf": [
            {
                "if": {"properties": {"op": {"enum": operators}}, "required": ["op"]},
                "then": {"properties": {"value": value}},
            }
            for operators, value in kinds
        ],
    }


def _window() -> Schema:
    return {
        "description": "minute, hour or day (UTC), or a number of seconds.",
        "anyOf": [
            {"enum": list(vocabulary.WINDOWS)},
            {"type": "integer", "minimum": 1, "maximum": vocabulary.MAX_WINDOW},
        ],
    }


def _limit() -> Schema:
    return _object(
        {
            "description": _text("For people; changes nothing."),
            "counter": _text("The counter's name; tools may share one."),
            "window": _window(),
            "max": {"type": "number", "minimum": 0, "maximum": 10**18},
            "scope": {"enum": list(vocabulary.SCOPES), "description": "Who shares the counter."},
            "increment_from": {
                "type": "string",
                "pattern": _ARGS.replace(r"(\d{1,6}|\*)", r"\d{1,6}"),
                "description": "Count this number of the arguments instead of 1 per call.",
            },
        },
        required=("counter", "window", "max", "scope"),
    )


def _older() -> Schema:
    return {
        "action": {
            "enum": list(vocabulary.ACTIONS),
            "description": "Older spelling: deny, hide, require_approval, or allow ({}).",
        },
        "conditions": {"$ref": "#/$defs/conditions"},
        "reason": _text("Belongs to `action` or `require_approval`."),
        "on_deny": _text("Belongs to `action: deny`."),
        vocabulary.OLDER_EXPIRES: _duration("Belongs to `action: require_approval`."),
        "rate_limit": {
            "description": 'Older spelling of a limit: "5/hour", or {"max": 10, "window": 60}.',
            "anyOf": [
                {"type": "string", "pattern": r"^\d{1,15}/(minute|hour|day|\d{1,9})$"},
                _object(
                    {"max": {"type": "number", "minimum": 0}, "window": _window()},
                    required=vocabulary.RATE_LIMIT,
                ),
            ],
        },
    }
