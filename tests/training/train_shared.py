"""Train a recipe, as one of the processes that torchrun starts. Run by test_distributed.py."""

import json
import sys
from pathlib import Path

import torch

from holdfast.recipe import codec
from holdfast.training import train, trainer

if __name__ == "__main__":
    torch.set_num_threads(1)
    trainer.READ_EVERY = 1
    for recipe_file in sys.argv[1:]:
        path = Path(recipe_file)
        train(codec.decode(json.loads(path.read_text())), path.with_suffix(""), device="cpu", progress=False)
