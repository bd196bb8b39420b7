"""SPROUT's label distribution, its switches, and its two loops."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from holdfast.dirichlet import dirichlet
from holdfast.errors import InvalidInput
from holdfast.methods import SPROUT, Batch, Progress, Task
from holdfast.methods.sprout import LabelDistribution
from holdfast.noise import Noise
from holdfast.testing.subjects import metered

RELEASE = SPROUT(weight_steps=3)


def at(step: int) -> Progress:
    return Progress(fraction=step / 100, epoch=0, step=step, steps=100)


def state_of(bench: Any, classes: int = 4) -> LabelDistribution:
    task = Task(classes=classes, examples=100, batch_size=6, shape=(10,))
    state = SPROUT().init(bench.model, task)
    assert isinstance(state, LabelDistribution)
    return state.double()


def loss(bench: Any, method: SPROUT, state: nn.Module | None = None, step: int = 75, **changed: Any) -> Any:
    bench = replace(bench, **changed)
    return method.loss(bench.model, bench.batch, bench.threat, state, at(step), bench.noise)


def one_hot(y: Tensor) -> Tensor:
    return torch.eye(4, dtype=torch.float64)[y]


def cross_entropy(model: nn.Module, x: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        logits = model(x)
    log_p = logits - logits.exp().sum(dim=1, keepdim=True).log()
    return -(labels * log_p).sum(dim=1).mean().item()


def test_labels_at_the_start() -> None:
    """T7: 11 for the true class and 1 for each other, over their sum."""
    state = LabelDistribution(10)
    y = torch.eye(10)[torch.zeros(20000, dtype=torch.long)]
    labels = SPROUT()._labels(y, state, Noise.of(0, torch.arange(20000)))
    assert labels[:, 0].mean().item() == pytest.approx(11 / 20, abs=0.004)
    assert labels[:, 1:].mean().item() == pytest.approx(1 / 20, abs=0.001)
    assert labels[:, 0].std().item() == pytest.approx(0.108, abs=0.003)


def test_a_step_of_beta_raises_the_loss(bench) -> None:
    """T7: on a frozen network the descent that the optimizer takes is an ascent of the expected loss."""
    count = 3000
    many = Batch(bench.batch.x.repeat(count, 1), bench.batch.y.repeat(count), torch.arange(6 * count))
    y, state = one_hot(many.y), state_of(bench)
    with torch.no_grad():
        log_p = bench.model(many.x).log_softmax(dim=1)

    def expected(beta: Tensor) -> Tensor:
        concentration = 10.0 * y + beta
        return -(concentration / concentration.sum(dim=1, keepdim=True) * log_p).sum(dim=1).mean()

    (slope,) = torch.autograd.grad(expected(state.beta), state.beta)
    for method, step in ((SPROUT(sigma=0.0, mixup=0.0), 0), (RELEASE, 3)):
        value = loss(bench, method, state, step, batch=many, noise=Noise.of(8, many.index)).value
        (gradient,) = torch.autograd.grad(value, state.beta)
        assert torch.allclose(gradient, -slope, atol=0.05 * slope.norm().item())
        assert value.item() == pytest.approx(expected(state.beta).item(), rel=0.02)
        assert expected(state.beta - gradient) > expected(state.beta)


def test_switched_off_it_is_natural_training(bench) -> None:
    bare = SPROUT(sigma=0.0, mixup=0.0, label_smoothing=False)
    assert loss(bench, bare).value.item() == pytest.approx(bench.cross_entropy(bench.batch.x), rel=1e-12)
    assert bare.init(bench.model, Task(4, 100, 6, (10,))) is None
    assert (bare.replays, bare.passes) == (1, 1.0)


def asked(bench: Any, method: SPROUT, step: int = 75, state: nn.Module | None = None) -> Tensor:
    with metered(bench.model) as meter:
        loss(bench, method, state, step)
    (x,) = meter.asked
    return x


def test_noise_alone(bench) -> None:
    method = SPROUT(sigma=0.1, mixup=0.0, label_smoothing=False)
    x = asked(bench, method)
    change = (x - bench.batch.x) / 0.1
    assert change.std().item() == pytest.approx(1.0, abs=0.25)
    assert x.min() < 0.0
    assert x.max() > 1.0
    assert loss(bench, method).value.item() == pytest.approx(cross_entropy(bench.model, x, one_hot(bench.batch.y)))


def test_mixtures_alone(bench) -> None:
    """Images and labels are mixed alike: x'' = l x_i + (1 - l) x_j is solved for l and j here."""
    method, x, y = SPROUT(sigma=0.0, label_smoothing=False), bench.batch.x, bench.batch.y
    shares = set()
    for step in range(12):
        mixed = asked(bench, method, step)
        labels = torch.zeros(6, 4, dtype=torch.float64)
        for i in range(6):
            found = []
            for j in range(6):
                if j != i:
                    share = ((mixed[i] - x[j]) @ (x[i] - x[j]) / (x[i] - x[j]).square().sum()).item()
                    if torch.allclose(share * x[i] + (1 - share) * x[j], mixed[i], atol=1e-6):
                        found.append((share, j))
            if torch.allclose(mixed[i], x[i], atol=1e-6):
                found = [(1.0, i)]
            ((share, j),) = found
            if j != i:
                shares.add(round(share, 6))
            labels[i] += share * one_hot(y[i]) + (1 - share) * one_hot(y[j])
        value = loss(bench, method, step=step).value.item()
        assert value == pytest.approx(cross_entropy(bench.model, mixed, labels), rel=1e-6)
    assert len(shares) <= 12  # one share a batch
    assert max(shares) - min(shares) > 0.5


def test_algorithm_1_draws_a_label_of_the_mixture(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = watch_draws(monkeypatch)
    state = state_of(bench)
    method = SPROUT(sigma=0.0)
    mixed = asked(bench, method, state=state)
    drawn.clear()
    value = loss(bench, method, state).value.item()
    ((given, labels),) = drawn
    mixture = (given - 1.0) / 10.0
    assert torch.allclose(mixture.sum(dim=1), torch.ones(6, dtype=torch.float64))
    assert value == pytest.approx(cross_entropy(bench.model, mixed, labels), rel=1e-9)


def watch_draws(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Tensor]]:
    """The concentrations of labels that are drawn from now on, and the labels; the mixture's share is no label."""
    drawn: list[tuple[Tensor, Tensor]] = []

    def draw(concentration: Tensor, noise: Noise) -> Tensor:
        labels = dirichlet(concentration, noise)
        if concentration.shape[1] == 4:
            drawn.append((concentration.detach(), labels.detach()))
        return labels

    monkeypatch.setattr("holdfast.methods.sprout.dirichlet", draw)
    return drawn


