"""check_threat must refuse a threat model that breaks a law, and name the law."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from holdfast.noise import Noise
from holdfast.testing import check_threat
from holdfast.threat import L2, Linf, ThreatModel


class ForgetsTheBox(Linf):
    def project(self, x: Tensor, x_adv: Tensor) -> Tensor:
        return torch.maximum(torch.minimum(x_adv, x + self.eps), x - self.eps)


class ClipsAfterScaling(L2):
    """The usual two projections in a row: inside, but not nearest."""

    def project(self, x: Tensor, x_adv: Tensor) -> Tensor:
        move = x_adv - x
        length = move.flatten(1).norm(dim=1).clamp(min=1e-12).reshape(-1, *[1] * (x.dim() - 1))
        return (x + move * (self.eps / length).clamp(max=1.0)).clamp(self.low, self.high)


class GoesHalfWay(Linf):
    def project(self, x: Tensor, x_adv: Tensor) -> Tensor:
        return (x + super().project(x, x_adv)) / 2


class WritesToItsArgument(Linf):
    def project(self, x: Tensor, x_adv: Tensor) -> Tensor:
        return x_adv.copy_(super().project(x, x_adv))


class SamplesFromOutside(L2):
    def sample(self, x: Tensor, noise: Noise) -> Tensor:
        return Linf(min(self.eps, 1.0)).sample(x, noise)


class SamplesGlobally(Linf):
    def sample(self, x: Tensor, noise: Noise) -> Tensor:
        return self.project(x, x + self.eps * (2 * torch.rand_like(x) - 1))


class SamplesForTheWholeBatch(Linf):
    def sample(self, x: Tensor, noise: Noise) -> Tensor:
        return super().sample(x, replace(noise, keys=noise.keys + noise.keys.cumsum(0)))


class SamplesTheSameForAll(Linf):
    def sample(self, x: Tensor, noise: Noise) -> Tensor:
        return self.project(x, x + self.eps / 2)


class FollowsTheGradient(L2):
    def steepest(self, gradient: Tensor) -> Tensor:
        return gradient


class FollowsTheSigns(L2):
    def steepest(self, gradient: Tensor) -> Tensor:
        return gradient.sign() / gradient[0].numel() ** 0.5


class SquaresSmallGradients(L2):
    def steepest(self, gradient: Tensor) -> Tensor:
        length = gradient.flatten(1).square().sum(dim=1).sqrt().clamp(min=1e-12)
        return gradient / length.reshape(-1, *[1] * (gradient.dim() - 1))


class HoldsWhatIsOutsideTheBox(Linf):
    def contains(self, x: Tensor, x_adv: Tensor) -> Tensor:
        return self.distance(x, x_adv) <= self.eps + 1e-6


class HoldsNaN(Linf):
    def contains(self, x: Tensor, x_adv: Tensor) -> Tensor:
        outside = ((x_adv < self.low - 1e-6) | (x_adv > self.high + 1e-6)).flatten(1).any(dim=1)
        return ~((self.distance(x, x_adv) > self.eps + 1e-6) | outside)


class HoldsTooLittle(L2):
    def contains(self, x: Tensor, x_adv: Tensor) -> Tensor:
        return super().contains(x, x_adv) & (self.distance(x, x_adv) <= self.eps / 2)


class MeasuresSquares(L2):
    def distance(self, x: Tensor, x_adv: Tensor) -> Tensor:
        return super().distance(x, x_adv).square()


class DoesNotScale(Linf):
    def scaled(self, factor: float) -> "DoesNotScale":
        return self


@pytest.mark.parametrize(
    ("threat", "law"),
    [
        (ForgetsTheBox(0.1), r"the projection lies in S\(x\)"),
        (ClipsAfterScaling(1.0), r"the projection is the nearest point of S\(x\)"),
        (GoesHalfWay(0.1), "projecting twice is projecting once"),
        (WritesToItsArgument(0.1), "the argument x_adv is not modified"),
        (SamplesFromOutside(0.5), r"a sample lies in S\(x\)"),
        (SamplesGlobally(0.1), "torch's global generator is not touched"),
        (SamplesForTheWholeBatch(0.1), "a row's sample depends on its own key alone"),
        (SamplesTheSameForAll(0.1), "other keys give another sample"),
        (FollowsTheGradient(0.5), "the steepest direction has norm 1"),
        (FollowsTheSigns(0.5), "no direction of norm 1 grows faster"),
        (SquaresSmallGradients(0.5), "the steepest direction has no scale"),
        (HoldsWhatIsOutsideTheBox(0.1), r"S\(x\) ends at the box"),
        (HoldsNaN(0.1), r"NaN lies in no S\(x\)"),
        (HoldsTooLittle(0.5), r"S\(x\) reaches to eps"),
        (MeasuresSquares(0.5), "distance is a norm"),
        (DoesNotScale(0.1), "scaled multiplies eps"),
        (Linf(0.0), "eps above 0"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, ThreatModel) else "",
)
def test_a_broken_threat_model_is_refused(threat: ThreatModel, law: str) -> None:
    with torch.random.fork_rng(devices=[]), pytest.raises(AssertionError, match=law) as caught:
        check_threat(threat)
    assert str(caught.value).startswith(str(threat))
