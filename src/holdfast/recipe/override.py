"""Change fields of a recipe by text, `method.beta=3`, typed by the fields' annotations."""

from collections.abc import Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, replace
from typing import Any, get_type_hints

from holdfast.errors import InvalidInput, unknown
from holdfast.recipe import Recipe
from holdfast.recipe.codec import encode
from holdfast.recipe.parse import Choice, parse, snake
from holdfast.recipe.shown import shown
from holdfast.recipe.sources import changed

_FIXED = ("sources",)  # provenance follows the changes; nobody sets it


@dataclass
class _Node:
    """What is to happen to one field: a new value as text, changes below it, or both."""

    text: str | None = None
    below: dict[str, "_Node"] = field(default_factory=dict)


def override(recipe: Recipe, assignments: Sequence[str]) -> Recipe:
    """Set fields of a recipe from texts "path=value"; all take effect at once, so their order does not matter.

    A value is read by the field's type: numbers (also 8/255), true and false, words, lists with commas, "none" where
    a field may be empty, and for a part the name of its class (`optimizer=adam`), whose own fields can be set in the
    same breath (`optimizer.lr=0.001`). Items of a tuple are named by position (`augment.0.padding=2`). The recipe's
    `sources` then tell which fields were set by hand, and what stood there.

    Raises:
        InvalidInput: an unknown field (the nearest is named), a value that its type or its class refuses.
    """
    tree = _Node()
    for assignment in assignments:
        path, equals, text = (part.strip() for part in assignment.partition("="))
        if not (path and equals):
            raise InvalidInput(f"cannot read {assignment!r}; write FIELD=VALUE, e.g. method.beta=3 or optimizer.lr=0.1")
        node = tree
        for name in path.split("."):
            node = node.below.setdefault(name, _Node())
        node.text = text
    after = _change(recipe, tree, "")
    assert isinstance(after, Recipe)
    sources = dict(recipe.sources)
    for path in _texts(tree, ""):
        old, new = (_at(encode(value), path) for value in (recipe, after))
        if old != new:
            sources = changed(sources, path, shown(old))
    return replace(after, sources=sources)


def _texts(node: _Node, path: str) -> list[str]:
    """The paths that were set, those nearer to the root first."""
    own = [] if node.text is None else [path]
    return own + [p for name, child in node.below.items() for p in _texts(child, f"{path}.{name}".lstrip("."))]


def _at(data: Any, path: str) -> Any:
    for name in path.split("."):
        if isinstance(data, list):
            data = data[int(name)] if int(name) < len(data) else None
        else:
            data = data.get(name) if isinstance(data, dict) else None
    return data


def _settable(kind: type) -> dict[str, Field[Any]]:
    return {item.name: item for item in fields(kind) if item.init and item.name not in _FIXED}


def _check_names(kind: type, node: _Node, path: str) -> None:
    known = _settable(kind)
    for name in node.below:
        if name not in known:
            place = f"field of {path} ({kind.__name__})" if path else "field of the recipe"
            raise unknown(place, name, known)


def _change(value: Any, node: _Node, path: str) -> Any:
    """The dataclass, tuple or None `value` with the changes below `node`."""
    if isinstance(value, tuple):
        return _change_items(value, node, path)
    if not is_dataclass(value) or isinstance(value, type):
        below = f"{path}.{next(iter(node.below))}"
        remedy = f"choose one first: --set {path}=NAME" if value is None else f"set {path} itself"
        raise InvalidInput(f"{below} cannot be set, because {path} is {shown(value)}; {remedy}")
    _check_names(type(value), node, path)
    hints = get_type_hints(type(value))
    return replace(
        value,
        **{
            name: _field(hints[name], getattr(value, name), child, f"{path}.{name}".lstrip("."))
            for name, child in node.below.items()
        },
    )


def _change_items(items: tuple[Any, ...], node: _Node, path: str) -> tuple[Any, ...]:
    known = [str(position) for position in range(len(items))]
    for name in node.below:
        if name not in known:
            raise unknown(f"item of {path}", name, known)
    return tuple(
        _change(item, node.below[name], f"{path}.{name}") if name in node.below else item
        for name, item in zip(known, items, strict=True)
    )


def _field(annotation: Any, current: Any, node: _Node, path: str) -> Any:
    if node.text is not None:
        current = parse(annotation, node.text, path, current)
        if isinstance(current, Choice):
            return _construct(current.kind, node, path)
    return _change(current, node, path) if node.below else current


def _construct(kind: type, node: _Node, path: str) -> Any:
    """A new part of a class that was chosen by name, with the fields that are set below it."""
    _check_names(kind, node, path)
    hints, known = get_type_hints(kind), _settable(kind)
    given = {
        name: _field(hints[name], _default(known[name]), child, f"{path}.{name}") for name, child in node.below.items()
    }
    missing = [name for name, item in known.items() if name not in given and _default(item) is MISSING]
    if missing:
        example = " ".join(f"--set {path}.{name}=..." for name in missing)
        raise InvalidInput(f"{path}={snake(kind)} needs {', '.join(missing)}; add {example}")
    return kind(**given)


def _default(item: Field[Any]) -> Any:
    return item.default_factory() if item.default_factory is not MISSING else item.default
