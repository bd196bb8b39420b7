"""What is timed: two networks with their data, on any device, with the digits where the real images are absent."""

import os
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from holdfast.attacks import FGSMRS, PGD
from holdfast.data import Digits, ImageSet, Source, Tensors, source
from holdfast.data.names import ENVIRONMENT
from holdfast.methods import FGSMRSAT, PGDAT, Method
from holdfast.models import Architecture, PreActResNet18, WongCNN
from holdfast.recipe import SGD, OneCycle, Recipe
from holdfast.recipes import recipe
from holdfast.threat import Linf, ThreatModel
from holdfast.training import Run, train

TRAINED_ON = 8192  # images: as many as all timed steps see, without decoding the whole set


@dataclass(frozen=True)
class Subject:
    """A network, its images and the adversary.

    Attributes:
        data: name of the data set.
        label: in tables.
        shape: of the images.
        batch_size: of training.
        attack_steps: of the PGD that is timed.
    """

    data: str
    label: str
    shape: tuple[int, int, int]
    model: Architecture
    threat: ThreatModel
    batch_size: int
    attack_steps: int

    def recipe(self, method: str, width: int | None = None, data: Source | None = None) -> Recipe:
        """The published recipe's method, in a long training, so that whatever pays in the long run is done.

        Args:
            method: its name.
            width: of the ResNet, where it is another one.
            data: by default the first `TRAINED_ON` images.
        """
        base = recipe(self.data, method)
        model = self.model if width is None else replace(self.model, width=width)
        optimizer = SGD(lr=0.01, momentum=0.9, weight_decay=5e-4)
        return replace(
            base,
            method=_ten_steps(base.method),
            threat=self.threat,
            data=data or images(self.data, TRAINED_ON),
            model=model,
            optimizer=optimizer,
            schedule=OneCycle(),
            epochs=100,
            batch_size=self.batch_size,
            eps_warmup=0.0,
            holdout=256,
            on_collapse="continue",
        )


def _ten_steps(method: Method) -> Method:
    """PGD-10 where a recipe has another number of steps."""
    inner = getattr(method, "inner", None)
    return replace(method, inner=replace(inner, steps=10)) if type(inner) is PGD else method


_MEAN, _STD = (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)
SUBJECTS = {
    "mnist": Subject("mnist", "MNIST, small CNN", (1, 28, 28), WongCNN(), Linf(0.3), 256, 40),
    "cifar10": Subject(
        "cifar10",
        "CIFAR-10, PreAct ResNet-18 of width 16",
        (3, 32, 32),
        PreActResNet18(width=16, mean=_MEAN, std=_STD),
        Linf("8/255"),
        128,
        20,
    ),
}


def suit(device: str) -> None:
    """On an accelerator take the ResNet at its published width; width 16 would keep it idle."""
    if not device.startswith("cpu"):
        wide = replace(SUBJECTS["cifar10"].model, width=64)
        SUBJECTS["cifar10"] = replace(SUBJECTS["cifar10"], label="CIFAR-10, PreAct ResNet-18", model=wide)


def present(data: str) -> bool:
    """The real images lie on this machine, in a folder under the one that HOLDFAST_DATA names."""
    root = os.environ.get(ENVIRONMENT)
    return bool(root) and (Path(root) / data).is_dir()


@cache
def images(data: str, count: int) -> Tensors:
    """The first images of both splits; scikit-learn's digits, enlarged to the size, where there are none."""
    made = source(data) if present(data) else Digits()
    train_split, test_split = (_sized(made.load(split), SUBJECTS[data].shape) for split in ("train", "test"))
    return Tensors(
        _first(train_split, count), _first(test_split, count), name=data if present(data) else f"digits as {data}"
    )


def _first(split: tuple[Tensor, Tensor], count: int) -> tuple[Tensor, Tensor]:
    """The first examples, repeated if there are too few."""
    rows = torch.arange(count) % len(split[1]) if len(split[1]) < count else torch.arange(count)
    return split[0][rows], split[1][rows]


def _sized(split: ImageSet, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    if split.shape == shape:
        return split.images, split.labels
    enlarged = functional.interpolate(split.images, size=shape[1:], mode="nearest")
    return enlarged.expand(-1, shape[0], -1, -1).contiguous(), split.labels


# Images and epochs of the victims' trainings: of the short form, and of the other.
VICTIMS = {"mnist": ((5_000, 4), (20_000, 4)), "cifar10": ((5_000, 2), (20_000, 3))}


def victim(subject: Subject, folder: Path, device: str, short: bool) -> nn.Module:
    """A robust network to attack, trained if it does not lie in `folder` yet."""
    count, epochs = VICTIMS[subject.data][not short]
    method: Method = PGDAT(inner=PGD(steps=5, step_size=0.4)) if subject.data == "mnist" else FGSMRSAT(inner=FGSMRS())
    # Networks of other widths, and those of digits in place of real images, lie side by side.
    width = f"-width-{subject.model.width}" if isinstance(subject.model, PreActResNet18) else ""
    place = folder / f"{images(subject.data, count).name.replace(' ', '-')}{width}-{count}x{epochs}"
    if not place.exists() or Run.open(place).outcome == "unfinished":
        chosen = replace(
            subject.recipe("fgsm_rs"),
            method=method,
            data=images(subject.data, count),
            optimizer=SGD(lr=0.1, weight_decay=5e-4),
            epochs=epochs,
            eps_warmup=0.3,
            batch_size=128,
        )
        train(chosen, place, device=device, resume=True, progress=False)
    return Run.open(place).load("last").to(device).eval()
