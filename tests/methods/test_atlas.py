"""ATLAS with every switch of its two components, against formulas written out here."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from holdfast.attacks import FGSMRS, PGD, run
from holdfast.errors import InvalidInput
from holdfast.losses import cross_entropy, kl
from holdfast.methods import (
    ATLAS,
    FGSMRSAT,
    PGDAT,
    Batch,
    GlobalComponent,
    GradientPenalty,
    LinearisedMargin,
    Progress,
    WorstPoint,
)
from holdfast.noise import Noise
from holdfast.threat import L2, Linf

RHO = 2.0 / 3.0


def one_step(bench) -> Tensor:
    """x': uniform start, one sign step of 1.25 eps, projected."""
    return bench.step(bench.threat.sample(bench.batch.x, bench.noise), 0.125)


def exactly(value: float) -> Any:
    return pytest.approx(value, rel=1e-12)


def test_default(bench) -> None:
    x, x1 = bench.batch.x, one_step(bench)
    x2 = bench.step(x1, RHO * 0.1)
    assert (x2 - x1).abs().max() > 0.05
    assert bench.value(ATLAS()) == exactly(bench.cross_entropy(x2) + 0.25 * bench.kl(x, x2))
    for together in (True, False):
        whole = ATLAS(global_component=GlobalComponent(anchored=False), together=together)
        assert bench.value(whole) == exactly(bench.value(ATLAS()))


def test_an_anchor_is_not_differentiated() -> None:
    """At weight w of logits w x the gradient of the KL is that of its second argument alone."""
    w = nn.Parameter(torch.tensor([[1.0], [-1.0]], dtype=torch.float64))
    with torch.random.fork_rng(devices=[]):
        model = nn.Sequential(nn.Linear(1, 2, bias=False))
    model[0].weight = w
    x, y = torch.tensor([[0.5], [0.4]], dtype=torch.float64), torch.tensor([0, 0])
    found = {}
    for anchored in (True, False):
        method = ATLAS(local_component=None, global_component=GlobalComponent(beta=3.0, anchored=anchored))
        state = Batch(x, y, torch.arange(2)), Linf(0.1), None, Progress(0.9, 0, 1, 10), Noise.of(1, torch.arange(2))
        (found[anchored],) = torch.autograd.grad(method.loss(model, *state).value, w)
    x_adv = run(FGSMRS(), Linf(0.1), model, x, y, Noise.of(1, torch.arange(2))).x_adv
    value = cross_entropy(model(x_adv), y).mean() + 3.0 * kl(model(x).detach(), model(x_adv)).mean()
    (expected,) = torch.autograd.grad(value, w)
    torch.testing.assert_close(found[True], expected)
    assert not torch.allclose(found[True], found[False])


def test_local_component_alone(bench) -> None:
    x2 = bench.step(one_step(bench), RHO * 0.1)
    assert bench.value(ATLAS(global_component=None)) == exactly(bench.cross_entropy(x2))


def test_global_component_alone(bench) -> None:
    x, x1 = bench.batch.x, one_step(bench)
    assert bench.value(ATLAS(local_component=None)) == exactly(bench.cross_entropy(x1) + 0.25 * bench.kl(x, x1))


def test_with_neither_component_it_is_adversarial_training(bench) -> None:
    bare = ATLAS(local_component=None, global_component=None)
    assert bench.value(bare) == bench.value(FGSMRSAT())
    inner = PGD(steps=4, step_size=0.5)
    strong = ATLAS(inner=inner, local_component=None, global_component=None)
    assert bench.value(strong) == bench.value(PGDAT(inner=inner))


def test_a_multi_step_adversary(bench) -> None:
    x = bench.batch.x
    x1 = bench.threat.sample(x, bench.noise)
    for _ in range(10):
        x1 = bench.step(x1, 0.025)
    x2 = bench.step(x1, 0.1 / 3)
    strong = ATLAS(inner=PGD(steps=10), local_component=WorstPoint(rho=1 / 3))
    assert bench.value(strong) == exactly(bench.cross_entropy(x2) + 0.25 * bench.kl(x, x2))


@pytest.mark.parametrize("beta", [0.0, 2.5])
def test_global_weight(bench, beta: float) -> None:
    x, x2 = bench.batch.x, bench.step(one_step(bench), RHO * 0.1)
    weighed = ATLAS(global_component=GlobalComponent(beta=beta))
    assert bench.value(weighed) == exactly(bench.cross_entropy(x2) + beta * bench.kl(x, x2))


def test_global_component_at_the_adversary(bench) -> None:
    x, x1 = bench.batch.x, one_step(bench)
    x2 = bench.step(x1, RHO * 0.1)
    near = ATLAS(global_component=GlobalComponent(at_adversary=True))
    assert bench.value(near) == exactly(bench.cross_entropy(x2) + 0.25 * bench.kl(x, x1))
    assert bench.kl(x, x1) != pytest.approx(bench.kl(x, x2), rel=1e-3)


