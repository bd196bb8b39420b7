"""Recipes: for a data set and a method, everything that decides a training, each number with its source."""

from collections.abc import Callable

from holdfast.errors import InvalidInput, unknown
from holdfast.methods import METHODS
from holdfast.recipe import Recipe
from holdfast.recipes import cifar10, cifar10_speedrun, cifar10_successors, cifar100, digits, imagenet, mnist
from holdfast.recipes.wrapping import wrapped

_RECIPES: dict[str, dict[str, Callable[[], Recipe]]] = {
    "digits": digits.RECIPES,
    "mnist": mnist.RECIPES,
    "cifar10": cifar10.RECIPES | cifar10_successors.RECIPES,
    "cifar10_speedrun": cifar10_speedrun.RECIPES,
    "cifar100": cifar100.RECIPES,
    "imagenet": imagenet.RECIPES,
}


def names() -> tuple[tuple[str, str], ...]:
    """All pairs (data set, method) that have a recipe; a data set may have others, under a longer name."""
    return tuple((data, method) for data, recipes in _RECIPES.items() for method in recipes)


def recipe(data: str, method: str) -> Recipe:
    """The recipe of a data set and a method, by their names.

    NAME+WRAPPER has a recipe of its own where one was published, else that of NAME with the wrapper around its method.

    Raises:
        InvalidInput: an unknown name (the nearest is named), or a pair for which nobody has published a recipe.
        MissingExtra: the recipe's model needs a package that is not installed.
    """
    if data not in _RECIPES:
        raise unknown("data set", data, _RECIPES)
    found = _RECIPES[data]
    if method in found:
        return found[method]()
    inside, plus, wrapper = method.rpartition("+")
    if plus:
        return wrapped(recipe(data, inside), wrapper)
    if method in METHODS:
        raise InvalidInput(
            f"there is no recipe of {method} for {data} (known: {', '.join(sorted(found))}); take another data set's "
            "(--recipe cifar10), or write your own: holdfast train my_method.py:my_recipe"
        )
    raise unknown("method", method, METHODS)
