"""Training: `train` makes a run of a recipe, `Run` reads one."""

from holdfast.training.run import Run, load_model, load_recipe
from holdfast.training.train import train

__all__ = ["Run", "load_model", "load_recipe", "train"]
