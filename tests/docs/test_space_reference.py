"""docs/space.md is what its generator writes, and every key of a space is described."""

import runpy
from pathlib import Path

import pytest

from raysweep.space import parsing
from raysweep.space.schema import schema

DOCS = Path(__file__).parents[2] / "docs"


def keys(part, path=()):
    """Yield (dotted key, its part of the schema) for every key below ``part``."""
    for name, inner in part.get("properties", {}).items():
        yield ".".join([*path, name]), inner
        yield from keys(inner, [*path, name])
    for inner in (*part.get("anyOf", []), part.get("additionalProperties")):
        if isinstance(inner, dict) and inner:
            yield from keys(inner, path)


def test_the_reference_is_what_the_generator_writes_now():
    generator = runpy.run_path(str(DOCS / "make_space_reference.py"))
    assert (DOCS / "space.md").read_text() == generator["page"](), "run `make docs`"


@pytest.mark.parametrize(
    ("key", "part"), [pytest.param(*each, id=each[0]) for each in keys(schema())]
)
def test_every_key_has_a_description(key, part):
    assert part.get("description"), f"`{key}` needs Field(description=...)"


def test_every_block_is_in_the_schema():
    assert set(parsing.BLOCKS) == set(schema()["properties"])
