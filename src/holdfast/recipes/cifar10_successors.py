"""CIFAR-10, Linf: what came after adversarial training with PGD, to make it cheaper or to place adversaries better."""

from dataclasses import replace

from holdfast.attacks import PGD, Gaussian, SoftMargin
from holdfast.data import HorizontalFlip, RandomCrop, source
from holdfast.methods import MART, MMA, TRADESYOPO, YOPO, FreeAT
from holdfast.models import PreActResNet18, WideResNet
from holdfast.recipe import SGD, Recipe, Step
from holdfast.recipes import citations
from holdfast.recipes.cifar10 import fgsm_rs, trades
from holdfast.recipes.citations import cited
from holdfast.threat import Linf


def free() -> Recipe:
    return replace(
        fgsm_rs(),
        method=FreeAT(replays=8, step_size=1.0),
        optimizer=SGD(lr=0.04, momentum=0.9, weight_decay=5e-4),
        epochs=10,
        sources=cited(f"{citations.WONG}, CIFAR10/train_free.py", {"method": citations.FREE_CIFAR}),
    )


def mart() -> Recipe:
    return replace(
        trades(),
        method=MART(beta=6.0, inner=PGD(steps=10, step_size=7 / 31, initial=Gaussian(0.001))),  # 0.007
        optimizer=SGD(lr=0.1, momentum=0.9, weight_decay=7e-4),
        schedule=Step(milestones=(74 / 90, 89 / 90), drop=0.1),  # before epochs 75 and 90, counted from 1
        epochs=90,
        sources=cited(f"{citations.MART}, train_wideresnet.py"),
    )


def yopo() -> Recipe:
    return replace(
        fgsm_rs(),
        method=YOPO(outer=5, inner=PGD(steps=3, step_size=2 / 8)),
        model=PreActResNet18(),
        optimizer=SGD(lr=0.2 / 5, momentum=0.9, weight_decay=5e-4),
        schedule=Step(milestones=(30 / 36, 34 / 36), drop=0.1),
        epochs=36,
        batch_size=256,
        sources=cited(f"{citations.YOPO}, experiments/CIFAR10/pre-res18.yopo-5-3"),
    )


def trades_yopo() -> Recipe:
    inner = PGD(steps=4, step_size=7 / 31, initial=Gaussian(0.001))  # 0.007
    return replace(
        yopo(),
        method=TRADESYOPO(outer=3, inner=inner, beta=1.0),
        threat=Linf(0.031),
        optimizer=SGD(lr=0.2, momentum=0.9, weight_decay=5e-4),
        schedule=Step(milestones=(70 / 105, 90 / 105, 100 / 105), drop=0.1),
        epochs=105,
        sources=cited(f"{citations.YOPO}, experiments/CIFAR10-TRADES/pre-res18.TRADES-YOPO-3-4"),
    )


def mma() -> Recipe:
    published = f"{citations.MMA}, config.py, run_cifar10_training.sh"
    exceptions = {
        "model": f"{published}; there each image is standardised besides",
        "method.max_radius": f"{published}: 32/255, the greatest of its three",
        "schedule": f"{published}, which goes from 0.3 to 0.09, 0.03 and 0.009",
        "epochs": f"{published}: 50,000 steps, rounded to epochs of 49,000 images",
        "augment": "advertorch e063e34, advertorch_examples/utils.py",
    }
    inner = PGD(steps=10, step_size=2.5 / 10, criterion=SoftMargin())
    return Recipe(
        method=MMA(max_radius=32 / 8, min_radius=0.005 * 255 / 8, clean_weight=1 / 3, inner=inner),
        threat=Linf(8 / 255),
        data=source("cifar10"),
        model=WideResNet(depth=28, widen=4),
        optimizer=SGD(lr=0.3, momentum=0.9, weight_decay=2e-4),
        schedule=Step(milestones=(0.4, 0.6, 0.8), drop=0.3),
        epochs=131,
        batch_size=128,
        augment=(RandomCrop(padding=4, mode="reflect"), HorizontalFlip()),
        sources=cited(published, exceptions),
    )


RECIPES = {"free": free, "yopo": yopo, "trades_yopo": trades_yopo, "mart": mart, "mma": mma}
