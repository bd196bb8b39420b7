"""Where the numbers of a recipe come from.

`Recipe.sources` maps the path of a field to a citation, which holds for everything below that field: the source of
"method" is that of "method.inner.steps", unless "method.inner" has one of its own.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from holdfast.recipe import Recipe
from holdfast.recipe.codec import encode
from holdfast.recipe.shown import shown


def leaves(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """The path and the text of every choice in a recipe, in the order of its fields: numbers, words, classes."""
    data = encode(recipe)
    for name in ("type", "sources"):
        del data[name]
    yield from _leaves(data, "")


def _leaves(data: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(data, dict):
        if "type" in data:
            yield path, shown(data)
        for name, item in data.items():
            if name != "type":
                yield from _leaves(item, f"{path}.{name}".lstrip("."))
    elif isinstance(data, list) and any(isinstance(item, dict) for item in data):
        for position, item in enumerate(data):
            yield from _leaves(item, f"{path}.{position}")
    else:
        yield path, shown(data)


def source_of(sources: Mapping[str, str], path: str) -> str:
    """The citation of a field: its own, else that of the nearest field above it, else ""."""
    while path and path not in sources:
        path = path.rpartition(".")[0]
    return sources.get(path, "")


def changed(sources: Mapping[str, str], path: str, before: str) -> dict[str, str]:
    """The sources after somebody has set `path`, which was `before`, by hand."""
    cited = source_of(sources, path)
    kept = {name: text for name, text in sources.items() if name != path and not name.startswith(f"{path}.")}
    return kept | {path: f"set by hand; {before} in the recipe" + (f" ({cited})" if cited else "")}
