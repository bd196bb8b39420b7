"""The examples under evaluation, and the model as the evaluator sees it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from holdfast import losses
from holdfast.data import Split
from holdfast.data.loader import unit
from holdfast.errors import InvalidInput
from holdfast.evaluation.stopwatch import Stopwatch
from holdfast.typing import Classifier, Images, Labels, Logits


class Counted:
    """A model that counts and times what it is asked, and gives logits in float32 or better.

    Attributes:
        forward: example-passes forward.
        backward: example-passes backward; every forward pass that keeps a graph is followed by one.
        calls: how often it was asked.
        blind: no gradient reaches the input; gradient attacks then see one that is 0 everywhere, instead of an error.
    """

    def __init__(self, model: Classifier) -> None:
        self.model = model
        self.forward = 0
        self.backward = 0
        self.calls = 0
        self.blind = False
        self._watch = Stopwatch()

    @property
    def seconds(self) -> float:
        """Spent in passes, forward and backward."""
        return self._watch.seconds

    def __call__(self, x: Images) -> Logits:
        begun = self._watch.now(x.device)
        logits = losses.precise(self.model(x))
        self._watch.add(begun, x.device)
        self.forward += len(x)
        self.calls += 1
        if self.blind and x.requires_grad:
            return logits.detach() + 0.0 * x.flatten(1).sum(dim=1, keepdim=True)
        if logits.requires_grad:
            self.backward += len(x)
            if x.requires_grad:
                self._time_backward(x, logits)
        return logits

    def _time_backward(self, x: Images, logits: Logits) -> None:
        """From the gradient's arrival at the logits to that at the input."""
        begun: list[Any] = []
        for tensor, note in (
            (logits, lambda gradient: begun.append(self._watch.now(x.device))),
            (x, lambda gradient: self._watch.add(begun.pop(), x.device) if begun else None),
        ):
            tensor.register_hook(note)  # type: ignore[no-untyped-call]  # torch's stubs leave it untyped


@dataclass(frozen=True)
class Examples:
    """Rows of an image set, brought to the device when they are asked for.

    Attributes:
        images: the split.
        device: where the model is.
    """

    images: Split
    device: torch.device

    def rows(self, index: Sequence[int]) -> tuple[Images, Labels]:
        """Inputs in [0, 1] and labels of the examples at these positions, on the device."""
        at = torch.as_tensor(index, dtype=torch.int64)
        x = unit(self.images.pixels(at).to(self.device))
        return x, self.images.labels[at].to(self.device)


@dataclass(frozen=True)
class Clean:
    """What the model says of clean inputs, on the CPU.

    Attributes:
        prediction: [N] int64.
        margin: [N] of the logits, above 0 where the prediction is right.
        ranking: [N, T] int64, the classes other than the label by falling logit; targeted searches aim at them in turn.
        logits: [M, K], the logits of the first rows, for the checks of the evaluation.
    """

    prediction: Tensor
    margin: Tensor
    ranking: Tensor
    logits: Tensor


def look(model: Counted, examples: Examples, index: Sequence[int], batch_size: int, targets: int) -> Clean:
    """Predict the clean inputs at `index`.

    Raises:
        InvalidInput: the model does not give [B, K] finite logits for the K classes of the data.
    """
    classes = len(examples.images.classes)
    predictions, margins, rankings, first = [], [], [], torch.zeros(0, classes)
    for start in range(0, len(index), batch_size):
        x, y = examples.rows(index[start : start + batch_size])
        with torch.no_grad():
            logits = model(x)
        losses.check_shape(logits, len(x), classes)
        if not torch.isfinite(logits).all():
            raise InvalidInput(
                "the model gives logits that are not finite on clean inputs; nothing can be measured on it"
            )
        predictions.append(logits.argmax(dim=1).cpu())
        margins.append(losses.margin(logits, y).cpu())
        others = logits.scatter(1, y[:, None], -torch.inf)
        rankings.append(others.topk(min(targets, classes - 1), dim=1).indices.cpu())
        first = logits.cpu() if start == 0 else first
    return Clean(torch.cat(predictions), torch.cat(margins), torch.cat(rankings), first)


@dataclass(frozen=True)
class Subject:
    """What every attack of an evaluation is given, besides its threat model.

    Attributes:
        ranking: see `Clean`; row i belongs to example i of the split.
        seed: with an example's position and a search's number it decides all random numbers.
        batch_size: rows in a batch.
    """

    model: Counted
    examples: Examples
    ranking: Tensor
    seed: int
    batch_size: int
