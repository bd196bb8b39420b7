import numpy as np
import torch
from torch import Tensor

from holdfast.diagnostics.blur import gaussian_blur
from holdfast.diagnostics.corruptions.blurs import defocus, glass, motion, zoom
from holdfast.diagnostics.corruptions.corruption import eight_bits
from holdfast.diagnostics.sampling import zoomed
from holdfast.noise import Noise


def test_glass_is_the_reference_s_walk_over_pixels(pictures: Tensor, noise: Noise) -> None:
    ours = glass(pictures, noise, 0.4, 2)
    start = (eight_bits(gaussian_blur(pictures, 0.4)) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    for row, image in enumerate(start.copy()):
        for iteration in range(2):
            back = noise.fold(iteration).integers(2, (2, 16, 12))[row].tolist()
            for h in range(15, 1, -1):
                for w in range(11, 1, -1):
                    # Assigning through views, as the reference does: the second assignment reads the new value.
                    image[h, w] = image[h - back[0][h][w], w - back[1][h][w]]
        expected = gaussian_blur(torch.from_numpy(image).permute(2, 0, 1)[None] / 255, 0.4)
        torch.testing.assert_close(ours[row : row + 1], expected, atol=1e-6, rtol=0)


def test_the_zooms_of_a_severity(pictures: Tensor, noise: Noise) -> None:
    # 1.00 ... 1.06 for the mildest severity, by the rounding of numpy's arange; 1.00 ... 1.15 for the third.
    for end, count in ((1.06, 7), (1.16, 16)):
        parts = [zoomed(pictures, 1.0 + 0.01 * k) for k in range(count)]
        torch.testing.assert_close(zoom(pictures, noise, end), (pictures + sum(parts)) / (count + 1), atol=1e-4, rtol=0)


def test_a_small_aperture_changes_little(pictures: Tensor, noise: Noise) -> None:
    gap = [float((defocus(pictures, noise, *c) - pictures).abs().mean()) for c in ((0.3, 0.1), (1.0, 0.2), (1.5, 0.1))]
    assert gap[0] < 1e-6
    assert gap[0] < gap[1] < gap[2]


def test_motion_takes_all_directions_within_45_degrees() -> None:
    point = torch.zeros(400, 1, 25, 25)
    point[:, 0, 12, 12] = 1.0
    smeared = motion(point, Noise.of(0, torch.arange(400)), 6, 2.0)[:, 0]
    row, column = torch.meshgrid(torch.arange(25.0) - 12, torch.arange(25.0) - 12, indexing="ij")
    centre = torch.stack([(smeared * at).sum(dim=(1, 2)) for at in (row, column)])
    angle = np.degrees(np.arctan2(-centre[0].numpy(), -centre[1].numpy()))
    assert -47 < angle.min() < -40
    assert 40 < angle.max() < 47
