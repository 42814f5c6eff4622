"""Records of recipes: whatever is changed in one shows, and stored ones that do not fit are refused by name."""

import dataclasses
import json
import math
import re
from enum import Enum
from functools import cache, partial
from itertools import combinations

import pytest
import torch

from phonofilm.checkpoints.folder import UNREAD
from phonofilm.diffusion.flow import Uniform
from phonofilm.diffusion.tasks import Uniform as UniformSpan
from phonofilm.errors import UserError
from phonofilm.recipes.lookup import find_function, find_recipe, names_of, recipe_names
from phonofilm.recipes.record import LEAVES, difference, name_of, record, without
from phonofilm.train.loop import FREE
from phonofilm.types import RECORDED_AS, Links, recorded_as

pytestmark = pytest.mark.quick

UNRECORDED = {
    "CharacterEncoder.path",
    "Experiment.names",
    "FeatureEncoder.device",
    "FeatureEncoder.folder",
    "FeatureEncoder.kept",
    "LyricEncoder.path",
    "SoundFeatures.device",
    "SoundFeatures.folder",
    "SoundFeatures.kept",
    "TrainedSpeaker.path",
    "TrainedSpeaker.trusted",
}
"""Fields that say where something lies or computes, or what others call it. All others are in the record."""


@cache
def recipes():
    """Every recipe inside phonofilm and every arm of every study."""
    arms = {f"{s}/{a}": arm() for s in names_of("study") for a, arm in find_function("study", s)().arms.items()}
    return {name: find_recipe(name) for name in recipe_names()} | arms


def is_record(value):
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def with_field(value, name, part):
    """A record with one field changed, whether its class allows the value or not."""
    changed = object.__new__(type(value))
    for field in dataclasses.fields(value):
        object.__setattr__(changed, field.name, part if field.name == name else getattr(value, field.name))
    return changed


def in_tuple(value, place, part):
    items = [*value[:place], part, *value[place + 1 :]]
    return type(value)(*items) if hasattr(value, "_fields") else tuple(items)


def children(value):
    """Names of the parts of a value, the parts, and how to put another in their place."""
    if is_record(value):
        for f in dataclasses.fields(value):
            if f"{type(value).__name__}.{f.name}" not in UNRECORDED:
                yield f.name, getattr(value, f.name), lambda part, name=f.name: with_field(value, name, part)
    elif isinstance(value, dict):
        for key in value:
            yield key, value[key], lambda part, key=key: value | {key: part}
    elif isinstance(value, tuple):
        for k in range(len(value)):
            name = value._fields[k] if hasattr(value, "_fields") else str(k)
            yield name, value[k], lambda part, k=k: in_tuple(value, k, part)


def another():
    """A function like any other."""


