"""Which recipe suits a source of data that has none of its own."""

from dataclasses import replace
from typing import Any

from holdfast.data import Source
from holdfast.data.streaming import undecoded
from holdfast.errors import InvalidInput
from holdfast.recipe import Recipe
from holdfast.recipe.sources import source_of
from holdfast.recipes import names, recipe


def choose(source: Source, method: str, like: str | None = None) -> tuple[Recipe, str]:
    """The recipe for a source of data, made for that source; and in words, why this one.

    Args:
        source: the data.
        method: name of the method.
        like: the data set whose recipe to take; None for the source's own, or else the nearest by the images' shape.

    Raises:
        InvalidInput: there is no such recipe, or none is near.
    """
    if like is not None:
        name, reason = like, "as asked for"
    elif source.name in {data for data, _ in names()}:
        name, reason = source.name, ""
    else:
        name, reason = _nearest(source)
    found = recipe(name, method)
    reason = reason or source_of(found.sources, "method")
    return replace(found, data=_shaped(source, found.data)), f"{method} on {name}: {reason}"


def _nearest(source: Source) -> tuple[str, str]:
    shape = _shape(source)
    if len(shape) != 3:
        raise InvalidInput(
            f"{source.name} holds examples of shape {shape}, and there are recipes for images only; say which to start "
            "from, e.g. --recipe digits --model mlp"
        )
    channels, *sides = shape
    if channels == 1 and max(sides) <= 64:
        name = "digits" if max(sides) <= 16 else "mnist"
    else:
        name = "cifar10" if max(sides) <= 64 else "imagenet"
    size = " x ".join(map(str, shape))
    return (
        name,
        f"{source.name} has none of its own, and its images of {size} are most like these (--recipe changes it)",
    )


def _shape(source: Source) -> tuple[int, ...]:
    # A folder of image files knows its shape without reading all of them.
    files = undecoded(source, "train")
    return source.load("train").shape if files is None else files.shape


def _shaped(source: Any, like: Any) -> Source:
    """The source, its images brought to the size and the channels that the recipe asks for."""
    options = {name: getattr(like, name, 0) for name in ("size", "channels")}
    wanted = {name: value for name, value in options.items() if value and getattr(source, name, None) == 0}
    changed: Source = replace(source, **wanted) if wanted else source
    return changed
