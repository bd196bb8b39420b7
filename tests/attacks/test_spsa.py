"""SPSA: its estimate against the true gradient, and that it never asks for one."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from holdfast.attacks import SPSA, Margin, run
from holdfast.errors import InvalidInput
from holdfast.evaluation.examples import Counted
from holdfast.noise import Noise
from holdfast.testing import check_attack
from holdfast.testing.subjects import RowExact
from holdfast.threat import Linf


@pytest.fixture
def pair() -> nn.Module:
    """Linear logits of two classes in float64; the margin of label 0 has the gradient w[1] - w[0]."""
    with torch.random.fork_rng(devices=[]):
        model = nn.Linear(8, 2).double()
    model.weight.data = Noise.of(91, torch.arange(2)).normal((8,)).double()
    return model


def state_of(attack: SPSA, x: Tensor, y: Tensor) -> Any:
    return attack.start(Linf(0.1), x, y, Noise.of(92, torch.arange(len(x))))


def test_the_estimate_is_the_mean_of_its_samples(pair: nn.Module) -> None:
    """On a linear model (L(x + d v) - L(x - d v)) / (2 d) is <g, v>, so that the estimate is the mean of <g, v> v."""
    x, y = torch.full((3, 8), 0.5).double(), torch.zeros(3, dtype=torch.int64)
    true = (pair.weight[1] - pair.weight[0]).detach()
    attack = SPSA(samples=4_000)
    found = attack.look(pair, state_of(attack, x, y)).gradient
    # The entries of the mean have a standard deviation of at most |g| / sqrt(pairs), 2.3 % of |g|.
    assert (found - true).abs().max() < 0.09 * true.norm()
    few = SPSA(samples=8)
    estimate = few.look(pair, state_of(few, x, y)).gradient
    assert not torch.allclose(estimate[0], estimate[1], atol=0.1), "rows must draw their own signs"
    state = state_of(few, x, y)
    state.iteration += 1
    assert not torch.allclose(few.look(pair, state).gradient, estimate, atol=0.1), "steps must draw their own signs"
    # One pair gives <g, v> v: all entries have one size.
    one = SPSA(samples=2)
    assert torch.allclose(*(one.look(pair, state_of(one, x, y)).gradient.abs().aminmax(dim=1)), atol=1e-9)


class Witness:
    """A classifier without gradients, which notes how many inputs it was given at once."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.sizes = model, list[int]()

    def __call__(self, x: Tensor) -> Tensor:
        assert not torch.is_grad_enabled(), "a gradient may be asked for"
        assert not x.requires_grad
        self.sizes.append(len(x))
        return self.model(x).detach()


def test_chunks_bound_the_memory_and_change_nothing() -> None:
    model = RowExact((8,))
    x = Noise.of(93, torch.arange(4)).uniform((8,))
    y = model(x).argmax(dim=1)
    results, sizes = [], []
    for at_once in (1, 40, 10_000):
        attack, witness = SPSA(samples=20, at_once=at_once), Witness(model)
        results.append(attack.look(witness, state_of(attack, x, y)).gradient)
        sizes.append(max(witness.sizes))
        assert sum(witness.sizes) == len(x) * attack.passes
    assert sizes == [8, 40, 80]
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_it_breaks_what_has_no_gradient(cnn: nn.Module, images: Tensor) -> None:
    """Inputs are rounded to 16 levels, so that the true gradient is 0 everywhere."""

    def rounded(x: Tensor) -> Tensor:
        return cnn((x * 15).round() / 15)

    y = rounded(images).argmax(dim=1)
    counted = Counted(rounded)  # type: ignore[arg-type]
    attack, threat, noise = SPSA(steps=12, samples=64, delta=0.05), Linf(0.2), Noise.of(94, torch.arange(len(images)))
    found = run(attack, threat, counted, images, y, noise)
    broken = rounded(found.x_adv).argmax(dim=1) != y
    random = rounded(threat.sample(images, noise)).argmax(dim=1) != y
    assert broken.float().mean() > 0.9
    assert broken.sum() > random.sum() + 4, "the estimate must do better than its random start"
    assert threat.contains(images, found.x_adv).all()
    assert counted.backward == 0
    assert counted.forward == len(images) * attack.steps * attack.passes


def test_laws() -> None:
    check_attack(SPSA(steps=3, samples=16, at_once=50), random=True)


def test_name_and_criterion() -> None:
    assert SPSA(steps=20, restarts=2).name == "spsa-20x2"
    assert SPSA().criterion == Margin()
    assert SPSA().gradient_free


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"samples": 7}, "samples is 7"),
        ({"samples": 0}, "samples is 0"),
        ({"delta": 0.0}, "delta is 0"),
        ({"at_once": 0}, "at_once is 0"),
        ({"steps": 0}, "steps is 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        SPSA(**options)
