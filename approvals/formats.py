"""How a sentence writes an amount, a date, a size and a number of things. Pure.

Nothing is guessed: a value that is not of the kind is None here and shown as it was sent. In which
unit an amount is sent only the author of the rule knows, so only `minor` ever divides.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final, Literal

Unit = Literal["", "major", "minor"]
"""What an amount counts: "" is unsaid, and then the number stands as it was sent."""


def _codes(written: str) -> frozenset[str]:
    return frozenset(written.split())


_TWO: Final = _codes(
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD "
    "CDF CHF CNY COP CRC CUP CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD "
    "HKD HNL HTG HUF ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MKD MMK "
    "MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON "
    "RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD "
    "TWD TZS UAH USD UYU UZS WST XCD YER ZAR ZMW"
)
_NONE: Final = _codes("BIF DJF GNF JPY KMF KRW PYG RWF VND VUV XAF XOF XPF")
_THREE: Final = _codes("BHD IQD JOD KWD LYD OMR TND")
_DISPUTED: Final = _codes("CLP CVE IDR ISK MGA UGX")
"""ISO 4217 and large payment services disagree on their smallest unit: never divided."""

_SIGNS: Final = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥"}
"""Signs of one currency alone; a dollar that is not the US one is told by its code."""

_DECIMAL: Final = re.compile(r"-?[0-9]{1,24}(\.[0-9]{1,12})?")
_WHEN: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?"
)
_SECONDS: Final = range(10**9, 10**10)  # 2001 to 2286
_MILLIS: Final = range(10**12, 10**13)  # the same
_MONTHS: Final = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)
_SIZES: Final = ("kB", "MB", "GB", "TB", "PB", "EB")
_MOST_DIGITS: Final = 24
_KILO: Final = 1000


def code_of(currency: Any) -> str:
    """The ISO code that this names, or ""."""
    code = currency.upper() if isinstance(currency, str) and currency.isascii() else ""
    return code if code in _TWO | _NONE | _THREE | _DISPUTED else ""


def money(value: Any, unit: Unit, code: str) -> str | None:
    """The amount with its currency, no digit of it lost; None for what is no number."""
    amount = _number(value)
    if amount is None:
        return None
    places = _places(code)
    if unit == "minor":
        if places is None:
            return f"{_grouped(amount)} minor units{f' of {code}' if code else ''}"
        return _priced(amount.scaleb(-places), places, code)
    if unit == "major" and places is not None:
        return _priced(amount, places, code)
    return f"{_grouped(amount)} {code}".rstrip()


def when(value: Any) -> str | None:
    """A day or a moment. A number is taken for seconds or milliseconds of the years 2001 to 2286,
    which are never both; any other number is none.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        seconds = value if value in _SECONDS else value // 1000 if value in _MILLIS else None
        return None if seconds is None else _moment(datetime.fromtimestamp(seconds, UTC), "UTC")
    found = _WHEN.fullmatch(value) if isinstance(value, str) and value.isascii() else None
    if found is None:
        return None
    try:
        if found[2] is None:
            return _day(date.fromisoformat(value))
        zone = {"Z": "UTC", None: ""}.get(found[5], found[5])
        return _moment(datetime.fromisoformat(value), zone)
    except ValueError:  # the 31st of February
        return None


def size(value: Any) -> str | None:
    """A number of bytes, or how many a text has, rounded to two digits and more."""
    if isinstance(value, str):
        count = len(value.encode("utf-8", "surrogatepass"))
    elif isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**18:
        count = value
    else:
        return None
    if count < _KILO:
        return "1 byte" if count == 1 else f"{count} bytes"
    step, left = -1, float(count)
    # 999,950 would round to "1000.0 kB".
    while left >= _KILO - 0.05:
        step, left = step + 1, left / _KILO
    return f"{left:.1f} {_SIZES[step]}"


def count(value: Any) -> str | None:
    """How many elements, members or characters there are; of a number itself, grouped."""
    if isinstance(value, (list, dict, str)):
        return f"{len(value):,}"
    number = _number(value)
    return None if number is None else _grouped(number)


def _number(value: Any) -> Decimal | None:
    """A number as it was written, as a number or as a text; None for what is none, or too long."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return Decimal(value) if _DECIMAL.fullmatch(value) else None
    if isinstance(value, int):
        return Decimal(value) if abs(value) < 10**_MOST_DIGITS else None
    if not isinstance(value, float):
        return None
    written = f"{Decimal(repr(value)):f}"
    return Decimal(written) if _DECIMAL.fullmatch(written) else None


def _places(code: str) -> int | None:
    """Digits behind the point of a currency; None where it is not known for sure."""
    if code in _TWO:
        return 2
    return 0 if code in _NONE else 3 if code in _THREE else None


def _priced(amount: Decimal, places: int, code: str) -> str:
    _, digits, exponent = amount.normalize().as_tuple()
    own = -exponent if isinstance(exponent, int) and digits != (0,) else 0
    written = f"{abs(amount):,.{max(places, own)}f}"
    minus = "-" if amount < 0 else ""
    sign = _SIGNS.get(code)
    return f"{minus}{sign}{written}" if sign else f"{minus}{written} {code}"


def _grouped(amount: Decimal) -> str:
    return f"{amount:,f}"


def _day(day: date) -> str:
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def _moment(at: datetime, zone: str) -> str:
    clock = f"{at:%H:%M:%S}" if at.second else f"{at:%H:%M}"
    return f"{_day(at)}, {clock} {zone}".rstrip()
