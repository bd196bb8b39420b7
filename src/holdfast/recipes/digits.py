"""scikit-learn's digits (8 x 8 scans), for tests and first steps. All numbers are ours.

At eps 0.15 natural training falls below 10 % under the protocol `quick`, one-step ADV holds 60 % and ATLAS 66 % (449
test images, 3 seeds); at the 0.3 of MNIST nothing stands on so few pixels. A training takes seconds on one core.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from holdfast.data import Digits
from holdfast.methods import METHODS, JacobianRegularisation, Natural, method
from holdfast.models import WongCNN
from holdfast.recipe import Adam, OneCycle, Recipe
from holdfast.recipes import citations
from holdfast.recipes.citations import cited
from holdfast.threat import Linf

_OURS = "ours, chosen by hand so that a demonstration is quick"


def natural() -> Recipe:
    return Recipe(
        method=Natural(),
        threat=Linf(0.15),
        data=Digits(),
        model=WongCNN(),
        optimizer=Adam(lr=2e-2),
        schedule=OneCycle(peak=0.4),
        epochs=60,
        batch_size=128,
        eps_warmup=0.3,
        sources=cited(_OURS, {"eps_warmup": _OURS, "model": f"{citations.WONG}, MNIST/mnist_net.py"}),
    )


def with_defaults(name: str) -> Recipe:
    """The recipe of the method of this name, with its default hyper-parameters."""
    return replace(natural(), method=method(name))


def free() -> Recipe:
    return replace(with_defaults("free"), epochs=30)


def llr() -> Recipe:
    return replace(with_defaults("llr"), model=WongCNN(activation="softplus"))


def jacobian() -> Recipe:
    return replace(natural(), method=JacobianRegularisation(weight=0.1))


RECIPES: dict[str, Callable[[], Recipe]] = {name: partial(with_defaults, name) for name in METHODS}
RECIPES |= {"free": free, "llr": llr, "jacobian": jacobian}
