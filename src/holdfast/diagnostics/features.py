"""Clean and adversarial features: how far they diverge with depth, and how compact classes are (ADR).

ADR (Bui et al., ECCV 2020, arXiv:2007.05123) starts from the observation that they diverge more in higher layers, and
trains for features that lie close to those of their class. Its release (Adversarial-Divergence-Reduction 7304fa5) has
the losses but no code for these measurements; the relative distances and the choice of layers are ours.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from holdfast import modes
from holdfast.data import ImageSet, ordered_batches
from holdfast.diagnostics.adversary import SEARCH, adversaries
from holdfast.errors import InvalidInput
from holdfast.models.layers import head, leaves, watching
from holdfast.results import Compactness, Divergence
from holdfast.threat import ThreatModel
from holdfast.typing import Images, Labels, PerExample

PAIRS = ("clean", "adversarial", "adversarial-clean")


def relative_distance(clean: Tensor, adversarial: Tensor, order: int) -> PerExample:
    """[B] |adversarial - clean| / |clean| of [B, ...] features in the l1 or l2 norm; nan where the clean ones are 0."""
    change, size = (
        torch.linalg.vector_norm(value.double().flatten(1), order, dim=1) for value in (adversarial - clean, clean)
    )
    return torch.where(size > 0, change / size, torch.nan)


def class_distances(first: Tensor, second: Tensor, y: Labels) -> tuple[float, float]:
    """Mean over pairs i != j of mean_k |first_ik - second_jk|, for pairs of one class and for pairs of two.

    The distance is that of ADR's compactness losses.

    Args:
        first, second: [N, d] features of the same examples.
        y: [N] their classes.
    """
    totals, counts = torch.zeros(2, dtype=torch.float64), torch.zeros(2)
    for rows in torch.split(torch.arange(len(y)), 256):
        distance = torch.cdist(first[rows], second, p=1).double() / first.shape[1]
        other = rows[:, None] != torch.arange(len(y))
        same = y[rows, None] == y
        for kind, chosen in enumerate((same & other, ~same)):
            totals[kind] += distance[chosen].sum()
            counts[kind] += chosen.sum()
    within, between = (totals / counts).tolist()
    return within, between


class _Watch:
    """Collects what a model's layers give for clean and adversarial inputs, shown to it as one batch.

    Args:
        layers: whose divergence to measure.
        kept: the layer whose features to keep, by `of_input` its input or its output.
    """

    def __init__(self, layers: Sequence[str], kept: str, of_input: bool) -> None:
        self.layers, self.kept, self.of_input = tuple(layers), kept, of_input
        self.distances: dict[str, list[tuple[PerExample, PerExample]]] = {}
        self.clean: list[Tensor] = []
        self.adversarial: list[Tensor] = []

    def look(self, model: nn.Module, x: Images, x_adv: Images) -> None:
        """Show [B, ...] pairs to the model."""
        self._measure("input", x, x_adv)

        def seen(name: str, given: Tensor, output: Tensor) -> None:
            if name == self.kept:
                self._keep(given if self.of_input else output, len(x))
            # An output with other rows (windows, tokens) cannot be told apart by example.
            if name.partition("#")[0] in self.layers and len(output) == 2 * len(x):
                self._measure(name, *output.chunk(2))

        with torch.no_grad(), watching(model, list(dict.fromkeys([*self.layers, self.kept])), seen):
            model(torch.cat([x, x_adv]))

    def _measure(self, name: str, clean: Tensor, adversarial: Tensor) -> None:
        pair = [relative_distance(clean, adversarial, order).cpu() for order in (1, 2)]
        self.distances.setdefault(name, []).append((pair[0], pair[1]))

    def _keep(self, features: Tensor, examples: int) -> None:
        if len(features) != 2 * examples:
            raise InvalidInput(
                f"layer {self.kept!r} gives {len(features)} rows for {2 * examples} inputs; name a layer with one row "
                "for each example"
            )
        # Copied, because a layer that works in place would change what is kept.
        clean, adversarial = features.detach().float().flatten(1).cpu().clone().chunk(2)
        self.clean.append(clean)
        self.adversarial.append(adversarial)


def adversarial_features(
    model: nn.Module,
    images: ImageSet,
    threat: ThreatModel,
    *,
    layers: Sequence[str] = (),
    compact_layer: str | None = None,
    seed: int = 0,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
) -> tuple[Divergence, Compactness]:
    """Compare features at x with those at PGD-20's adversary, the model in eval mode.

    Args:
        layers: whose divergence to measure, by the names of `model.named_modules()`; all modules without children by
            default, of which those are left out that give no tensor with one row for each example.
        compact_layer: whose output the compactness of classes is measured in; by default the input of the last layer
            with parameters, which is the representation that the logits are linear in.

    Raises:
        InvalidInput: no such layer, or one that was named does not give a row for each example.
    """
    with modes.inference(model):
        if compact_layer is None:
            first = next(ordered_batches(images, 1, device))[0]
            watch = _Watch(layers or leaves(model), head(model, first), of_input=True)
        else:
            watch = _Watch(layers or leaves(model), compact_layer, of_input=False)
        for x, y, index in ordered_batches(images, batch_size, device):
            watch.look(model, x, adversaries(model, threat, x, y, seed, index))
    if silent := [name for name in layers if name not in watch.distances]:
        raise InvalidInput(f"layer {silent[0]!r} gives no tensor with one row for each example; leave it out")
    return _divergence(watch, len(images)), _compactness(watch, images.labels.cpu())


def _divergence(watch: _Watch, n: int) -> Divergence:
    columns = []
    for order in (0, 1):
        per_layer = (torch.cat([pair[order] for pair in pairs]) for pairs in watch.distances.values())
        columns.append(torch.stack([values.nanmean() for values in per_layer]).numpy())
    return Divergence(tuple(watch.distances), columns[0], columns[1], n, repr(SEARCH))


def _compactness(watch: _Watch, y: Labels) -> Compactness:
    if not watch.clean:
        raise InvalidInput(f"layer {watch.kept!r} was not called, or gives no tensor; name another for the compactness")
    clean, adversarial = torch.cat(watch.clean), torch.cat(watch.adversarial)
    found = [class_distances(*pair, y) for pair in ((clean, clean), (adversarial, adversarial), (adversarial, clean))]
    within, between = torch.tensor(found, dtype=torch.float64).unbind(dim=1)
    layer = f"input of {watch.kept}" if watch.of_input else watch.kept
    return Compactness(layer, PAIRS, within.numpy(), between.numpy(), len(y))
