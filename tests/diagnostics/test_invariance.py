from dataclasses import replace

import torch
from torch import Tensor, nn

from holdfast.data import ImageSet
from holdfast.diagnostics.colour import luma
from holdfast.diagnostics.invariance import invariance_tests, settings
from holdfast.diagnostics.settings import Setting, count_all
from holdfast.noise import Noise
from holdfast.results import Rate

LEVELS = {
    "rotation": [5, 10, 15, 20, 25, 30],
    "brightness": [0.6, 0.8, 1.2, 1.4],
    "contrast": [0.6, 0.8, 1.2, 1.4],
    "saturation": [0.5, 1.5],
    "hue": [-0.1, 0.1],
    "grey": [0],
    "blur": [0.5, 1.0],
    "noise": [0.02, 0.05, 0.1],
}


class BrighterThan(nn.Module):
    """Class 1 where the mean luma exceeds a half."""

    def forward(self, x: Tensor) -> Tensor:
        bright = luma(x).mean(dim=(1, 2, 3)) - 0.5
        return torch.stack([-bright, bright], dim=1)


def test_the_table_holds_our_levels(colour_cnn: nn.Module, colours: ImageSet) -> None:
    found = invariance_tests(colour_cnn, colours)
    assert {kind: [s.value for s in found.shifts if s.kind == kind] for kind in found.kinds} == LEVELS
    assert found.n == 6
    assert found.skipped == {}
    assert "own" in found.source


def test_a_model_that_sees_brightness_alone() -> None:
    grey = torch.linspace(0.45, 0.55, 10).reshape(10, 1, 1, 1).expand(10, 3, 8, 8).contiguous()
    images = ImageSet(grey, (grey[:, 0, 0, 0] > 0.5).long(), ("dark", "bright"), "greys")
    found = invariance_tests(BrighterThan(), images)
    assert found.clean == 10
    # Factor 1.2 makes all bright, 0.8 all dark; a constant image has no contrast, hue or saturation to change.
    assert found.of("brightness") == {f"factor {f:g}": Rate(5, 10) for f in LEVELS["brightness"]}
    for kind in ("contrast", "saturation", "hue", "grey", "blur"):
        assert set(found.of(kind).values()) == {Rate(10, 10)}, kind
    # Black corners darken the image, the more it is turned.
    counts = [rate.count for rate in found.of("rotation").values()]
    assert counts == sorted(counts, reverse=True)
    assert (counts[0] < 10, counts[-1]) == (True, 5)


def test_grey_images_have_no_colour_tests(cnn: nn.Module, some: ImageSet) -> None:
    found = invariance_tests(cnn, some)
    assert found.skipped == dict.fromkeys(("saturation", "hue", "grey"), "grey images have no colour")
    assert found.kinds == ("rotation", "brightness", "contrast", "blur", "noise")


def test_batches_and_the_choice_of_settings_do_not_matter(colour_cnn: nn.Module, colours: ImageSet) -> None:
    whole = invariance_tests(colour_cnn, colours, seed=1)
    assert invariance_tests(colour_cnn, colours, seed=1, batch_size=4) == whole
    x, index = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(5)
    for setting in settings():
        changed = setting.change(x, setting.noise(1, index))
        assert changed.shape == x.shape
        assert 0.0 <= float(changed.min()) <= float(changed.max()) <= 1.0
        alone = setting.change(x[3:], setting.noise(1, index[3:]))
        torch.testing.assert_close(alone, changed[3:], atol=1e-6, rtol=0)


def test_noise_is_of_the_level_and_the_example() -> None:
    low, high = settings()[-3], settings()[-1]
    assert (low.kind, high.kind) == ("noise", "noise")
    x, index = torch.full((2, 3, 64, 64), 0.5), torch.arange(2)
    first = (low.change(x, low.noise(0, index)) - x) / low.value
    second = (high.change(x, high.noise(0, index)) - x) / high.value
    assert abs(float(first.std()) - 1.0) < 0.02
    for other in (second, first.flip(0), (low.change(x, low.noise(1, index)) - x) / low.value):
        assert abs(float((first * other).mean())) < 0.03


def test_a_setting_is_applied_in_eval_mode_and_counted(bn_cnn: nn.Module, some: ImageSet) -> None:
    seen: list[Tensor] = []

    def record(x: Tensor, noise: Noise) -> Tensor:
        seen.append(noise.keys)
        return x

    still = Setting("none", "still", "none", 0.0, record)
    options = {"source": "", "skipped": {}, "seed": 0, "batch_size": 5, "device": "cpu"}
    found = count_all(bn_cnn, some, [still, replace(still, level="other")], **options)
    assert bn_cnn.training
    with torch.no_grad():
        right = int((bn_cnn.eval()(some.images).argmax(dim=1) == some.labels).sum())
    assert [found.clean, *(shift.correct for shift in found.shifts)] == [right] * 3
    assert len({int(key) for keys in seen for key in keys}) == 24