def test_the_release_draws_a_label_for_either_image(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = watch_draws(monkeypatch)
    state = state_of(bench)
    method = replace(RELEASE, sigma=0.0)
    mixed = asked(bench, method, 0, state)
    drawn.clear()
    value = loss(bench, method, state, step=0).value.item()
    (own, first), (other, second) = drawn
    assert torch.equal(own, 10.0 * one_hot(bench.batch.y) + 1.0)
    assert sorted(other.tolist()) == sorted(own.tolist())
    parts = [cross_entropy(bench.model, mixed, labels) for labels in (first, second)]
    share = (value - parts[1]) / (parts[0] - parts[1])
    assert 0.0 <= share <= 1.0
    assert not torch.equal(first, second)


def test_the_release_alternates(bench) -> None:
    """Three steps of the weights with fresh noise, one of beta on the clean batch; nobody moves in the other's step."""
    state, points = state_of(bench), []
    parameters = [*bench.model.parameters(), state.beta]
    for step in range(8):
        with metered(bench.model) as meter:
            value = loss(bench, RELEASE, state, step).value
            gradients = torch.autograd.grad(value, parameters, allow_unused=True)
        points.append(meter.asked[0])
        of_weights, of_beta = all(g is not None for g in gradients[:-1]), gradients[-1] is not None
        assert (of_weights, of_beta) == ((False, True) if step % 4 == 3 else (True, False))
    assert torch.equal(points[3], bench.batch.x)
    assert torch.equal(points[7], bench.batch.x)
    assert len({float(p.sum()) for p in points}) == 7


def test_prices(bench) -> None:
    assert SPROUT().passes == 1.0
    assert RELEASE.replays == 4
    assert replace(RELEASE, label_smoothing=False).replays == 3
    state = state_of(bench)
    with metered(bench.model) as meter:
        for step in range(4):
            loss(bench, RELEASE, state, step).value.backward()
    assert meter.passes(6) / 4 == pytest.approx(RELEASE.passes)
    assert RELEASE.passes == pytest.approx((3 + 1 / 3) / 4)


def test_concentrations_have_a_floor(bench) -> None:
    state = state_of(bench)
    with torch.no_grad():
        state.beta.fill_(-5.0)
    found = loss(bench, SPROUT(), state)
    assert found.value.isfinite()
    (gradient,) = torch.autograd.grad(found.value, state.beta)
    assert gradient.isfinite().all()


def test_batch_norm_sees_the_clean_batch_when_beta_moves(bn_cnn: nn.Module, images: Tensor, labels: Tensor) -> None:
    expected = copy.deepcopy(bn_cnn)
    expected(images)
    batch = Batch(images, labels, torch.arange(12))
    RELEASE.loss(bn_cnn, batch, None, LabelDistribution(5), at(3), Noise.of(0, labels))  # type: ignore[arg-type]
    for mine, other in zip(bn_cnn.buffers(), expected.buffers(), strict=True):
        assert torch.equal(mine, other)


@pytest.mark.parametrize(
    ("field", "value"), [("sigma", -0.1), ("mixup", -1.0), ("weight_steps", -3), ("concentration", 0.0)]
)
def test_settings_that_make_no_sense_are_refused(field: str, value: float) -> None:
    with pytest.raises(InvalidInput, match=f"{field} is {value}"):
        SPROUT(**{field: value})
