"""Natural training, FGSM, one-step ADV, N-FGSM and PGD: losses equal numbers worked out without the package."""

import copy

import pytest
import torch

from holdfast.attacks import FGSM, FGSMRS, PGD, Gaussian, Zero
from holdfast.errors import InvalidInput
from holdfast.methods import FGSMAT, FGSMRSAT, NFGSMAT, PGDAT, Batch, Natural, Progress
from holdfast.noise import Noise
from holdfast.threat import Linf


def exactly(value: float) -> object:
    return pytest.approx(value, rel=1e-12)


def test_natural(bench) -> None:
    assert bench.value(Natural()) == exactly(bench.cross_entropy(bench.batch.x))


@pytest.mark.parametrize("weight", [0.5, 0.2, 0.0])
def test_fgsm_mixes_clean_and_adversarial(bench, weight: float) -> None:
    x = bench.batch.x
    clean, adversarial = bench.cross_entropy(x), bench.cross_entropy(bench.step(x, 0.1))
    assert adversarial > clean
    assert bench.value(FGSMAT(clean_weight=weight)) == exactly(weight * clean + (1 - weight) * adversarial)


def test_one_step_adv(bench) -> None:
    start = bench.threat.sample(bench.batch.x, bench.noise)
    assert bench.value(FGSMRSAT()) == exactly(bench.cross_entropy(bench.step(start, 0.125)))


def test_n_fgsm(bench) -> None:
    x = bench.batch.x
    start = (x + bench.noise.uniform((10,), -0.2, 0.2).double()).clamp(0, 1)
    x_adv = (start + 0.1 * bench.gradient(start).sign()).clamp(0, 1)
    assert (x_adv - x).abs().max() > 0.2
    assert bench.value(NFGSMAT()) == exactly(bench.cross_entropy(x_adv))


def test_pgd(bench) -> None:
    point = bench.threat.sample(bench.batch.x, bench.noise)
    for _ in range(10):
        point = bench.step(point, 0.025)
    assert bench.value(PGDAT()) == exactly(bench.cross_entropy(point))


def test_any_inner_search(bench) -> None:
    x = bench.batch.x
    assert bench.value(PGDAT(inner=FGSM())) == exactly(bench.cross_entropy(bench.step(x, 0.1)))
    point = x + 0.05 * bench.noise.normal((10,)).double()
    for _ in range(2):
        point = bench.step(point, 0.05)
    assert bench.value(PGDAT(inner=PGD(steps=2, step_size=0.5, initial=Gaussian(0.05)))) == exactly(
        bench.cross_entropy(point)
    )
    assert bench.value(FGSMRSAT(inner=FGSMRS(initial=Zero()))) == exactly(bench.cross_entropy(bench.step(x, 0.125)))


def test_more_steps_make_a_harder_loss(bench) -> None:
    values = [bench.value(m) for m in (Natural(), FGSMRSAT(), PGDAT())]
    assert values[0] < values[1] < values[2] + 1e-3


@pytest.mark.parametrize("batch_statistics", [True, False])
def test_the_search_sees_the_statistics_it_is_told_to(bn_cnn, images, labels, batch_statistics: bool) -> None:
    with torch.no_grad():
        expected = copy.deepcopy(bn_cnn).train(batch_statistics)(images)
    seen = []
    bn_cnn.register_forward_hook(lambda module, asked, logits: seen.append((module.training, asked[0], logits)))
    batch, progress = Batch(images, labels, torch.arange(12)), Progress(0.5, 0, 5, 10)
    one_step = PGDAT(inner=FGSM(), batch_statistics=batch_statistics)
    one_step.loss(bn_cnn, batch, Linf(0.05), None, progress, Noise.of(0, torch.arange(12)))
    (training, asked, logits), (outer, _, _) = seen
    assert (training, outer) == (False, True)
    assert torch.equal(asked, images)
    assert torch.allclose(logits, expected, atol=1e-6)


def test_fgsm_normalises_clean_and_adversarial_images_apart(bn_cnn, images, labels) -> None:
    asked = []
    bn_cnn.register_forward_hook(lambda module, x, _: asked.append(len(x[0])) if module.training else None)
    batch, progress = Batch(images, labels, torch.arange(12)), Progress(0.5, 0, 5, 10)
    FGSMAT().loss(bn_cnn, batch, Linf(0.05), None, progress, Noise.of(0, torch.arange(12)))
    assert asked == [12, 12]


@pytest.mark.parametrize("weight", [-0.1, 1.0])
def test_a_mix_without_an_adversary_is_refused(weight: float) -> None:
    with pytest.raises(InvalidInput, match=r"lie in \[0, 1\)"):
        FGSMAT(clean_weight=weight)
