"""What holds for every method: the laws, the gradient, the precision, the names."""

import copy

import pytest
import torch
from torch import nn

from holdfast.attacks import FGSMRS, NFGSM, PGD, Adam, Gaussian, SoftMargin, Uniform
from holdfast.errors import InvalidInput
from holdfast.methods import (
    ADR,
    ADRTRADES,
    ATLAS,
    AWP,
    CURE,
    FGSMAT,
    FGSMRSAT,
    LLR,
    MART,
    METHODS,
    MMA,
    NFGSMAT,
    PGDAT,
    SPROUT,
    TRADES,
    Batch,
    FreeAT,
    GlobalComponent,
    GradAlign,
    GradientPenalty,
    JacobianRegularisation,
    LinearisedMargin,
    Method,
    Natural,
    Progress,
    Task,
    WorstPoint,
    Wrapper,
    method,
)
from holdfast.noise import Noise
from holdfast.testing import check_method
from holdfast.threat import L1, L2, Linf

SHORT = PGD(steps=3)
WHOLE = GlobalComponent(anchored=False)
VARIANTS: dict[str, Method] = {
    "natural": Natural(),
    "fgsm": FGSMAT(),
    "fgsm-adversary-alone": FGSMAT(clean_weight=0.0),
    "fgsm_rs": FGSMRSAT(),
    "n_fgsm": NFGSMAT(),
    "pgd_at": PGDAT(inner=SHORT, batch_statistics=False),
    "free": FreeAT(),
    "trades": TRADES(inner=PGD(steps=3, initial=TRADES().inner.initial)),
    "trades-batch-statistics": TRADES(inner=SHORT, batch_statistics=True),
    "mart": MART(inner=PGD(steps=3, initial=Gaussian(0.001))),
    "llr": LLR(inner=SHORT),
    "llr-exact": LLR(inner=SHORT, exact_gradient=True),
    "adr": ADR(inner=SHORT),
    "adr-confidence-alone": ADR(0.5, 0.5, 0.0, 0.0, 0.0, inner=SHORT, batch_statistics=False),
    "adr_trades": ADRTRADES(inner=PGD(steps=3, initial=Gaussian(0.001)), global_smoothness=1.0),
    "mma": MMA(inner=PGD(steps=3, criterion=SoftMargin()), bisections=3),
    "omma": MMA(clean_weight=0.0, inner=PGD(steps=3, criterion=SoftMargin()), bisections=3),
    "sprout": SPROUT(),
    "sprout-noise": SPROUT(mixup=0.0, label_smoothing=False),
    "sprout-mixtures": SPROUT(sigma=0.0, label_smoothing=False),
    "atlas": ATLAS(),
    "atlas-whole": ATLAS(global_component=WHOLE),
    "atlas-apart": ATLAS(inner=SHORT, global_component=WHOLE, together=False, batch_statistics=False),
    "atlas-local": ATLAS(global_component=None),
    "atlas-global": ATLAS(local_component=None, global_component=WHOLE),
    "atlas-neither": ATLAS(local_component=None, global_component=None),
    "atlas-at-adversary": ATLAS(global_component=GlobalComponent(anchored=False, at_adversary=True)),
    "atlas-squared": ATLAS(global_component=GlobalComponent(anchored=False, distance="squared")),
    "atlas-gradient-penalty": ATLAS(local_component=GradientPenalty(), global_component=WHOLE, together=False),
    "atlas-linearised-margin": ATLAS(local_component=LinearisedMargin(), global_component=WHOLE, together=False),
    "cure": CURE(h=0.3),
    "cure-squared": CURE(squared=True, ramp=0.0),
    "jacobian": JacobianRegularisation(),
    "jacobian-three": JacobianRegularisation(weight=0.1, projections=3),
    "grad_align": GradAlign(),
    "grad_align-trades": GradAlign(method=TRADES(inner=SHORT), weight=2.0),
    "awp-grad_align": AWP(method=GradAlign(method=FGSMRSAT())),
    "grad_align-awp": GradAlign(method=AWP(method=FGSMRSAT())),
    "awp": AWP(method=PGDAT(inner=SHORT), gamma=0.1),
    "awp-trades": AWP(method=TRADES(inner=SHORT, batch_statistics=True), gamma=0.1),
    "awp-atlas": AWP(method=ATLAS(), gamma=0.1),
    "awp-natural": AWP(method=Natural()),
    "atlas-penalty-alone": ATLAS(local_component=GradientPenalty(), global_component=None),
}

# Their gradients are those of a value with the clean features or p(x) held fixed, which their own tests look at.
DETACHING = ("adr", "adr_trades", "atlas", *(name for name in VARIANTS if isinstance(VARIANTS[name], Wrapper)))


@pytest.mark.parametrize("name", VARIANTS)
def test_laws(name: str) -> None:
    probes = isinstance(VARIANTS[name], CURE) or "grad_align" in name or "sprout" in name
    threats = (Linf(0.1), L2(0.6), L1(2.0))
    check_method(VARIANTS[name], threats, leaves_ball=name in ("n_fgsm", "mma", "omma"), leaves_box=probes)


