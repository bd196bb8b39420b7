"""CIFAR-10, Linf 8/255, from nothing to the highest AutoAttack accuracy in a minute or three of one GPU.

    holdfast train atlas --data cifar10 --recipe cifar10_speedrun                # about a minute
    holdfast train atlas --data cifar10 --recipe cifar10_speedrun --epochs 30    # about three

The images lie on the device as bytes and are cropped and mirrored there, the passes are bfloat16 in channels_last, the
adversary takes one step. The two lengths come from the operations of a step (11 GFLOP an image at width 64) at 100
TFLOP/s, a tenth of what the data sheet of an H100 promises; they were not measured, because no GPU was at hand. Give
another number of epochs if yours is faster: schedule and ramps stretch with it.
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
