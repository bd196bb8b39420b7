import colorsys

import torch
from torch import Tensor

from holdfast.diagnostics import colour
from holdfast.noise import Noise

PICTURES = Noise.of(1, torch.arange(3)).uniform((3, 4, 5))
PIXEL = torch.tensor([0.2, 0.8, 0.4]).reshape(1, 3, 1, 1)
LUMA = 0.299 * 0.2 + 0.587 * 0.8 + 0.114 * 0.4


def _pixel(*values: float) -> Tensor:
    return torch.tensor(values).reshape(1, 3, 1, 1)


def test_brightness_by_hand() -> None:
    torch.testing.assert_close(colour.brightness(PIXEL, 1.4), _pixel(0.28, 1.0, 0.56))
    torch.testing.assert_close(colour.brightness(PIXEL, 0.5), _pixel(0.1, 0.4, 0.2))


def test_saturation_and_grey_by_hand() -> None:
    torch.testing.assert_close(colour.luma(PIXEL), torch.full((1, 1, 1, 1), LUMA))
    torch.testing.assert_close(colour.grey(PIXEL), _pixel(LUMA, LUMA, LUMA))
    half = [(LUMA + value) / 2 for value in (0.2, 0.8, 0.4)]
    torch.testing.assert_close(colour.saturation(PIXEL, 0.5), _pixel(*half))
    torch.testing.assert_close(colour.saturation(PIXEL, 0.0), colour.grey(PIXEL))
    more = [min(max(LUMA + 1.5 * (value - LUMA), 0.0), 1.0) for value in (0.2, 0.8, 0.4)]
    torch.testing.assert_close(colour.saturation(PIXEL, 1.5), _pixel(*more))


def test_contrast_by_hand() -> None:
    pair = torch.cat([PIXEL, torch.zeros_like(PIXEL)], dim=3)
    middle = LUMA / 2
    expected = torch.cat(
        [_pixel(*(middle + 0.5 * (v - middle) for v in (0.2, 0.8, 0.4))), _pixel(*3 * (middle / 2,))], 3
    )
    torch.testing.assert_close(colour.contrast(pair, 0.5), expected)
    # On grey images the mean is that of the one channel.
    one = torch.tensor([0.0, 0.4]).reshape(1, 1, 1, 2)
    torch.testing.assert_close(colour.contrast(one, 1.5), torch.tensor([0.0, 0.5]).reshape(1, 1, 1, 2))


def test_identities() -> None:
    for change in (colour.brightness, colour.contrast, colour.saturation):
        torch.testing.assert_close(change(PICTURES, 1.0), PICTURES, atol=1e-6, rtol=0)
    for turn in (0.0, 1.0, -1.0):
        torch.testing.assert_close(colour.hue(PICTURES, turn), PICTURES, atol=2e-6, rtol=0)
    greys = PICTURES[:, :1].expand_as(PICTURES)
    torch.testing.assert_close(colour.hue(greys, 0.3), greys, atol=1e-6, rtol=0)


def test_hsv_as_python_s_colorsys_has_it() -> None:
    corners = torch.cartesian_prod(*3 * (torch.tensor([0.0, 0.5, 1.0]),)).T.reshape(1, 3, 3, 9)
    for x in (PICTURES, corners):
        hsv, moved = colour.to_hsv(x), colour.hue(x, 0.25)
        torch.testing.assert_close(colour.from_hsv(hsv), x, atol=2e-6, rtol=0)
        pixels, converted, turned = (value.permute(0, 2, 3, 1).reshape(-1, 3) for value in (x, hsv, moved))
        for pixel, ours, opposite in zip(pixels.tolist(), converted.tolist(), turned.tolist(), strict=True):
            h, s, v = colorsys.rgb_to_hsv(*pixel)
            torch.testing.assert_close(torch.tensor(ours), torch.tensor([h, s, v]), atol=1e-5, rtol=0)
            expected = torch.tensor(colorsys.hsv_to_rgb((h + 0.25) % 1.0, s, v))
            torch.testing.assert_close(torch.tensor(opposite), expected, atol=1e-5, rtol=0)