def test_the_local_point_may_leave_the_ball_if_asked_to() -> None:
    loose = ATLAS(local_component=WorstPoint(project=False))
    check_method(loose, threats=(Linf(0.1),), leaves_ball=True)
    with pytest.raises(AssertionError, match=r"outer points lie in S\(x\)"):
        check_method(loose, threats=(Linf(0.1),))


@pytest.mark.parametrize("name", [name for name in VARIANTS if name not in DETACHING])
def test_the_gradient_is_that_of_the_value(name: str, bench) -> None:
    """Sign steps do not move with the weights, so a central difference of the whole loss sees the outer loss alone.

    Not so what wrappers hold constant: AWP's perturbation, GradAlign's gradient at x; their own tests look at those.
    """
    parameters = list(bench.model.parameters())
    loss = bench.loss(VARIANTS[name]).value
    assert loss.dtype == torch.float64
    gradients = torch.autograd.grad(loss, parameters)
    direction = [Noise.of(9, torch.tensor([i])).normal(p.shape)[0].double() for i, p in enumerate(parameters)]
    slope = sum((g * d).sum().item() for g, d in zip(gradients, direction, strict=True))
    values = []
    for step in (1e-6, -2e-6):
        for parameter, d in zip(parameters, direction, strict=True):
            parameter.data += step * d
        values.append(bench.value(VARIANTS[name]))
    assert (values[0] - values[1]) / 2e-6 == pytest.approx(slope, rel=1e-5, abs=1e-7)
    assert abs(slope) > 1e-3


@pytest.mark.parametrize("name", METHODS)
def test_losses_are_float32_under_autocast(name: str, bn_cnn: nn.Module, images, labels) -> None:
    batch = Batch(images, labels, torch.arange(12))
    plain_model, task = copy.deepcopy(bn_cnn), Task(5, 12, 12, (2, 6, 6))
    state, progress, noise = method(name).init(bn_cnn, task), Progress(0.9, 9, 90, 100), Noise.of(0, torch.arange(12))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = method(name).loss(bn_cnn, batch, Linf(0.1), state, progress, noise)
    assert loss.value.dtype == torch.float32
    loss.value.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in bn_cnn.parameters())
    state = method(name).init(plain_model, task)
    plain = method(name).loss(plain_model, batch, Linf(0.1), state, progress, noise)
    assert loss.value.item() == pytest.approx(plain.value.item(), rel=0.1)


def test_defaults_are_those_of_the_papers() -> None:
    for default, expected in (
        (FGSMAT(), FGSMAT(clean_weight=0.5, batch_statistics=True)),
        (FGSMRSAT(), FGSMRSAT(batch_statistics=True)),
        (NFGSMAT(), NFGSMAT(batch_statistics=True)),
        (PGDAT(), PGDAT(inner=PGD(steps=10, step_size=0.25), batch_statistics=True)),
        (FreeAT(), FreeAT(replays=8, step_size=1.0)),
        (TRADES(), TRADES(6.0, PGD(steps=10, step_size=0.25, initial=Gaussian(0.001)), batch_statistics=False)),
        (MMA(), MMA(1.5, 0.005 * 255 / 8, 1 / 3, PGD(10, 0.25, criterion=SoftMargin()), 10)),
        (MART(), MART(6.0, PGD(steps=10, step_size=7 / 31, initial=Gaussian(0.001)), batch_statistics=False)),
        (LLR(), LLR(2.0, 4.0, 1.2, PGD(steps=10, step_size=0.1 / (8 / 255), rule=Adam()), exact_gradient=False)),
        (SPROUT(), SPROUT(sigma=0.1, mixup=0.2, label_smoothing=True, concentration=10.0, weight_steps=0)),
        (ADR(), ADR(0.5, 0.5, 1.0, 1.0, 1.0, 1.0, 0.0, None, "cross_entropy", PGD(10, 0.25), True)),
        (ATLAS(), ATLAS(FGSMRS(), WorstPoint(2 / 3, 0.5, True), GlobalComponent(0.25, "kl", True, False), True, True)),
    ):
        assert default == expected
    assert FGSMRS() == FGSMRS(steps=1, step_size=1.25, initial=Uniform())
    assert NFGSM() == NFGSM(steps=1, step_size=1.0, initial=Uniform(2.0))
    assert GradientPenalty().rho == LinearisedMargin().rho == pytest.approx(0.1 / 3)


def test_methods_have_names() -> None:
    for name in METHODS:
        assert method(name) == METHODS[name]()
    assert method("trades+grad_align+awp") == AWP(method=GradAlign(method=TRADES()))
    with pytest.raises(InvalidInput, match="did you mean 'trades'"):
        method("trade")
    with pytest.raises(InvalidInput, match="unknown wrapper 'atlas'"):
        method("trades+atlas")


def test_parts_are_what_they_say(bench) -> None:
    x, y = bench.batch.x, bench.batch.y
    parts = bench.loss(TRADES()).parts
    right = (bench.model(x).argmax(dim=1) == y).double().mean().item()
    assert parts["clean_accuracy"].item() == pytest.approx(right)
    assert parts["natural_loss"].item() == pytest.approx(bench.cross_entropy(x))
    atlas = bench.loss(ATLAS())
    total = atlas.parts["local_loss"] + 0.25 * atlas.parts["global_loss"]
    assert total.item() == pytest.approx(atlas.value.item())
