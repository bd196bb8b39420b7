"""ADR: local and global compactness (Bui et al., ECCV 2020, arXiv:2007.05123; Adversarial-Divergence-Reduction
7304fa5)."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from holdfast import losses, modes
from holdfast.attacks import PGD, Divergence, Gaussian, run
from holdfast.errors import InvalidInput, unknown
from holdfast.methods.base import Batch, Loss, Method, Progress, accuracy, full_precision, mean, search
from holdfast.models.layers import with_features
from holdfast.noise import Noise
from holdfast.threat import ThreatModel
from holdfast.typing import Images, Labels, Logits, PerExample

Robust = Literal["cross_entropy", "kl"]
SCALE = 0.99  # of the weights in the pairwise terms, both releases


@dataclass(frozen=True)
class ADR(Method):
    """ADR-ADV: adversarial training, and features of adversaries that lie near those of their class; k + 2 passes.

        clean_weight * CE(x) + robust_weight * CE(x')                     or robust_weight * KL(p(x) || p(x'))
        + local_compactness * mean_i |h(x_i) - h(x'_i)|                   l1 distance, averaged over the features
        + global_compactness * mean_ij w_ij |h(x_j) - h(x'_i)|            w_ij = 1 within a class, else 1 - 1/0.99
        + smoothness * H(p(x), p(x'))                                     cross-entropy of the two predictions
        + confidence * H(p(x'))                                           entropy
        + global_smoothness * mean_ij w_ij H(p(x_j), p(x'_i))

    A weight of 0 switches a term off; all pairs are taken, i = j too. The clean features and predictions in the terms
    of the last five lines are detached. The equations' numbers in the paper are not known to us; this is its TensorFlow
    release. The PyTorch port takes CE(x) + CE(x') without halves, and cannot run as published.

    Deviations: attack passes do not move BatchNorm's running averages (see `modes.searching`); a batch of one class
    has weights 1, where the release divides 0 by 0. Of several processes each pairs the examples of its own part.

    Args:
        clean_weight, robust_weight: at least 0, as all weights; one half each in the TensorFlow release.
        local_compactness, global_compactness, smoothness, confidence: 1 in the releases' commands.
        global_smoothness: 0 by the authors' comment ("for further investigation"), 1 in their run loop.
        layer: whose output h is, by its name in `model.named_modules()`; None for the input of the last layer with
            parameters, as the authors' h is for their residual networks.
        robust_term: "cross_entropy", or "kl" with a search that climbs the same divergence, as TRADES does (then k +
            2 1/3 passes). In that search the TensorFlow release climbs KL(p(x') || p(x)) and keeps the cross-entropies;
            this is the port's.
        inner: the search for x'.
        batch_statistics: BatchNorm normalises by the batch during the search.

    Raises:
        InvalidInput: a weight below 0 or an unknown robust_term; from `loss`, a layer that the network lacks.
    """

    clean_weight: float = 0.5
    robust_weight: float = 0.5
    local_compactness: float = 1.0
    global_compactness: float = 1.0
    smoothness: float = 1.0
    confidence: float = 1.0
    global_smoothness: float = 0.0
    layer: str | None = None
    robust_term: Robust = "cross_entropy"
    inner: PGD = PGD(steps=10, step_size=0.25)
    batch_statistics: bool = True

    def __post_init__(self) -> None:
        for name in ("clean_weight", "robust_weight", *_TERMS):
            if getattr(self, name) < 0:
                raise InvalidInput(
                    f"{name} is {getattr(self, name)}, but a weight is at least 0, and 0 switches its term off"
                )
        if self.robust_term not in get_args(Robust):
            raise unknown("robust_term", self.robust_term, get_args(Robust))

    @property
    def passes(self) -> float:
        return self.inner.budget + 2.0 + (1.0 / 3.0 if self.robust_term == "kl" else 0.0)

    def loss(
        self,
        model: nn.Module,
        batch: Batch,
        threat: ThreatModel,
        state: nn.Module | None,
        progress: Progress,
        noise: Noise,
    ) -> Loss:
        x_adv = self._adversary(model, batch, threat, noise)
        clean, h = self._pass(model, batch.x)
        attacked, h_adv = self._pass(model, x_adv)
        natural = mean(losses.cross_entropy(clean, batch.y))
        if self.robust_term == "kl":
            robust = mean(losses.kl(clean, attacked))
        else:
            robust = mean(losses.cross_entropy(attacked, batch.y))
        value = self.clean_weight * natural + self.robust_weight * robust
        parts = {"natural_loss": natural.detach(), "robust_loss": robust.detach()}
        with full_precision(batch.x):  # autocast would take the product of all pairs' predictions in half precision
            for name, term in _TERMS.items():
                if weight := getattr(self, name):
                    found = mean(term(_Pair(clean.detach(), attacked, h.detach(), h_adv, batch.y)))
                    value = value + weight * found
                    parts[name] = found.detach()
        parts |= {"clean_accuracy": accuracy(clean, batch.y), "adversary_accuracy": accuracy(attacked, batch.y)}
        return Loss(value, parts)

    @property
    def compilable(self) -> bool:
        """Features are seen through hooks, which passes that were compiled without them do not notice."""
        return super().compilable and not (self.local_compactness or self.global_compactness)

    def _adversary(self, model: nn.Module, batch: Batch, threat: ThreatModel, noise: Noise) -> Images:
        if self.robust_term == "cross_entropy":
            return search(self.inner, threat, model, batch, noise, self.batch_statistics)
        with modes.searching(model, self.batch_statistics) as asked:
            with torch.no_grad():
                reference = losses.precise(asked(batch.x))
            inner = replace(self.inner, criterion=Divergence(reference))
            return run(inner, threat, asked, batch.x, batch.y, noise).x_adv

    def _pass(self, model: nn.Module, x: Images) -> tuple[Logits, Tensor]:
        if not (self.local_compactness or self.global_compactness):
            return losses.precise(model(x)), x.new_empty(len(x), 0)
        logits, features = with_features(model, x, self.layer)
        return losses.precise(logits), losses.precise(features)


@dataclass(frozen=True)
class ADRTRADES(ADR):
    """ADR-TRADES: the same terms on top of TRADES with beta 1, as in the PyTorch port; k + 2 1/3 passes."""

    clean_weight: float = 1.0
    robust_weight: float = 1.0
    robust_term: Robust = "kl"
    inner: PGD = PGD(steps=10, step_size=0.25, initial=Gaussian(0.001))
    batch_statistics: bool = False


@dataclass(frozen=True)
class _Pair:
    """What the terms are functions of; the clean parts are detached."""

    clean: Logits
    attacked: Logits
    h: Tensor
    h_adv: Tensor
    y: Labels

    @property
    def weights(self) -> Tensor:
        """[B, B] w_ij."""
        different = self.y[:, None] != self.y
        return 1.0 - different.to(self.attacked.dtype) / SCALE


def _local_compactness(pair: _Pair) -> PerExample:
    return (pair.h - pair.h_adv).abs().mean(dim=1)


def _global_compactness(pair: _Pair) -> PerExample:
    # cdist needs no [B, B, d] tensor.
    return (pair.weights * torch.cdist(pair.h_adv, pair.h, p=1.0)).mean(dim=1) / pair.h.shape[1]


def _smoothness(pair: _Pair) -> PerExample:
    return -(pair.clean.softmax(dim=1) * pair.attacked.log_softmax(dim=1)).sum(dim=1)


def _confidence(pair: _Pair) -> PerExample:
    return -(pair.attacked.softmax(dim=1) * pair.attacked.log_softmax(dim=1)).sum(dim=1)


def _global_smoothness(pair: _Pair) -> PerExample:
    return (pair.weights * -(pair.attacked.log_softmax(dim=1) @ pair.clean.softmax(dim=1).T)).mean(dim=1)


_TERMS = {
    "local_compactness": _local_compactness,
    "global_compactness": _global_compactness,
    "smoothness": _smoothness,
    "confidence": _confidence,
    "global_smoothness": _global_smoothness,
}
