"""The recipe of a method inside a wrapper: trades+awp is the recipe of trades with AWP around its method."""

from dataclasses import replace

from holdfast.errors import unknown
from holdfast.methods import WRAPPERS
from holdfast.recipe import Recipe
from holdfast.recipes import citations

_PAPERS = {"awp": citations.AWP, "grad_align": citations.GRAD_ALIGN}


def wrapped(recipe: Recipe, wrapper: str) -> Recipe:
    """A recipe with a wrapper around its method; what the recipe cites for its method goes with it.

    Raises:
        InvalidInput: no wrapper has this name.
    """
    if wrapper not in WRAPPERS:
        raise unknown("wrapper", wrapper, WRAPPERS)
    inside = {
        f"method.{path}" if path.partition(".")[0] == "method" else path: source
        for path, source in recipe.sources.items()
    }
    around = f"ours: the defaults of {_PAPERS[wrapper]}, around another method than there or in another setting"
    return replace(recipe, method=WRAPPERS[wrapper](method=recipe.method), sources=inside | {"method": around})
