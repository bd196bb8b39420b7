"""Holdfast: train image classifiers that stay right under attack, and measure how right they stay.

The public names, loaded when they are first used, so that `import holdfast` costs nothing. Everything else is found in
the submodules: `holdfast.attacks`, `holdfast.methods`, `holdfast.recipes`, `holdfast.testing`, ...
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # Names that a submodule bears too are taken from their own file: mypy would otherwise see the submodule.
    from holdfast.comparison.compare import compare
    from holdfast.data import Digits, Folder, Hub, ImageSet, Parquet, Tensors
    from holdfast.data.names import source
    from holdfast.errors import HoldfastError
    from holdfast.evaluation.evaluate import evaluate
    from holdfast.evaluation.protocols import protocol
    from holdfast.methods import ATLAS, FGSMAT, FGSMRSAT, NFGSMAT, PGDAT, TRADES, Method, Natural
    from holdfast.models import MadryCNN, PreActResNet18, TradesCNN, WideResNet, WongCNN
    from holdfast.models.names import architecture
    from holdfast.recipe import Recipe
    from holdfast.results import Evaluation, Verdicts
    from holdfast.threat import L1, L2, Linf
    from holdfast.training import Run, load_model
    from holdfast.training.train import train

__all__ = [
    "ATLAS",
    "FGSMAT",
    "FGSMRSAT",
    "L1",
    "L2",
    "NFGSMAT",
    "PGDAT",
    "TRADES",
    "Digits",
    "Evaluation",
    "Folder",
    "HoldfastError",
    "Hub",
    "ImageSet",
    "Linf",
    "MadryCNN",
    "Method",
    "Natural",
    "Parquet",
    "PreActResNet18",
    "Recipe",
    "Run",
    "Tensors",
    "TradesCNN",
    "Verdicts",
    "WideResNet",
    "WongCNN",
    "architecture",
    "compare",
    "evaluate",
    "load_model",
    "protocol",
    "source",
    "train",
]

# Searched in this order, the quick ones to import first.
_HOMES = ("errors", "results", "threat", "data", "models", "methods", "recipe", "evaluation", "training", "comparison")
_MODULES = (*_HOMES, "attacks", "losses", "modes", "noise", "recipes", "report", "testing", "typing")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"holdfast.{name}")
    if name in __all__:
        for home in map(import_module, (f"holdfast.{module}" for module in _HOMES)):
            if hasattr(home, name):
                globals()[name] = getattr(home, name)
                return globals()[name]
    raise AttributeError(f"module 'holdfast' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
