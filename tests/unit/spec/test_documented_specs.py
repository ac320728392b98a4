"""The documents' specs are specs, and every key of a spec is documented."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from driftloop.spec import parse_spec
from driftloop.spec.model import ModelSpec

DOCS = Path(__file__).resolve().parents[3] / "docs"
#: Keys of concept detectors have a table of their own, which another test compares.
ELSEWHERE = {"detectors"}


@pytest.mark.parametrize("page", ["spec.md", "quickstart.md"])
def test_the_documents_specs_are_read_without_a_complaint(page: str) -> None:
    specs = re.findall(r"```yaml\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    assert specs
    for text in specs:
        assert parse_spec(text).model == "fraud"


def _structs(kind: msgspec.inspect.Type) -> Iterator[msgspec.inspect.StructType]:
    if isinstance(kind, msgspec.inspect.StructType):
        yield kind
        for field in kind.fields:
            if field.name not in ELSEWHERE:
                yield from _structs(field.type)
    for name in ("types", "item_types"):
        for part in getattr(kind, name, ()):
            yield from _structs(part)
    for name in ("item_type", "value_type"):
        part = getattr(kind, name, None)
        if part is not None:
            yield from _structs(part)


def test_every_key_is_documented() -> None:
    page = (DOCS / "spec.md").read_text(encoding="utf-8")
    code = {word for span in re.findall(r"`([^`\n]+)`", page) for word in re.findall(r"\w+", span)}
    keys = {field.encode_name for struct in _structs(msgspec.inspect.type_info(ModelSpec)) for field in struct.fields}
    assert len(keys) > 80
    assert keys - code == set()
