"""ADR against its reference code and its formula, each term by itself."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from holdfast.attacks import PGD, Gaussian
from holdfast.errors import InvalidInput
from holdfast.methods import ADR, ADRTRADES, PGDAT, TRADES, Batch, Progress
from holdfast.methods.adr import _Pair
from holdfast.noise import Noise
from holdfast.threat import Linf

NONE = {
    "local_compactness": 0.0,
    "smoothness": 0.0,
    "global_compactness": 0.0,
    "global_smoothness": 0.0,
    "confidence": 0.0,
}
PORT = ADR(clean_weight=1.0, robust_weight=1.0, global_smoothness=1.0)
GOLDEN = {
    "none": (11.616010878126776, (5.836271783469554, 3.8996825329205467)),
    "local_compactness": (11.743020663291288, (5.880182334073169, 3.8996825329205467)),
    "smoothness": (12.230891712755716, (5.42357040227557, 3.911814180896369)),
    "global_compactness": (11.692051539698515, (5.8437061914568265, 3.8996825329205467)),
    "global_smoothness": (11.816678377806811, (5.790068722422375, 3.9265210508334496)),
    "confidence": (11.804219915601601, (5.931504476303377, 3.8610434626969092)),
    "all": (12.822818696646827, (5.507864187090707, 3.889569822448751)),
}
GOLDEN_TRADES = {
    "none": (4.9613092184486804, (3.0663391852898068, 1.6941313631348378)),
    "local_compactness": (5.1005773779670065, (3.0658388207718485, 1.6941313631348378)),
    "smoothness": (5.595413357872074, (2.5158433543779286, 1.6654097318483896)),
    "global_compactness": (5.036366919349427, (3.066623604156117, 1.6941313631348378)),
    "global_smoothness": (5.155301002565305, (2.996856352620491, 1.7109270925274096)),
    "confidence": (5.221434326552929, (2.9662763830453294, 1.590914673768936)),
    "all": (6.26385611051202, (2.3671307084453765, 1.5716732353558631)),
}


@pytest.mark.parametrize("kind", [ADR, ADRTRADES])
@pytest.mark.parametrize("term", GOLDEN)
def test_loss_and_gradient_are_those_of_the_reference_code(bench, kind: type[ADR], term: str) -> None:
    """Golden numbers: `adr_pgd` and `adr_trades` of Adversarial-Divergence-Reduction 7304fa5, ADR_pt/adr.py, in float64
    on this network (whose hidden layer is h) and batch, with this batch's noise as the start. In compact_loss_pt.py
    three calls that cannot run were mended: torch.shape(t), t.shape() and the comparison of a shape with a list. The
    norms are of the gradients of the two layers' weights."""
    value, norms = (GOLDEN_TRADES if kind is ADRTRADES else GOLDEN)[term]
    whole = PORT if kind is ADR else ADRTRADES(global_smoothness=1.0)
    method = whole if term == "all" else replace(whole, **(NONE if term == "none" else NONE | {term: 1.0}))
    loss = bench.loss(method).value
    assert loss.item() == pytest.approx(value, rel=1e-12)
    gradients = torch.autograd.grad(loss, list(bench.model.parameters()))
    assert [gradient.norm().item() for gradient in gradients] == pytest.approx(norms, rel=1e-11)


def test_weights_multiply_their_terms(bench) -> None:
    parts = bench.loss(replace(PORT, **dict.fromkeys(NONE, 1.0))).parts
    for name in NONE:
        alone = bench.value(replace(ADR(**NONE), **{name: 2.5})) - bench.value(ADR(**NONE))
        assert alone == pytest.approx(2.5 * parts[name].item(), rel=1e-9), name


def test_without_its_terms_it_is_what_it_builds_on(bench) -> None:
    x, inner = bench.batch.x, PGD(steps=4)
    bare = ADR(**NONE, inner=inner)
    adversarial = bench.value(PGDAT(inner=inner))
    assert bench.value(bare) == pytest.approx(0.5 * bench.cross_entropy(x) + 0.5 * adversarial, rel=1e-12)
    trades = replace(TRADES().inner, steps=4)
    assert bench.value(ADRTRADES(**NONE, inner=trades)) == pytest.approx(
        bench.value(TRADES(beta=1.0, inner=trades)), rel=1e-12
    )
    assert bench.loss(bare).parts.keys() == {"natural_loss", "robust_loss", "clean_accuracy", "adversary_accuracy"}


def test_weights_of_pairs() -> None:
    """T5."""
    empty = torch.empty(3, 0, dtype=torch.float64)
    pair = _Pair(empty, empty, empty, empty, torch.tensor([0, 0, 1]))
    w = 1.0 - 1.0 / 0.99
    assert w == pytest.approx(-0.010101, abs=1e-6)
    expected = torch.tensor([[1, 1, w], [1, 1, w], [w, w, 1]], dtype=torch.float64)
    torch.testing.assert_close(pair.weights, expected)


