from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest

from lenet.config.validation import Bounds, closest, flatten, parse
from lenet.core.errors import ConfigError


@dataclass(frozen=True)
class Circle:
    name: Literal["circle"]
    radius: Annotated[float, Bounds(above=0, high=10)]


@dataclass(frozen=True)
class Square:
    name: Literal["square"]
    side: Annotated[int, Bounds(low=1)]
    filled: bool = False


@dataclass(frozen=True)
class Drawing:
    title: str
    colour: Literal["red", "green"]
    shape: Circle | Square
    copies: Annotated[int, Bounds(low=1, high=9)] | None
    sizes: tuple[Annotated[float, Bounds(low=0)], ...] = ()
    notes: dict[str, int] | None = None


TREE: dict[str, Any] = {
    "title": "a",
    "colour": "red",
    "shape": {"name": "circle", "radius": 2},
    "copies": None,
    "sizes": [1, 2.5],
    "notes": {"x": 3},
}


def test_a_tree_becomes_dataclasses() -> None:
    drawing = parse(Drawing, TREE, "")
    assert drawing == Drawing("a", "red", Circle("circle", 2.0), None, (1.0, 2.5), {"x": 3})
    assert type(drawing.shape.radius) is float


def test_what_is_left_out_takes_its_default() -> None:
    tree = {name: value for name, value in TREE.items() if name not in {"sizes", "notes"}}
    drawing = parse(Drawing, tree | {"shape": {"name": "square", "side": 3}}, "")
    assert (drawing.sizes, drawing.notes, drawing.shape) == ((), None, Square("square", 3, False))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"titel": "b"}, "titel: no such key; keys are title, colour, shape, copies, sizes, notes"),
        ({"title": 3}, "title=3: must be a text"),
        ({"title": True}, "title=True: must be a text"),
        ({"title": None}, "title=None: must be a text"),
        ({"colour": "blue"}, "colour=blue: must be one of red, green"),
        ({"colour": "gren"}, "colour=gren: must be one of red, green (did you mean 'green'?)"),
        ({"colour": True}, "colour=True: must be one of red, green"),
        ({"colour": ["red"]}, "colour=['red']: must be one of red, green"),
        ({"shape": 3}, "shape=3: must be a group of keys"),
        ({"shape": {"radius": 1}}, "shape.name is missing: must be one of circle, square"),
        ({"shape": {"name": "cirle"}}, "shape.name=cirle: must be one of circle, square (did you mean 'circle'?)"),
        ({"shape": {"name": "circle"}}, "shape.radius is missing"),
        (
            {"shape": {"name": "circle", "side": 1}},
            "shape.side: no such key; shape's keys are name, radius",
        ),
        (
            {"shape": {"name": "circle", "radius": 1, "radus": 1}},
            "shape.radus: no such key; shape's keys are name, radius (did you mean 'radius'?)",
        ),
        ({"shape": {"name": "circle", "radius": 0}}, "shape.radius=0: must be more than 0 and at most 10"),
        ({"shape": {"name": "circle", "radius": 10.5}}, "shape.radius=10.5: must be more than 0 and at most 10"),
        ({"shape": {"name": "circle", "radius": "2"}}, "shape.radius=2: must be a number"),
        ({"shape": {"name": "circle", "radius": True}}, "shape.radius=True: must be a number"),
        ({"shape": {"name": "circle", "radius": float("nan")}}, "shape.radius=nan: must be a number"),
        ({"shape": {"name": "circle", "radius": float("inf")}}, "shape.radius=inf: must be a number"),
        ({"shape": {"name": "circle", "radius": float("-inf")}}, "shape.radius=-inf: must be a number"),
        ({"shape": {"name": "square", "side": 1.0}}, "shape.side=1.0: must be a whole number"),
        ({"shape": {"name": "square", "side": True}}, "shape.side=True: must be a whole number"),
        ({"shape": {"name": "square", "side": 0}}, "shape.side=0: must be at least 1"),
        ({"shape": {"name": "square", "side": 1, "filled": 1}}, "shape.filled=1: must be true or false"),
        ({"shape": {"name": "square", "side": 1, "filled": "yes"}}, "shape.filled=yes: must be true or false"),
        ({"copies": 10}, "copies=10: must be at least 1 and at most 9"),
        ({"sizes": 3}, "sizes=3: must be a list"),
        ({"sizes": "12"}, "sizes=12: must be a list"),
        ({"sizes": [1, -2]}, "sizes[1]=-2: must be at least 0"),
        ({"notes": {"x": 1, "y": "b"}}, "notes.y=b: must be a whole number"),
    ],
)
def test_every_error_names_key_value_and_what_is_allowed(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(Drawing, TREE | change, "")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^title is missing$"):
        parse(Drawing, {name: value for name, value in TREE.items() if name != "title"}, "")


@pytest.mark.parametrize(
    ("bounds", "inside", "outside"),
    [
        (Bounds(low=0, high=1), [0, 1, 0.5], [-1e-9, 1.000001]),
        (Bounds(above=0, high=1), [1e-12, 1], [0, -1, 2]),
        (Bounds(low=1), [1, 10**12], [0]),
        (Bounds(), [-(10**9), 0, 10**9], []),
    ],
)
def test_ranges_admit_their_ends(bounds: Bounds, inside: list[float], outside: list[float]) -> None:
    assert all(bounds.admits(value) for value in inside)
    assert not any(bounds.admits(value) for value in outside)


def test_the_nearest_name_is_offered_and_a_far_one_is_not() -> None:
    assert closest("tahn", ["tanh", "relu"]) == " (did you mean 'tanh'?)"
    assert closest("zzz", ["tanh", "relu"]) == ""


def test_flatten_gives_leaves_under_dotted_names() -> None:
    assert dict(flatten({"a": {"b": {"c": 1}, "d": None}, "e": [1]})) == {"a.b.c": 1, "a.d": None, "e": [1]}


def test_a_whole_number_too_large_for_a_float_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^shape\.radius=1000"):
        parse(Drawing, TREE | {"shape": {"name": "circle", "radius": 10**400}}, "")
