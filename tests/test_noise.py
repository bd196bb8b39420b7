"""Noise: never changing, uniform, independent between streams and rows, and indifferent to batching."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from holdfast.noise import Noise, permutation, stream_seed

MASK = (1 << 64) - 1
pytestmark = pytest.mark.usefixtures("global_state_rests")


def split_mix(state: int) -> int:
    """SplitMix64's output function (Steele, Lea and Flood 2014), in plain integers."""
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return state ^ (state >> 31)


def many(seed: int = 0, rows: int = 200, *stream: int) -> Noise:
    return Noise.of(seed, torch.arange(rows), *stream)


def kolmogorov(values: Tensor, distribution: Tensor) -> float:
    """Greatest gap between the empirical distribution and the given distribution function at the sorted values, times
    sqrt(n): below 1.95 for 999 of 1,000 samples."""
    n = values.numel()
    steps = torch.arange(n + 1, dtype=torch.float64) / n
    gap = torch.maximum((distribution - steps[:-1]).abs(), (distribution - steps[1:]).abs()).max().item()
    return gap * math.sqrt(n)


def test_streams_never_change() -> None:
    noise = Noise.of(7, torch.tensor([0, 1, 60000]), 3)
    assert noise.keys.tolist() == [5915724730611812111, -5672297932909151973, 2552787659015071100]
    assert noise.fold(2).keys.tolist() == [3753643198346835280, -648419007174374542, 7546488634189069160]
    uniform = [
        [0.8729183673858643, 0.9430187344551086, 0.10859823226928711],
        [0.15318220853805542, 0.10733306407928467, 0.19888848066329956],
        [0.6194220185279846, 0.11200857162475586, 0.6140855550765991],
    ]
    assert noise.uniform((3,)).tolist() == uniform
    assert noise.signs((5,)).tolist() == [[-1, 1, -1, 1, -1], [1, -1, 1, -1, 1], [1, -1, -1, 1, -1]]
    assert noise.integers(10, (4,)).tolist() == [[8, 4, 0, 3], [5, 7, 9, 8], [7, 4, 0, 5]]
    assert noise.integers(10).tolist() == [8, 5, 7]
    normal = torch.tensor([[-0.6077555418, 0.4925243855], [-0.4257973731, 1.6478154659], [-0.9569157958, 0.1889817417]])
    assert torch.allclose(noise.normal((2,)), normal, atol=1e-6)  # cos and log may differ in the last bit
    exponential = torch.tensor(
        [[2.0629255772, 2.8650326729], [0.1662697345, 0.1135417372], [0.966064215, 0.1187931895]]
    )
    assert torch.allclose(noise.exponential((2,)), exponential, atol=1e-6)
    assert permutation(8, 7, 3).tolist() == [0, 1, 6, 3, 7, 5, 2, 4]
    assert stream_seed(7, 3) == 1918862749109733997


def test_hashes_are_split_mix() -> None:
    gamma = 0x9E3779B97F4A7C15
    noise = Noise(torch.tensor([5, -9], dtype=torch.int64))
    for row, key in enumerate((5, -9)):
        for position in range(3):
            hashed = split_mix((key + (position + 1) * gamma) & MASK)
            low, high = hashed & 0xFFFFFFFF, hashed >> 32
            drawn = noise.uniform((6,))[row, 2 * position : 2 * position + 2].tolist()
            assert drawn == [(low & 0xFFFFFF) / (1 << 24), (high & 0xFFFFFF) / (1 << 24)]
            assert noise.integers(1000, (3,))[row, position].item() == (hashed & ((1 << 53) - 1)) % 1000
    assert noise.fold(3).keys[0].item() & MASK == split_mix(5 ^ split_mix((4 * gamma) & MASK))


def test_uniform_is_uniform() -> None:
    values = many().uniform((10, 25)).double().flatten().sort().values
    assert values[0] >= 0
    assert values[-1] < 1
    assert kolmogorov(values, values) < 1.95
    shifted = many().uniform((10, 25), -0.3, 0.5)
    assert torch.allclose(shifted.double().flatten().sort().values, -0.3 + 0.8 * values, atol=1e-6)


def test_normal_is_normal() -> None:
    values = many().normal((250,)).double().flatten().sort().values
    assert kolmogorov(values, 0.5 * (1 + torch.erf(values / math.sqrt(2)))) < 1.95
    assert values.isfinite().all()


def test_exponential_is_exponential() -> None:
    values = many().exponential((250,)).double().flatten().sort().values
    assert kolmogorov(values, 1 - torch.exp(-values)) < 1.95


