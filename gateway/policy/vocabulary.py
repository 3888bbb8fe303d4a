"""The keys of policy.json: one table for the reader, the normal form and the JSON Schema. Pure."""

from __future__ import annotations

from approvals import headline

POLICY = (
    "$schema",
    "version",
    "description",
    "default",
    "hide",
    "reviewers",
    "approval",
    "redact",
    "all_tools",
    "tools",
    "servers",
)
SERVER = ("description", "default", "hide", "redact", "limits", "all_tools", "tools")
RULES = ("limits", "deny_if", "require", "approve_if", "require_approval")
ALL_TOOLS = ("description", *RULES)
GROUP = ("description", "members", "channel")
TERMS = (
    "reviewers",
    "quorum",
    "expires",
    "hold",
    "use_within",
    "undo",
    "when_detached",
    "editable",
    "risk",
    "not_owner",
    "deny_memory",
    "allow_duplicates",
    "channel",
    "web_only",
    "reveal",
)
SUMMARY = "summary"
FORMATS = headline.FORMATS  # of its values
RISK = ("set",)
OLDER_EXPIRES = "approval_timeout"  # an older name of `expires`
DENY_RULE = ("description", "conditions", "on_deny", "reason")
HOLD_RULE = ("description", "conditions", "reason", SUMMARY, OLDER_EXPIRES, *TERMS)
HOLD = ("description", "reason", SUMMARY, OLDER_EXPIRES, *TERMS)
OLDER = ("action", "conditions", "reason", "on_deny", OLDER_EXPIRES, "rate_limit")
EFFECT = ("effect", "effect_for", "effect_again")
TOOL = (*ALL_TOOLS, SUMMARY, "redact", *EFFECT, *OLDER)
CONDITION = ("path", "op", "value", "match")
CONDITION_NEEDS = ("path", "op", "value")
LIMIT = ("description", "counter", "window", "max", "scope", "increment_from")
RATE_LIMIT = ("max", "window")

DEFAULTS = ("allow", "deny", "require_approval")
ACTIONS = ("allow", "deny", "hide", "require_approval")
AGAIN = ("refuse", "ask")
SCOPES = ("grant", "session", "server", "global")
WINDOWS = {"minute": 60, "hour": 3_600, "day": 86_400}
MAX_WINDOW = 366 * 86_400

DAYS = 86_400
EXPIRES = (1, 30 * DAYS)
HOLD_SECONDS = (0, 3_600)
USE_WITHIN = (1, 30 * DAYS)
UNDO = (0, 1_800)
HOLD_UNSAID = 50  # SIGNOFF_HOLD as it comes: what `undo` is measured by where no rule says `hold`
DENY_MEMORY = (0, 30 * DAYS)
EFFECT_FOR = (1, 366 * DAYS)
QUORUM = (1, 20)
