"""CIFAR-10, Linf 8/255, from nothing to the highest AutoAttack accuracy in a minute or three of one GPU.

    holdfast compare atlas --data cifar10 --recipe cifar10_speedrun --budget 60s --attacks autoattack --out fast60
    holdfast compare atlas --data cifar10 --recipe cifar10_speedrun --budget 3min --attacks autoattack --out fast180
    holdfast train atlas --data cifar10 --recipe cifar10_speedrun --epochs 10    # or so many epochs

The images lie on the device as bytes and are cropped and mirrored there, the passes are bfloat16 in channels_last, the
adversary takes one step. `compare` times a few steps and trains for as many as the budget holds, with ramps and cycle
stretched to it. Written without a GPU at hand: it has run on a CPU, at a small width; its numbers are guesses, and how
accurate it gets in a minute is not known.
"""

from dataclasses import replace

from holdfast.recipe import EMA, SGD, OneCycle, Recipe
from holdfast.recipes import cifar10

_CHANGED = ("optimizer.lr", "optimizer.nesterov", "schedule", "epochs", "batch_size", "ema", "precision")


def atlas() -> Recipe:
    base = cifar10.atlas()
    return replace(
        base,
        optimizer=SGD(lr=0.4, momentum=0.9, weight_decay=5e-4, nesterov=True),
        schedule=OneCycle(peak=0.3),
        epochs=10,
        batch_size=512,
        ema=EMA(decay=0.99, warmup=0.1),
        precision="bfloat16",
        channels_last=True,
        sources={**base.sources, **dict.fromkeys((*_CHANGED, "channels_last"), "ours: for speed, not tuned on a GPU")},
    )


RECIPES = {"atlas": atlas}
