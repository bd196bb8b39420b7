"""From what stands on the command line to the recipe that a training begins with."""

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from holdfast import userfile
from holdfast.data import Source, source
from holdfast.errors import InvalidInput, unknown
from holdfast.methods import METHODS, WRAPPERS, Method, Wrapper
from holdfast.methods import method as named
from holdfast.processes import usable
from holdfast.recipe import Recipe
from holdfast.recipes.choice import choose
from holdfast.recipes.wrapping import wrapped

_STAND_IN = "fgsm_rs"  # whose recipe a user's own method starts from, if it extends none of ours


def begin(what: str, data: str | None, like: str | None) -> tuple[Recipe, str, str]:
    """The recipe before any change; a short name for its run; and in words, which recipe it is.

    Args:
        what: name of a method, or PATH.py:NAME of a Recipe, a Method, or a function that returns one of them; either
            with +WRAPPER behind it, as in trades+awp.
        data: name or path of the images; without it, those of the user's own recipe.
        like: the data set whose recipe to take.

    Raises:
        InvalidInput: an unknown name, or something is missing.
    """
    inside, plus, wrapper = what.rpartition("+")
    if plus and userfile.parse(inside.partition("+")[0]):
        recipe, name, why = begin(inside, data, like)
        return wrapped(recipe, wrapper), f"{name}+{wrapper}", f"{why}; inside {wrapper}"
    reference = userfile.parse(what)
    if reference is None:
        if what.endswith(".py"):
            raise InvalidInput(f"say which name of {what} to train, e.g. {what}:my_recipe")
        first, *around = what.split("+")
        if first not in METHODS:
            raise unknown("method", first, [*METHODS, "PATH.py:NAME"])
        for name in around:
            if name not in WRAPPERS:
                raise unknown("wrapper", name, WRAPPERS)
        recipe, why = _of_pair(what, data, like)
        return recipe, what, why
    made = _made(what, userfile.load(*reference))
    if isinstance(made, Recipe):
        if like is not None:
            raise InvalidInput(f"{what} is a whole recipe, so --recipe {like} has no place; leave one of them out")
        return (made if data is None else replace(made, data=located(data))), reference[1], what
    bare = made
    while isinstance(bare, Wrapper):
        bare = bare.method
    kin = next((name for name, kind in METHODS.items() if isinstance(bare, kind)), _STAND_IN)
    recipe, why = _of_pair(kin, data, like)
    sources = {path: text for path, text in recipe.sources.items() if not path.startswith("method.")}
    recipe = replace(recipe, method=made, sources=sources | {"method": what})
    return recipe, reference[1], f"{why}; with the method {what}"


def method(what: str, data: str, like: str | None) -> tuple[Method, str]:
    """A method with the numbers of its own recipe for the data, or its defaults where there is none; and their source.

    Raises:
        InvalidInput: an unknown name.
    """
    try:
        recipe, _, why = begin(what, data, like)
    except InvalidInput:
        if what.partition("+")[0] not in METHODS:
            raise
        return named(what), "its defaults; it has no recipe for these data"
    return recipe.method, recipe.sources.get("method", why)


def _of_pair(method: str, data: str | None, like: str | None) -> tuple[Recipe, str]:
    if data is None:
        raise InvalidInput(
            "say on which images: --data digits needs nothing; mnist, cifar10 and cifar100 come from the hub or "
            "from disk; --data PATH is your own"
        )
    return choose(located(data), method, like)


def _made(what: str, made: Any) -> Recipe | Method:
    """What a user's name stands for; classes and functions are called."""
    if callable(made):
        needed = [p.name for p in inspect.signature(made).parameters.values() if p.default is p.empty]
        if needed:
            raise InvalidInput(f"{what} wants {', '.join(needed)}, but is called without arguments; give them defaults")
        made = made()
    if not isinstance(made, Recipe | Method):
        raise InvalidInput(f"{what} is a {type(made).__name__}; it must be, or return, a Recipe or a Method")
    return made


def located(text: str) -> Source:
    """The source of a name or path; paths are made absolute, so that a run can go on from any folder."""
    found: Any = source(text)
    path = Path(getattr(found, "path", "")).expanduser()
    if getattr(found, "path", "") and path.is_dir():
        found = replace(found, path=str(path.resolve()))
    made: Source = found
    return made


def device(text: str | None) -> str:
    """The device of --device, by default an accelerator where there is one; torchrun's processes take one each.

    Raises:
        InvalidInput: there is no such device here.
    """
    if text is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    usable(text)
    return text
