"""What a YAML scalar means to `sigs.k8s.io/yaml`: YAML 1.1's booleans, Go's numbers, no dates; values that JSON can hold. Pure.

Every rule here was compared with the Go module; the cases and its answers are in `tests/data/yaml`. No message repeats a
value: it may be a Secret's.
"""

from __future__ import annotations

import base64
import re
import struct
from typing import Any

TAG = "tag:yaml.org,2002:"
TRUE = frozenset(["y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "true", "True", "TRUE"])
FALSE = frozenset(["n", "N", "no", "No", "NO", "off", "Off", "OFF", "false", "False", "FALSE"])
NULL = frozenset(("", "~", "null", "Null", "NULL"))
NOT_FINITE = frozenset(f"{sign}{word}" for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")) | frozenset(
    (".nan", ".NaN", ".NAN")
)
SPECIAL = frozenset("0123456789+-.yYnNtTfFoO~")
"""First characters of the plain scalars that may be something else than text."""

INT64_MIN, INT64_MAX, UINT64_MAX = -(1 << 63), (1 << 63) - 1, (1 << 64) - 1

_INTEGER = re.compile(r"([-+]?)(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO][0-7]+|0[0-7]+|0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_TYPES: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "null": (type(None),)}


class ScalarError(ValueError):
    """A scalar that means nothing that JSON can hold."""


def plain(text: str) -> Any:
    """The value of a scalar written without quotes and without a tag.

    :raises ScalarError: infinity, or not a number.
    """
    if text and text[0] not in SPECIAL:
        return text
    value = _number(text) if text and text[0] in "0123456789+-." else _word(text)
    return _integral(value) if type(value) is float else value


def tagged(tag: str, text: str) -> Any:
    """The value of a scalar with an explicit tag. Of a tag that nobody knows it is the text.

    :raises ScalarError: the text doesn't fit the tag, or the tag asks for a Python object.
    """
    refuse_objects(tag)
    name = tag.removeprefix(TAG)
    if name == "binary" and tag != name:
        return _binary(text)
    if tag == name or name not in _TYPES:
        return text
    value = _number(text) if text and text[0] in "0123456789+-." else _word(text)
    if type(value) not in _TYPES[name]:
        raise ScalarError(f"the value is not what !!{name} says")
    return _integral(value) if type(value) is float else value


def refuse_objects(tag: str) -> None:
    """No document makes a Python object; one that asks for it is up to no good."""
    if "python/" in tag:
        raise ScalarError("tags of Python objects are refused")


def key(value: Any) -> str:
    """The name under which JSON holds a mapping's key of this value.

    :raises ScalarError: null, or a number beyond 64 bits.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        raise ScalarError("a key must not be null")
    if isinstance(value, float):
        return _float32(value)
    if not INT64_MIN <= value <= INT64_MAX:
        raise ScalarError("a key that is a number must fit 64 bits")
    return str(value)


def plain_key(text: str) -> str:
    """The key that a scalar written without quotes is."""
    if text and text[0] not in SPECIAL:
        return text
    return key(_number(text) if text and text[0] in "0123456789+-." else _word(text))


def _word(text: str) -> str | bool | None:
    if text in TRUE:
        return True
    if text in FALSE:
        return False
    return None if text in NULL else text


def _number(text: str) -> int | float | str:
    if text in NOT_FINITE:
        raise ScalarError("JSON has neither infinity nor not-a-number")
    if text[0] == ".":
        return _float(text, text)
    digits = text.replace("_", "")
    match = _INTEGER.match(digits)
    if match is None:
        return _float(digits, text)
    sign, body = match.groups()
    octal = len(body) > 1 and body[0] == "0" and body[1] in "01234567"
    value = int(body, 8 if octal else 0)
    if sign == "-":
        value = -value
    if INT64_MIN <= value <= (INT64_MAX if sign == "+" else UINT64_MAX):
        return value
    return _float(digits, text)


def _float(digits: str, text: str) -> float | str:
    """A float if it is one of 64 bits (Go reads an octal number that is too large as decimal), else text."""
    if not _FLOAT.match(digits):
        return text
    value = float(digits)
    return text if value in (float("inf"), float("-inf")) else value


def _integral(number: float) -> int | float:
    """Go's JSON encoder writes 1e3 as 1000: the API server must see an integer there."""
    return int(number) if number.is_integer() and INT64_MIN <= number <= UINT64_MAX else number


def _binary(text: str) -> str:
    try:
        return base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True).decode()
    except ValueError:  # not ASCII, not base64, not UTF-8
        raise ScalarError("!!binary: expected base64 of UTF-8 text") from None


def _float32(value: float) -> str:
    """A float as a key: Go writes the shortest digits that a float of 32 bits can be told by."""
    single = _single(value)
    shortest = next(text for digits in range(9) if _single(float(text := f"{single:.{digits}e}")) == single)
    mantissa, _, exponent = shortest.partition("e")
    if not -4 <= int(exponent) < 6:
        return f"{mantissa}e{int(exponent):+03d}"
    decimals = max(0, len(mantissa.lstrip("-").replace(".", "")) - 1 - int(exponent))
    return f"{float(shortest):.{decimals}f}"


def _single(value: float) -> float:
    """The float of 32 bits that is nearest to ``value``.

    :raises ScalarError: it is beyond them all.
    """
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        raise ScalarError("a key that is a number must fit a float of 32 bits") from None