def test_a_batch_of_one_class_has_a_loss(bench) -> None:
    alone = replace(bench, batch=Batch(bench.batch.x, torch.zeros(6, dtype=torch.long), bench.batch.index))
    loss = alone.loss(PORT)
    assert loss.parts["global_compactness"].isfinite()
    assert loss.value.isfinite()


class _Marked(nn.Module):
    """Adds a parameter to the first of its two passes, so that gradients through the clean one are seen apart."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.offset = nn.Parameter(torch.zeros(12, dtype=torch.float64))
        self.passes = 0

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.model[1](self.model[0](x))
        self.passes += 1
        return self.model[2](hidden + self.offset if self.passes == 4 else hidden)


def test_no_gradient_reaches_the_clean_features_and_predictions(bench) -> None:
    """T5. The clean pass is the first after the three of the search."""
    marked = _Marked(bench.model)
    method = replace(PORT, clean_weight=0.0, inner=PGD(steps=3))
    loss = method.loss(marked, bench.batch, bench.threat, None, bench.progress, bench.noise)
    assert marked.passes == 5
    (gradient,) = torch.autograd.grad(loss.value, marked.offset)
    assert not gradient.any()


def test_terms_are_float32_where_passes_are_not(bench) -> None:
    """To round every pair's cross-entropy to 8 bits would drown the term in noise."""
    logits = Noise.of(7, torch.arange(6)).normal((4,))

    class Answers(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return logits + 0.0 * x.sum()

    method = replace(PORT, local_compactness=0.0, global_compactness=0.0)
    batch = replace(bench.batch, x=bench.batch.x.float())
    found = []
    for lowered in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=lowered):
            loss = method.loss(Answers(), batch, bench.threat, None, bench.progress, bench.noise)
        found.append(loss.parts["global_smoothness"])
    assert torch.equal(*found)


def test_the_order_of_the_batch_does_not_matter(bench) -> None:
    """T6."""
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    moved = Batch(bench.batch.x[order], bench.batch.y[order], bench.batch.index[order])
    first = bench.loss(PORT)
    second = PORT.loss(bench.model, moved, bench.threat, None, bench.progress, bench.noise.select(order))
    for name, part in first.parts.items():
        assert second.parts[name].item() == pytest.approx(part.item(), rel=1e-12)


def test_features_are_of_the_named_layer(bench) -> None:
    named = replace(ADR(**NONE), local_compactness=1.0)
    x = bench.batch.x
    x_adv = bench.threat.sample(x, bench.noise)
    for _ in range(10):
        x_adv = bench.step(x_adv, 0.025)
    for layer, last in ((None, 2), ("1", 2), ("0", 1), ("2", 3)):
        with torch.no_grad():
            h, h_adv = (bench.model[:last](point) for point in (x, x_adv))
        expected = sum(abs(a - b) for a, b in zip(h.flatten().tolist(), h_adv.flatten().tolist(), strict=True))
        found = bench.loss(replace(named, layer=layer)).parts["local_compactness"].item()
        assert found == pytest.approx(expected / h.numel(), rel=1e-12), layer
    with pytest.raises(InvalidInput, match="unknown layer 'fc'"):
        bench.loss(replace(named, layer="fc"))


def test_features_are_kept_before_a_layer_overwrites_them(bench) -> None:
    overwriting = nn.Sequential(bench.model[0], nn.ReLU(inplace=True), bench.model[2])
    plain = nn.Sequential(bench.model[0], nn.ReLU(), bench.model[2])
    method = replace(PORT, layer="0")
    values = [
        method.loss(model, bench.batch, bench.threat, None, bench.progress, bench.noise).value.item()
        for model in (overwriting, plain)
    ]
    assert values[0] == values[1]


def test_clean_and_attacked_batches_are_normalised_apart(bn_cnn: nn.Module, images: Tensor, labels: Tensor) -> None:
    asked = []
    bn_cnn.register_forward_hook(lambda module, x, _: asked.append(len(x[0])) if module.training else None)
    batch = Batch(images, labels, torch.arange(12))
    ADR(inner=PGD(steps=2)).loss(
        copy.copy(bn_cnn), batch, Linf(0.05), None, Progress(0.5, 0, 5, 10), Noise.of(0, labels)
    )
    assert asked == [12, 12]


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"confidence is -1\.0"):
        ADR(confidence=-1.0)
    with pytest.raises(InvalidInput, match="did you mean 'kl'"):
        ADR(robust_term="k")
    assert ADRTRADES().inner.initial == Gaussian(0.001)
