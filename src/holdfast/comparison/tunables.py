"""Which numbers of a method are its own to choose: what `--tune` searches, besides the learning rate of all of them.

None of them changes what a step costs, so that a budget buys the same number of steps in every trial.
"""

from dataclasses import dataclass, replace

from holdfast.methods import (
    ADR,
    ATLAS,
    AWP,
    CURE,
    FGSMAT,
    LLR,
    MART,
    MMA,
    PGDAT,
    SPROUT,
    TRADES,
    TRADESYOPO,
    YOPO,
    FreeAT,
    GradAlign,
    JacobianRegularisation,
    Method,
    Wrapper,
)
from holdfast.recipe import Recipe
from holdfast.recipe.codec import encode


@dataclass(frozen=True)
class Tunable:
    """A number of a recipe that is searched around the value it has.

    Args:
        field: its path.
        factor: it is searched, evenly in its logarithm, from its value divided by this to its value times this.
        most: and no higher.
    """

    field: str
    factor: float = 4.0
    most: float = float("inf")


LEARNING_RATE = Tunable("optimizer.lr")
# The step of a search inside S(x), in units of eps.
_STEP = Tunable("method.inner.step_size", factor=2.0)

TUNABLES: dict[type[Method], tuple[Tunable, ...]] = {
    FGSMAT: (_STEP, Tunable("method.clean_weight", factor=2.0, most=0.9)),
    PGDAT: (_STEP,),
    FreeAT: (Tunable("method.step_size", factor=2.0),),
    YOPO: (_STEP,),
    TRADESYOPO: (Tunable("method.beta"), _STEP),
    TRADES: (Tunable("method.beta"), _STEP),
    MART: (Tunable("method.beta"), _STEP),
    MMA: (Tunable("method.max_radius", factor=2.0), Tunable("method.clean_weight", most=0.9), _STEP),
    LLR: (Tunable("method.gap_weight"), Tunable("method.mu"), _STEP),
    ADR: (
        Tunable("method.local_compactness"),
        Tunable("method.global_compactness"),
        Tunable("method.smoothness"),
        Tunable("method.confidence"),
        _STEP,
    ),
    ATLAS: (
        Tunable("method.local_component.rho", factor=3.0, most=2.0),
        Tunable("method.global_component.beta"),
        _STEP,
    ),
    CURE: (Tunable("method.weight"), Tunable("method.h", factor=2.0)),
    JacobianRegularisation: (Tunable("method.weight", factor=10.0),),
    SPROUT: (
        Tunable("method.sigma", factor=2.0),
        Tunable("method.mixup"),
        Tunable("method.concentration"),
    ),
    GradAlign: (Tunable("method.weight"),),
    AWP: (Tunable("method.gamma"),),
}


def tunables(recipe: Recipe) -> dict[str, tuple[float, float, float]]:
    """The numbers to search in a recipe: by path the least, its own and the greatest value.

    A method that the table does not know has those of the nearest class that it extends; what the recipe lacks or has
    set to 0, is left out. A wrapper has its own and those of the method inside.
    """
    found = {}
    for tunable in (LEARNING_RATE, *_of(recipe.method)):
        own = _value(recipe, tunable.field)
        if own:
            found[tunable.field] = (own / tunable.factor, own, max(own, min(own * tunable.factor, tunable.most)))
    return found


def _of(method: Method) -> list[Tunable]:
    kinds = [kind for kind in type(method).__mro__ if kind in TUNABLES]
    own = list(TUNABLES[kinds[0]]) if kinds else []
    inside = _of(method.method) if isinstance(method, Wrapper) else []
    return own + [replace(tunable, field=f"method.{tunable.field}") for tunable in inside]


def _value(recipe: Recipe, path: str) -> float | None:
    data = encode(recipe)
    for name in path.split("."):
        data = data.get(name) if isinstance(data, dict) else None
    return float(data) if isinstance(data, int | float) else None
