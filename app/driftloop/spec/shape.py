"""Plain values to Structs, key by key: exact places of errors, unknown keys with a suggestion."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from driftloop.spec.problems import KeyPath, did_you_mean, short

__all__ = ["convert", "describe", "find_problems"]

StructType = TypeVar("StructType", bound=Struct)
Found = list[tuple[KeyPath, str]]


def find_problems(kind: Any, value: Any, path: KeyPath = ()) -> Found:
    """Everything in ``value`` that does not fit the type ``kind``, each with its key. Empty: it fits."""
    origin = get_origin(kind)
    if isinstance(kind, type) and issubclass(kind, Struct):
        return _struct(kind, value, path)
    if origin is Annotated and get_origin(get_args(kind)[0]) in (dict, list):
        inner = find_problems(get_args(kind)[0], value, path)
        return inner or _leaf(kind, value, path)
    if origin is list:
        if not isinstance(value, list):
            return [(path, f"expected {describe(kind)}, got {short(value)}")]
        item_kind = get_args(kind)[0]
        return [p for index, item in enumerate(value) for p in find_problems(item_kind, item, (*path, index))]
    if origin is dict:
        if not isinstance(value, dict):
            return [(path, f"expected {describe(kind)}, got {short(value)}")]
        item_kind = get_args(kind)[1]
        return [p for key, item in value.items() for p in find_problems(item_kind, item, (*path, key))]
    if origin in (Union, UnionType) and isinstance(value, dict):
        # "a number or a mapping": what is wrong within the mapping is said where it is wrong.
        structs = [item for item in get_args(kind) if isinstance(item, type) and issubclass(item, Struct)]
        if len(structs) == 1:
            return _struct(structs[0], value, path)
    if origin in (Union, UnionType) and isinstance(value, list):
        lists = [item for item in get_args(kind) if get_origin(item) is list]
        if len(lists) == 1:
            return find_problems(lists[0], value, path)
    return _leaf(kind, value, path)


def _struct(kind: type[Struct], value: Any, path: KeyPath) -> Found:
    if not isinstance(value, dict):
        return [(path, f"expected a mapping of keys to values, got {short(value)}")]
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    found: Found = []
    for key, item in value.items():
        if key in fields:
            found += find_problems(fields[key].type, item, (*path, key))
        else:
            hint = did_you_mean(key, fields) or f"; expected one of {', '.join(fields)}"
            found.append(((*path, key), f"unknown key {key!r}{hint}"))
    found += [
        ((*path, name), f"this key is missing; expected {describe(field.type)}")
        for name, field in fields.items()
        if field.required and name not in value
    ]
    return found


def _leaf(kind: Any, value: Any, path: KeyPath) -> Found:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        hint = did_you_mean(value, _literals(kind)) if isinstance(value, str) else ""
        return [(path, f"expected {describe(kind)}, got {short(value)}{hint}")]
    return []


def _literals(kind: Any) -> list[str]:
    return [str(item) for item in get_args(kind)] if get_origin(kind) is Literal else []


def describe(kind: Any) -> str:
    """A type in words.

    >>> describe(Literal["ks", "psi"])
    "one of 'ks', 'psi'"
    >>> describe(Annotated[float, Meta(ge=0.0, le=1.0)])
    'a number, at least 0, at most 1'
    """
    origin = get_origin(kind)
    if origin is Annotated:
        base, *metas = get_args(kind)
        bounds = [text for meta in metas if isinstance(meta, Meta) for text in _bounds(meta)]
        return ", ".join([describe(base), *bounds])
    if origin is Literal:
        return "one of " + ", ".join(repr(item) for item in get_args(kind))
    if origin in (Union, UnionType):
        return " or ".join(describe(item) for item in get_args(kind))
    if origin is list:
        return f"a list ({describe(get_args(kind)[0])} each)"
    if origin is dict:
        return f"a mapping of names to values ({describe(get_args(kind)[1])} each)"
    if isinstance(kind, type) and issubclass(kind, Struct):
        return "a mapping with " + ", ".join(field.encode_name for field in msgspec.structs.fields(kind))
    names = {
        float: "a number",
        int: "an integer",
        str: "a text",
        bool: "true or false",
        NoneType: "null",
        Any: "a value",
    }
    return names.get(kind, str(kind))


def _bounds(meta: Meta) -> list[str]:
    texts = {
        "more than": meta.gt,
        "at least": meta.ge,
        "less than": meta.lt,
        "at most": meta.le,
    }
    found = [f"{words} {bound:g}" for words, bound in texts.items() if bound is not None]
    if meta.pattern is not None:
        found.append(f"matching {meta.pattern}")
    if meta.min_length is not None:
        found.append(f"of length {meta.min_length} or more")
    return found


def convert(kind: type[StructType], value: Any) -> StructType:
    """The Struct of a value in which :func:`find_problems` found nothing."""
    return msgspec.convert(value, kind)
