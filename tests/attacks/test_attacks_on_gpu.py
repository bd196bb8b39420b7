"""What only a GPU shows: that every search finds there what it finds on the CPU."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from holdfast.attacks import (
    APGD,
    APGDL1,
    FAB,
    FMN,
    PGD,
    SPSA,
    Attack,
    External,
    MultiTargeted,
    Square,
    Transfer,
    Uniform,
    run,
)
from holdfast.noise import Noise
from holdfast.testing.subjects import RowExact
from holdfast.threat import L1, L2, Linf, ThreatModel

SHAPE, ROWS = (2, 4, 5), 12


def foreign(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """An attack of somebody else's, with random numbers of its own."""
    return (x + eps / 10 * torch.randn_like(x).sign()).clamp(0.0, 1.0)


NET = RowExact(SHAPE)
ATTACKS: list[Attack[Any]] = [
    PGD(steps=3, initial=Uniform(0.5), early_stop=True),
    MultiTargeted(steps=3, target_classes=2),
    APGD(steps=6),
    FAB(steps=5, target_classes=2),
    Square(queries=30),
    SPSA(steps=3, samples=8),
    FMN(steps=5),
    Transfer(PGD(steps=3), NET),
]


def on(device: str, attack: Attack[Any], threat: ThreatModel) -> Tensor:
    """Where its search ends."""
    x = Noise.of(3, torch.arange(ROWS)).uniform(SHAPE, 0.1, 0.9)
    y, index = torch.arange(ROWS) % 5, torch.arange(ROWS)
    target = (y + 1) % 5 if attack.targets else None
    model = RowExact(SHAPE).to(device)
    noise = Noise.of(4, index.to(device))
    aimed = None if target is None else target.to(device)
    found: Tensor = run(attack, threat, model, x.to(device), y.to(device), noise, aimed).x_adv
    assert found.device.type == device
    return found.cpu()


@pytest.mark.gpu
@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.6), L1(2.0)], ids=str)
@pytest.mark.parametrize("attack", [*ATTACKS, APGDL1(steps=6)], ids=lambda attack: attack.name)
def test_a_gpu_searches_as_the_cpu_does(attack: Attack[Any], threat: ThreatModel) -> None:
    if isinstance(attack, (APGD, APGDL1)) and (threat.norm == "L1") != isinstance(attack, APGDL1):
        pytest.skip(f"{attack.name} is not for {threat.norm}")
    torch.testing.assert_close(on("cuda", attack, threat), on("cpu", attack, threat), atol=1e-3, rtol=0.0)


@pytest.mark.gpu
def test_foreign_code_leaves_the_gpus_generators_alone() -> None:
    before = torch.cuda.get_rng_state()
    attack = External(foreign, "foreign")
    assert torch.equal(on("cuda", attack, Linf(0.1)), on("cuda", attack, Linf(0.1)))
    on("cpu", attack, Linf(0.1))
    assert torch.equal(torch.cuda.get_rng_state(), before)