def others(value):
    """Values of the same kind that are not the same."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [value + 1, value - 2] if math.isfinite(value) else [0.0]
    if isinstance(value, str):
        return [value + "x"]
    if isinstance(value, frozenset):
        return [value | {"strange"}, value ^ {next(iter(value), "a")}]
    if isinstance(value, dict):
        return [value | {"strange": 1.0}, dict(list(value.items())[1:]) if value else {"other": None}]
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return [(*value, 1), value[1:] if value else (2,)]
    if isinstance(value, torch.dtype):
        return [torch.float64]
    if is_record(value) or isinstance(value, tuple):  # the same content under another class
        twin = type("OviBlock", (type(value),), {"__slots__": ()})
        return [twin(*value) if isinstance(value, tuple) else of_class(twin, value)]
    assert value is None or callable(value), f"test has no other value for {value!r}"
    return [another]


def of_class(cls, value):
    made = with_field(value, "", None)
    other = object.__new__(cls)
    for field in dataclasses.fields(made):
        object.__setattr__(other, field.name, getattr(made, field.name))
    return other


def places(value, name="", put=lambda part: part):
    """Every place in a value, however deep: its name, what stands there, and how to put something else there."""
    yield name, value, put
    for part, held, inner in children(value):
        yield from places(held, f"{name}.{part}".strip("."), lambda new, inner=inner: put(inner(new)))


def test_every_field_of_every_recipe_is_in_its_record():
    seen = set()
    for recipe in recipes().values():
        own = record(recipe)
        assert list(own) == ["is", *(field.name for field in dataclasses.fields(recipe) if field.name != "names")]
        for field, value, _ in children(recipe):
            for name, held, put in places(value, field):
                key = (re.sub(r"\d+", "k", name), repr(held))
                if key in seen:  # the same value at the same place of another recipe, or of another part of a list
                    continue
                seen.add(key)
                for other in others(held):
                    found = difference(own[field], record(put(other), field), field)
                    assert found is not None, f"{recipe.name}: {name} is not in the record"
                    assert found.name.startswith(name), (recipe.name, name, found)
    assert len(seen) > 500


def test_two_recipes_have_equal_records_exactly_if_they_are_equal():
    named = {name: json.dumps(record(recipe)) for name, recipe in recipes().items()}
    assert len(named) > 80
    assert len(set(named.values())) == len(named)
    nameless = [with_field(recipe, "name", "") for recipe in recipes().values()]
    for (one, of_one), (other, of_other) in combinations([(r, json.dumps(record(r))) for r in nameless], 2):
        assert (of_one == of_other) == (one == other)


def test_no_two_classes_or_functions_share_a_name():
    named = {}
    for recipe in recipes().values():
        for _, part, _ in places(recipe):
            kind = part if isinstance(part, type) or hasattr(part, "__qualname__") else type(part)
            if kind.__module__.startswith("phonofilm"):
                named.setdefault(name_of(kind), set()).add(kind)
    assert len(named) > 100
    assert {name: kinds for name, kinds in named.items() if len(kinds) > 1} == {}
    assert not {*LEAVES, "partial", "method", "set"} & named.keys()


def test_what_is_left_out_or_free_exists():
    left_out = {
        f"{type(part).__name__}.{field.name}"
        for recipe in recipes().values()
        for _, part, _ in places(recipe)
        if is_record(part)
        for field in dataclasses.fields(part)
        if not field.metadata.get(RECORDED_AS, field.name)
    }
    assert left_out == UNRECORDED
    own = record(find_recipe("jova_study"))
    for name in (*UNREAD, *FREE):
        assert without(own, [name]) != own, name


class Colour(Enum):
    """Of a test."""

    RED = 1


class Painter:
    """Of a test."""

    def paint(self):
        """Nothing."""


@recorded_as("Spans")
@dataclasses.dataclass
class Lengths:
    """A class that was called Spans once, and its field size."""

    length: int = dataclasses.field(default=2, metadata={RECORDED_AS: "size"})


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Uniform(2.0), {"is": "Uniform", "shift": 2.0}),
        (UniformSpan((0.0, 0.5), (1.0, 1.0)), {"is": "UniformSpan", "start": [0.0, 0.5], "length": [1.0, 1.0]}),
        (Links(a2v=False), {"is": "Links", "a2v": False, "v2a": True}),
        (Uniform, {"is": "class", "name": "Uniform"}),
        (Lengths(3), {"is": "Spans", "size": 3}),
        (Lengths, {"is": "class", "name": "Spans"}),
        (another, {"is": "function", "name": f"{__name__}.another"}),
        (math.sin, {"is": "function", "name": "math.sin"}),
        (
            partial(another, 1, b=(2,)),
            {
                "is": "partial",
                "function": {"is": "function", "name": f"{__name__}.another"},
                "arguments": [1],
                "named": {"b": [2]},
            },
        ),
        (Colour.RED, {"is": f"{__name__}.Colour", "value": "RED"}),
        (torch.bfloat16, {"is": "dtype", "value": "bfloat16"}),
        (math.inf, {"is": "float", "value": "inf"}),
        (frozenset("ba"), {"is": "set", "of": ["a", "b"]}),
        ([1, None, {"a": True}], [1, None, {"a": True}]),
        (
            Lengths(3).__init__,
            {"is": "method", "name": f"{__name__}.Lengths.__init__", "of": {"is": "Spans", "size": 3}},
        ),
    ],
)
def test_kinds_of_values(value, plain):
    assert record(value) == plain
    assert json.loads(json.dumps(record(value), allow_nan=False)) == plain


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (lambda count, generator: None, "density is .*<lambda>, which exists inside a function only"),
        (Painter(), "density is <.*Painter .*>, of the class Painter, which cannot be recorded"),
        (Painter().paint, "density.of is .*Painter"),
        (torch.zeros(2), r"density is tensor.*, of the class Tensor"),
        (Lengths(1j), "density.length is 1j, of the class complex"),
        ({1: 2}, "density has the key 1, accepted are texts"),
        ({"is": 2}, "density has the key 'is'"),
        ((1, {"a": 1j}), r"density\.1\.a is 1j"),
    ],
)
def test_what_has_no_record_is_refused_by_name(value, said):
    with pytest.raises(UserError, match=said):
        record(with_field(find_recipe("jova_study"), "density", value))


@pytest.mark.parametrize(
    ("stored", "own", "said"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 2}}, "a.b 1, now 2"),
        ({"a": [1, 2]}, {"a": [1]}, "a.1 2, now nothing"),
        ({}, {"a": None}, "a nothing, now null"),
        ({"a": True}, {"a": 1}, "a true, now 1"),
        ({"a": {"is": "JoVA", "x": 1}}, {"a": {"is": "Ovi", "x": 1}}, "a JoVA, now Ovi"),
        ({"a": {"is": "class", "name": "X"}}, {"a": {"is": "function", "name": "x"}}, "a class X, now function x"),
        ({"a": 1.0}, {"a": 1}, "None"),
        ({"a": "x" * 99}, {"a": {}}, 'a "' + "x" * 59 + " ..., now {}"),
    ],
)
def test_a_difference_has_a_name_and_both_values(stored, own, said):
    assert str(difference(stored, own)) == said
