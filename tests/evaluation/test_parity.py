"""Verdicts beside those of the authors' AutoAttack, which the extra `test` installs as pyautoattack.

Few examples on a small model: benchmarks/autoattack_parity.md has many. Both packages search at random, so that on
examples near the edge of the ball either may find what the other misses.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from holdfast.attacks import PGD, Attack, Square
from holdfast.data import Digits, ImageSet
from holdfast.evaluation import Protocol, evaluate, protocol
from holdfast.methods import PGDAT
from holdfast.models import WongCNN
from holdfast.recipe import Adam, OneCycle, Recipe
from holdfast.threat import L1, L2, Linf, ThreatModel
from holdfast.training import train

pyautoattack = pytest.importorskip("pyautoattack", reason="pyautoattack is not installed (extra: test)")

# The package's own warnings (it loads legacy numpy types) are not ours.
pytestmark = pytest.mark.filterwarnings("default")

THREATS = (Linf(0.15), L2(0.7), L1(1.0))
EXAMPLES = 40
QUERIES = 200  # of Square, in both; the standard takes 5,000


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> nn.Module:
    recipe = Recipe(
        method=PGDAT(inner=PGD(steps=5, step_size=0.4)),
        threat=Linf(0.15),
        data=Digits(),
        model=WongCNN(),
        optimizer=Adam(lr=5e-3),
        schedule=OneCycle(),
        epochs=8,
        batch_size=64,
        eps_warmup=0.3,
        precision="float32",
        channels_last=False,
        compile=False,
    )
    return train(recipe, tmp_path_factory.mktemp("victim") / "run", progress=False).load("last")


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return Digits().load("test").subset(range(EXAMPLES))


def official(model: nn.Module, images: ImageSet, threat: ThreatModel, names: Sequence[str]) -> Tensor:
    """[N] bool: the authors' code leaves the example standing."""
    logging.getLogger("auto-attack").setLevel(logging.ERROR)
    suite = pyautoattack.AutoAttack(model, norm=threat.norm, eps=threat.eps, seed=0, version="standard", device="cpu")
    suite.attacks_to_run = list(names)
    suite.square.n_queries = QUERIES
    with torch.random.fork_rng(devices=[]):
        _, prediction = suite.run_standard_evaluation(images.images.float() / 255.0, images.labels, batch_size=EXAMPLES)
    standing: Tensor = prediction == images.labels
    return standing


def ours(model: nn.Module, images: ImageSet, threat: ThreatModel, names: Sequence[str]) -> Tensor:
    attacks: list[Attack[Any]] = [attack for attack in protocol("autoattack", threat).attacks if attack.name in names]
    attacks = [replace(attack, queries=QUERIES) if isinstance(attack, Square) else attack for attack in attacks]
    part = Protocol("part", "1", tuple(attacks))
    found = evaluate(model, images, threat, part, with_curves=False, gallery=0, progress=False)
    return torch.from_numpy(found.verdicts.robust)


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_the_suites_agree(victim: nn.Module, images: ImageSet, threat: ThreatModel) -> None:
    names = ("apgd-ce", "apgd-t", "fab-t", "square")
    mine, theirs = ours(victim, images, threat, names), official(victim, images, threat, names)
    assert 0.2 < theirs.float().mean() < 0.8, "the fixture must have both outcomes"
    assert int((mine != theirs).sum()) <= 1
    assert int(mine.sum()) <= int(theirs.sum()) + 1


@pytest.mark.parametrize("threat", THREATS, ids=str)
@pytest.mark.parametrize("name", ["apgd-ce", "apgd-t", "fab-t", "square"])
def test_no_attack_alone_is_weaker(victim: nn.Module, images: ImageSet, threat: ThreatModel, name: str) -> None:
    mine, theirs = ours(victim, images, threat, [name]), official(victim, images, threat, [name])
    assert int(mine.sum()) <= int(theirs.sum()) + 1
