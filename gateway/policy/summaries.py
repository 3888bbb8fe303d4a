"""`summary`: the sentence in which people read a held call, as a rule states it. Pure.

Its grammar is `approvals.headline`'s, which fills it in; here it is checked as a policy is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from approvals.headline import BadSummary, Placeholder, template
from gateway.policy import paths, reading, vocabulary
from gateway.policy.paths import Path
from gateway.policy.problems import Report, step

_EXAMPLE = 'Write "Charge {args.amount} {args.currency} to {args.customer}".'


def read(raw: Mapping[str, Any], pointer: str, report: Report) -> str:
    """The template among the members of `raw`; "" after reporting what is wrong, or without one."""
    if vocabulary.SUMMARY not in raw:
        return ""
    place = step(pointer, vocabulary.SUMMARY)
    text = reading.text(raw[vocabulary.SUMMARY], place, report, what="`summary`")
    if text is None:
        return ""
    try:
        parts = template(text)
    except BadSummary as error:
        report.error(place, error.what, error.write)
        return ""
    fields = [part for part in parts if isinstance(part, Placeholder)]
    fit = [_fits(field, place, report) for field in fields]
    if not all(fit):
        return ""
    if not fields:
        report.warn(place, "Every call reads the same: no value is named.", _EXAMPLE)
    return text


def _fits(field: Placeholder, place: str, report: Report) -> bool:
    """Whether its paths lead to one value each; what is wrong is reported."""
    for written in _written(field):
        path = paths.parse(written, place, report, roots=("args",))
        if path is None:
            return False
        if path.any_element:
            what = f"`{written}` leads to several values."
            write = (
                f"Write {{{written.replace('[*]', '', 1)}}}, which names the first ones, or [0]."
            )
            report.error(place, what, write)
            return False
    if field.format == "money" and not field.unit:
        what = (
            f"`{field.path}|money` does not say which unit the number counts: shown as it is sent."
        )
        write = "Write |money:minor where 120000 means 1,200.00, |money:major where it is 120,000."
        report.warn(place, what, write)
    return True


def _written(field: Placeholder) -> Iterator[str]:
    yield field.path
    if field.currency.startswith("args."):
        yield field.currency


def paths_in(text: str) -> Iterator[Path]:
    """Every argument that a template which was read names."""
    for part in template(text) if text else ():
        if isinstance(part, Placeholder):
            for written in _written(part):
                path = paths.parse(written, "", Report(), roots=("args",))
                if path is not None:
                    yield path
