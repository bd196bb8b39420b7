"""Invariance tests: accuracy under one mild change at a time.

SPROUT (Cheng et al., AAAI 2021, arXiv:2012.11769) reports "various invariance tests", but neither its changes nor their
ranges are in what was released (IBM/SPROUT 26817a2 has no code for them). Kinds and levels here are ours; numbers
compare models measured by Holdfast, and with nothing in that paper.
"""

from collections.abc import Callable, Iterator

import torch
from torch import nn

from holdfast.data import ImageSet
from holdfast.diagnostics import colour
from holdfast.diagnostics.blur import gaussian_blur
from holdfast.diagnostics.sampling import rotate
from holdfast.diagnostics.settings import Change, Setting, count_all
from holdfast.noise import Noise
from holdfast.results import Shifts
from holdfast.typing import Images

SOURCE = "invariance tests with Holdfast's own kinds and levels"
NO_COLOUR = "grey images have no colour"

ROTATIONS = (5.0, 10.0, 15.0, 20.0, 25.0, 30.0)  # degrees, anticlockwise
FACTORS = (0.6, 0.8, 1.2, 1.4)
SATURATIONS = (0.5, 1.5)
HUES = (-0.1, 0.1)  # of the colour circle
BLURS = (0.5, 1.0)  # standard deviation in pixels
NOISES = (0.02, 0.05, 0.1)  # standard deviation; SPROUT trains with 0.1


def _each(
    group: str, kind: str, unit: str, values: tuple[float, ...], change: Callable[[Images, float], Images]
) -> Iterator[Setting]:
    def at(value: float) -> Change:
        return lambda x, noise: change(x, value)

    for value in values:
        yield Setting(group, kind, unit.format(value), value, at(value))


def _noisy(deviation: float) -> Change:
    def change(x: Images, noise: Noise) -> Images:
        return (x + deviation * noise.normal(x.shape[1:])).clamp(0.0, 1.0)

    return change


def settings() -> tuple[Setting, ...]:
    """All tests, in the order of the table."""
    return (
        *_each("geometry", "rotation", "{:g} degrees", ROTATIONS, rotate),
        *_each("light", "brightness", "factor {:g}", FACTORS, colour.brightness),
        *_each("light", "contrast", "factor {:g}", FACTORS, colour.contrast),
        *_each("colour", "saturation", "factor {:g}", SATURATIONS, colour.saturation),
        *_each("colour", "hue", "turn {:+g}", HUES, colour.hue),
        Setting("colour", "grey", "no colour", 0.0, lambda x, noise: colour.grey(x)),
        *_each("blur", "blur", "sigma {:g}", BLURS, gaussian_blur),
        *(Setting("noise", "noise", f"sigma {value:g}", value, _noisy(value)) for value in NOISES),
    )


def invariance_tests(
    model: nn.Module,
    images: ImageSet,
    *,
    seed: int = 0,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
) -> Shifts:
    """Measure accuracy under each change by itself, none composed with another.

    Args:
        images: [N, C, H, W]; where C is not 3 the tests of colour are skipped, and the result says so.
    """
    chosen, skipped = settings(), {}
    if images.shape[0] != 3:
        skipped = {s.kind: NO_COLOUR for s in chosen if s.group == "colour"}
        chosen = tuple(s for s in chosen if s.group != "colour")
    return count_all(
        model, images, chosen, source=SOURCE, skipped=skipped, seed=seed, batch_size=batch_size, device=device
    )