def test_squared_distance(bench) -> None:
    x, x2 = bench.batch.x, bench.step(one_step(bench), RHO * 0.1)
    with torch.no_grad():
        p, q = (bench.model(z).softmax(dim=1).tolist() for z in (x, x2))
    distance = sum((a - b) ** 2 for r, s in zip(p, q, strict=True) for a, b in zip(r, s, strict=True)) / len(x)
    squared = ATLAS(global_component=GlobalComponent(beta=1.0, distance="squared"))
    assert bench.value(squared) == exactly(bench.cross_entropy(x2) + distance)


def test_the_local_point_leaves_the_ball_only_if_asked_to(bench) -> None:
    x1 = one_step(bench)
    free = (x1 + RHO * 0.1 * bench.gradient(x1).sign()).clamp(0, 1)
    assert (free - bench.batch.x).abs().max() > 0.15
    loose = ATLAS(local_component=WorstPoint(project=False), global_component=None)
    assert bench.value(loose) == exactly(bench.cross_entropy(free))


@pytest.mark.parametrize(
    ("ramp", "fraction", "share"),
    [(0.5, 0.0, 0.0), (0.5, 0.25, 0.5), (0.5, 0.5, 1.0), (0.5, 0.9, 1.0), (0.0, 0.0, 1.0), (1.0, 0.25, 0.25)],
)
def test_the_local_radius_rises(bench, ramp: float, fraction: float, share: float) -> None:
    local = ATLAS(local_component=WorstPoint(ramp=ramp), global_component=None)
    progress = Progress(fraction=fraction, epoch=0, step=0, steps=100)
    x1 = one_step(bench)
    x2 = bench.step(x1, share * RHO * 0.1) if share else x1
    assert bench.value(local, progress=progress) == exactly(bench.cross_entropy(x2))


def test_gradient_penalty(bench) -> None:
    x1 = one_step(bench)
    penalty = bench.gradient(x1).abs().sum(dim=1).mean().item()
    local = ATLAS(local_component=GradientPenalty(rho=0.2), global_component=None)
    assert bench.value(local) == exactly(bench.cross_entropy(x1) + 0.2 * 0.1 * penalty)
    assert 0.02 * penalty > 0.1


def test_gradient_penalty_has_the_dual_norm_of_the_threat(bench) -> None:
    threat, x = L2(0.5), bench.batch.x
    start = threat.sample(x, bench.noise)
    gradient = bench.gradient(start)
    x1 = threat.project(x, start + 0.625 * gradient / gradient.norm(dim=1, keepdim=True))
    penalty = bench.gradient(x1).norm(dim=1).mean().item()
    local = ATLAS(local_component=GradientPenalty(rho=0.2), global_component=None)
    assert bench.value(local, threat) == pytest.approx(bench.cross_entropy(x1) + 0.2 * 0.5 * penalty, rel=1e-9)


def test_linearised_margin(bench) -> None:
    """Every wrong logit rises by rho eps ||gradient of the margin||_1 before the cross-entropy is taken."""
    x, y, x1 = bench.batch.x, bench.batch.y.tolist(), one_step(bench)

    def margins(logits: Tensor) -> Tensor:
        return sum(row[c] - torch.cat([row[:c], row[c + 1 :]]).max() for row, c in zip(logits, y, strict=True))

    rise = (0.2 * 0.1 * bench.gradient(x1, margins).abs().sum(dim=1)).tolist()
    expected = 0.0
    for row, label, up in zip(bench.logits(x1), y, rise, strict=True):
        total = sum(math.exp(z if j == label else z + up) for j, z in enumerate(row))
        expected += (math.log(total) - row[label]) / len(x)
    local = ATLAS(local_component=LinearisedMargin(rho=0.2), global_component=None)
    assert bench.value(local) == exactly(expected)


def test_both_components_with_a_penalty(bench) -> None:
    x, x1 = bench.batch.x, one_step(bench)
    penalty = bench.gradient(x1).abs().sum(dim=1).mean().item() * 0.1 / 30
    both = ATLAS(local_component=GradientPenalty())
    assert bench.value(both) == exactly(bench.cross_entropy(x1) + penalty + 0.25 * bench.kl(x, x1))


def test_one_outer_pass_or_two_differ_in_batch_statistics_alone(bn_cnn, images, labels) -> None:
    asked = []
    bn_cnn.register_forward_hook(lambda module, x, _: asked.append(len(x[0])) if module.training else None)
    values = []
    for together in (True, False):
        batch = Batch(images, labels, torch.arange(12))
        loss = ATLAS(global_component=GlobalComponent(anchored=False), together=together).loss(
            bn_cnn, batch, Linf(0.05), None, Progress(0.9, 0, 0, 1), Noise.of(0, torch.arange(12))
        )
        values.append(loss.value.item())
    assert asked == [24, 12, 12]
    assert values[0] != pytest.approx(values[1], rel=1e-4)
    assert values[0] == pytest.approx(values[1], rel=0.2)


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: WorstPoint(rho=-1.0), "rho is -1"),
        (lambda: WorstPoint(ramp=1.5), r"lies in \[0, 1\]"),
        (lambda: GlobalComponent(beta=-1.0), "beta is -1"),
        (lambda: GlobalComponent(distance="squares"), "did you mean 'squared'"),
        (
            lambda: ATLAS(local_component=GradientPenalty(), global_component=GlobalComponent(anchored=False)),
            "together=False",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(build: Any, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        build()
