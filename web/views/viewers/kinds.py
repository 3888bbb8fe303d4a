"""What a text is in, guessed from its name, what stands beside it and how it begins. Pure.

A wrong guess costs colours, never a character.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

_SQL: Final = re.compile(
    r"\s*+(?:--[^\n]*+\n\s*+){0,40}(?:SELECT|INSERT\s++INTO|UPDATE|DELETE\s++FROM|CREATE|ALTER|DROP|"
    r"TRUNCATE|WITH|GRANT|REVOKE|MERGE\s++INTO|BEGIN|EXPLAIN|START\s++TRANSACTION)\b",
    flags=re.IGNORECASE,
)
_CLAUSE: Final = re.compile(
    r"\b(?:FROM|INTO|SET|TABLE|WHERE|VALUES|JOIN|INDEX|VIEW|COMMIT|DATABASE|SCHEMA)\b",
    flags=re.IGNORECASE,
)
_JSON: Final = 120_000  # characters of a text that is tried as JSON
_HEAD: Final = 4000  # characters a guess is made from

_SHEBANG: Final = (("python", "python"), ("node", "javascript"), ("sh", "bash"))
_ENDINGS: Final = {
    "py": "python", "pyi": "python", "sql": "sql", "json": "json", "yaml": "yaml", "yml": "yaml",
    "toml": "toml", "sh": "bash", "bash": "bash", "js": "javascript", "mjs": "javascript",
    "jsx": "javascript", "ts": "typescript", "tsx": "typescript", "go": "go", "rs": "rust",
    "java": "java", "c": "c", "h": "c",
}  # fmt: skip
_NAMES: Final = {
    "sql": "sql", "python": "python", "bash": "bash", "shell": "bash", "script": "bash",
    "command": "bash", "cmd": "bash", "javascript": "javascript", "typescript": "typescript",
    "json": "json", "yaml": "yaml", "toml": "toml",
}  # fmt: skip
_PATHS: Final = ("path", "file", "filename", "file_path", "filepath", "name", "target_file")
_LANGUAGE: Final = ("language", "lang", "syntax")
_MARKDOWN: Final = ("md", "markdown")


def language_of(name: str, text: str, beside: Mapping[str, Any]) -> str:
    """The language of a text, by Pygments' name; "markdown"; or "" for prose and all else."""
    last = name.lower()
    for key in _LANGUAGE:
        named = beside.get(key)
        if isinstance(named, str) and named.lower() in _NAMES:
            return _NAMES[named.lower()]
    ending = _ending(beside)
    if ending in _MARKDOWN or last in _MARKDOWN:
        return "markdown"
    if text.startswith("#!"):
        first = text[:200].partition("\n")[0]
        for part, language in _SHEBANG:
            if part in first:
                return language
    if ending and last not in _PATHS:
        return _ENDINGS.get(ending, "")
    if is_sql(text):
        return "sql"
    if is_json(text):
        return "json"
    return _NAMES.get(last, "")


def is_sql(text: str) -> bool:
    head = text[:_HEAD]
    return _SQL.match(head) is not None and _CLAUSE.search(head) is not None


def is_json(text: str) -> bool:
    if text.lstrip()[:1] not in ("{", "[") or len(text) > _JSON:
        return False
    try:
        return isinstance(json.loads(text), (dict, list))
    except (ValueError, RecursionError):
        return False


def _ending(beside: Mapping[str, Any]) -> str:
    for key in _PATHS:
        path = beside.get(key)
        if isinstance(path, str) and "." in path[-12:]:
            return path[-12:].rpartition(".")[2].lower()
    return ""
