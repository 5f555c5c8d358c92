"""From the bytes of a request to a checked structure, and errors that name the field, the value and what is allowed."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from aphrodite.service.errors import ApiError, bad_request

T = TypeVar("T")

_AT = re.compile(r" - at `(?:key in )?\$(?P<path>.*)`$")
_STEP = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<index>\d+|\.\.\.)\]")
_SHOWN = 80


def decode(data: bytes, kind: type[T]) -> tuple[T, list[str]]:
    """The structure, and the names of top-level fields that nobody knows.

    Raises:
        ApiError: 400, naming the field, the value and what is allowed.
    """
    try:
        try:
            value = _decoder(kind).decode(data)
            names = _keys.decode(data)
        except msgspec.ValidationError as error:  # what comes after the wrong value may not be JSON at all
            raise _named(error, data) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        detail = "an empty body" if not data.strip() else str(error)
        raise bad_request(f"the body is not valid JSON: {detail}", code="invalid_json") from None
    except RecursionError:
        raise bad_request("the body is nested too deeply", code="invalid_json") from None
    return value, sorted(names.keys() - _known(kind))


def encode(value: Any) -> bytes:
    """JSON of a structure."""
    return _encoder.encode(value)


_encoder = msgspec.json.Encoder()
_keys = msgspec.json.Decoder(dict[str, msgspec.Raw])


@lru_cache
def _decoder(kind: type[Any]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


@lru_cache
def _known(kind: type[Any]) -> frozenset[str]:
    return frozenset(field.encode_name for field in msgspec.structs.fields(kind))


def _named(error: msgspec.ValidationError, data: bytes) -> ApiError:
    text = str(error)
    at = _AT.search(text)
    if at is None:
        missing = re.search(r"missing required field `(.+?)`", text)
        return bad_request(text, missing[1] if missing else None, "missing_required_parameter" if missing else None)
    reason, path = text[: at.start()], at["path"].lstrip(".")
    missing = re.search(r"missing required field `(.+?)`", reason)
    if missing:
        path = f"{path}.{missing[1]}"
        return bad_request(f"{path} is missing", path, "missing_required_parameter")
    shown = _shown(_raw_at(data, at["path"]))
    return bad_request(f"{path}={shown} is not allowed: {reason[0].lower()}{reason[1:]}", path, "invalid_value")


def _raw_at(data: bytes, path: str) -> bytes:
    """What was written there. Nothing besides is decoded: it may be large, or hold numbers that no float is."""
    raw = data
    for step in _STEP.finditer(path):
        try:
            if step["name"]:
                raw = bytes(msgspec.json.decode(raw, type=dict[str, msgspec.Raw])[step["name"]])
            else:
                raw = bytes(msgspec.json.decode(raw, type=list[msgspec.Raw])[int(step["index"])])
        except (KeyError, IndexError, ValueError):  # ValueError: "..." is any index, and what msgspec raises is one
            return raw
    return raw


def _shown(raw: bytes) -> str:
    text = " ".join(raw[: 4 * _SHOWN].decode(errors="replace").split())
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