def test_signs_and_integers_are_balanced() -> None:
    signs = many().signs((500,))
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert abs(signs.mean().item()) < 4 / math.sqrt(signs.numel())
    counts = many().integers(7, (500,)).flatten().bincount(minlength=7).double()
    expected = 200 * 500 / 7
    chi_square = ((counts - expected) ** 2 / expected).sum().item()
    assert len(counts) == 7
    assert chi_square < 22.5  # 6 degrees of freedom, 1 in 1,000


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (many(0), many(1)),
        (many(0), many(0, 200, 1)),
        (many(0, 200, 1), many(0, 200, 2)),
        (many(0, 200, 1, 2), many(0, 200, 2, 1)),
        (many(0), many(0).fold(0)),
        (many(0), Noise.of(0, torch.arange(1, 201))),
        (many(0).fold(torch.arange(200)), many(0).fold(torch.arange(1, 201))),
    ],
    ids=["seed", "with-stream", "stream", "order-of-streams", "fold", "next-row", "fold-by-row"],
)
def test_streams_are_uncorrelated(first: Noise, second: Noise) -> None:
    assert not (first.keys == second.keys).any()
    a, b = (noise.uniform((250,)).double().flatten() - 0.5 for noise in (first, second))
    correlation = (a * b).mean().item() * 12
    assert abs(correlation) < 4 / math.sqrt(a.numel())


def test_neighbouring_positions_are_uncorrelated() -> None:
    values = many().uniform((251,)).double() - 0.5
    for lag in (1, 2, 3):
        correlation = (values[:, lag:] * values[:, :-lag]).mean().item() * 12
        assert abs(correlation) < 4 / math.sqrt(values.numel())


def test_keys_of_a_long_training_do_not_collide() -> None:
    keys = torch.cat([Noise.of(seed, torch.arange(20000), epoch).keys for seed in range(2) for epoch in range(5)])
    assert len(keys.unique()) == len(keys)


@pytest.mark.parametrize("name", ["uniform", "normal", "exponential", "signs"])
def test_rows_do_not_depend_on_the_batch(name: str) -> None:
    noise = many(3, 9)
    whole = getattr(noise, name)((2, 3))
    order = torch.tensor([8, 0, 4])
    assert torch.equal(getattr(noise.select(order), name)((2, 3)), whole[order])
    assert torch.equal(getattr(Noise.of(3, torch.tensor([4])), name)((2, 3)), whole[4:5])
    assert torch.equal(getattr(noise, name)((2, 3)), whole)


def test_a_longer_draw_begins_like_a_shorter_one() -> None:
    assert torch.equal(many().uniform((7,))[:, :4], many().uniform((4,)))


def test_fold_by_row_agrees_with_fold_by_number() -> None:
    noise = many(1, 4)
    by_row = noise.fold(torch.tensor([5, 6, 5, 7]))
    for row, value in enumerate((5, 6, 5, 7)):
        assert by_row.keys[row] == noise.fold(value).keys[row]
    assert torch.equal(noise.fold(1, 2).keys, noise.fold(1).fold(2).keys)


def test_a_number_is_folded_without_a_tensor_of_its_own() -> None:
    """To bring one to a device would wait for all that is queued there."""
    shapes = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            made = function(*args, **(kwargs or {}))
            shapes.append(tuple(made.shape))
            return made

    with Watch():
        Noise.of(3, torch.arange(9), 1).fold(2)
    assert set(shapes) == {(9,)}


def test_noise_of_nobody_is_empty() -> None:
    nobody = Noise.of(0, torch.arange(0))
    assert nobody.uniform((2, 3)).shape == (0, 2, 3)
    assert nobody.integers(3).shape == (0,)


def test_large_and_negative_numbers_are_seeds_too() -> None:
    keys = [Noise.of(seed, torch.tensor([1])).keys.item() for seed in (-1, 0, 2**31, 2**63, 2**64 - 2)]
    assert len(set(keys)) == 5
    assert 0 <= stream_seed(-3, 2**70) < 2**63


def test_integers_refuse_an_empty_range() -> None:
    with pytest.raises(ValueError, match="high is 0"):
        many().integers(0)


def test_permutations_are_permutations_and_differ() -> None:
    orders = [permutation(50, seed, epoch) for seed in range(2) for epoch in range(2)]
    for order in orders:
        assert torch.equal(order.sort().values, torch.arange(50))
    assert len({tuple(order.tolist()) for order in orders}) == 4
    assert torch.equal(permutation(50, 1, 1), orders[3])


@pytest.mark.gpu
def test_a_gpu_draws_the_same_numbers() -> None:
    index = torch.arange(100)
    here, there = Noise.of(5, index, 1), Noise.of(5, index.cuda(), 1)
    assert torch.equal(there.keys.cpu(), here.keys)
    assert torch.equal(there.uniform((33,)).cpu(), here.uniform((33,)))
    assert torch.equal(there.signs((33,)).cpu(), here.signs((33,)))
    assert torch.allclose(there.normal((33,)).cpu(), here.normal((33,)), atol=1e-5)
