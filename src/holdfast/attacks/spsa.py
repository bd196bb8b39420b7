"""SPSA (Uesato et al., ICML 2018, arXiv:1802.05666): ascent on gradients that are estimated from logits alone."""

from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast import losses
from holdfast.attacks.ascent import Adam, Rule
from holdfast.attacks.base import Evaluated, finite, rows
from holdfast.attacks.criteria import Criterion, Margin, Query
from holdfast.attacks.pgd import PGD, PGDState
from holdfast.errors import InvalidInput
from holdfast.typing import Classifier, Images, PerExample

_SIGNS = 11  # the stream of the samples, apart from those that the start draws from


@dataclass(frozen=True)
class SPSA(PGD):
    """PGD whose gradient is the mean of (L(x + d v) - L(x - d v)) / (2 d) * v over random sign vectors v.

    It asks for logits and never for a gradient, so that it searches where gradients are missing, masked or random; the
    evidence that a model does not merely hide them. From DeepMind's code (interval-bound-propagation 217a14d,
    src/attacks.py, `_spsa_gradients`): antithetic Rademacher samples, d = 0.01, 32 x 4 samples a step, Adam at 0.1, the
    logit margin, a uniform start. The same authors' older code (cleverhans 05f4b35) has Adam at 0.01. Those rates are
    absolute; 0.1 at eps 0.3 and 0.01 at 8/255 are both about step_size = 1/3 here. Published evaluations take up to
    8,192 samples and 100 steps (from memory). As in the codes the samples may leave ball and box by d; the points that
    the search itself visits do not.

    One step also asks for the logits at the point itself, to stop where the model is wrong, as cleverhans does.

    Args:
        samples: queries for one gradient, an even number since they come in pairs.
        delta: d, in the unit of the inputs.
        at_once: inputs that the model is given in one pass, or one pair for each row if that is more; it bounds the
            memory and leaves the result as it is.
    """

    steps: int = 100
    step_size: float = 1 / 3
    criterion: Criterion = Margin()
    early_stop: bool = True
    rule: Rule = Adam()
    samples: int = 128
    delta: float = 0.01
    at_once: int = 1024

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples < 2 or self.samples % 2:
            raise InvalidInput(f"samples is {self.samples}, but samples come in pairs; give an even number, e.g. 128")
        if self.delta <= 0:
            raise InvalidInput(f"delta is {self.delta}, but a finite difference needs a step above 0 (try 0.01)")
        if self.at_once < 1:
            raise InvalidInput(f"at_once is {self.at_once}, but the model is given at least one input in a pass")

    @property
    def name(self) -> str:
        repeats = f"x{self.restarts}" if self.restarts > 1 else ""
        return f"spsa-{self.steps}{repeats}"

    @property
    def gradient_free(self) -> bool:
        return True

    @property
    def passes(self) -> int:
        return 1 + self.samples

    def look(self, model: Classifier, state: PGDState) -> Evaluated:
        with torch.no_grad():
            logits = losses.precise(model(state.point))
            value = self.criterion(logits, Query(state.x, state.y, state.target, state.point))
            gradient = finite(self._estimate(model, state), 0.0)
        return Evaluated(logits, value, gradient, logits.argmax(dim=1) != state.y)

    def _estimate(self, model: Classifier, state: PGDState) -> Images:
        """The mean over all pairs, a chunk of pairs after the other."""
        pairs, total = self.samples // 2, torch.zeros_like(state.point)
        chunk = max(self.at_once // (2 * len(state.y)), 1)
        noise = state.noise.fold(_SIGNS, state.iteration)
        for first in range(0, pairs, chunk):
            chosen = range(first, min(first + chunk, pairs))
            signs = [noise.fold(pair).signs(state.x.shape[1:]).to(state.x.dtype) for pair in chosen]
            for sign, difference in zip(signs, self._differences(model, state, signs), strict=True):
                # One after the other, so that rounding does not depend on the chunks.
                total.addcmul_(sign, rows(difference, sign))
        return total / (2.0 * self.delta * pairs)

    def _differences(self, model: Classifier, state: PGDState, signs: list[Tensor]) -> tuple[PerExample, ...]:
        """L(x + d v) - L(x - d v), [B], for each v, from one pass of the model."""
        asked = torch.cat([state.point + side * self.delta * sign for sign in signs for side in (1.0, -1.0)])
        x, y, target = (torch.cat([tensor] * 2 * len(signs)) for tensor in (state.x, state.y, state.target))
        values = self.criterion(losses.precise(model(asked)), Query(x, y, target, asked)).reshape(len(signs), 2, -1)
        return (values[:, 0] - values[:, 1]).unbind()
