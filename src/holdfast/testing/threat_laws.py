"""The laws of a threat model: S(x) is one closed convex set, and all of its functions speak of the same one."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from holdfast.noise import Noise
from holdfast.testing.laws import Laws
from holdfast.testing.subjects import inputs
from holdfast.threat import ThreatModel, rows
from holdfast.typing import Images, PerExample

COUNT = 24


def check_threat(threat: ThreatModel, shape: Sequence[int] = (3, 4, 5)) -> None:
    """Check a threat model on examples of a shape, and on the same examples as flat tables.

    Args:
        threat: an instance with eps above 0.
        shape: of one example, at least one dimension.

    Raises:
        AssertionError: a law is broken; the message says which and by how much.
    """
    laws = Laws(f"{threat} on examples of shape {list(shape)}")
    laws.require(threat.eps > 0, "a threat model to check has eps above 0", f"eps is {threat.eps}")
    x = inputs(threat, COUNT, shape)
    noise = Noise.of(23, torch.arange(COUNT))
    # In this order because each check rests on what those before it have shown.
    _check_distance(laws, threat, x, noise)
    _check_contains(laws, threat, x, noise)
    _check_steepest(laws, threat, x, noise)
    _check_sample(laws, threat, x, noise)
    for candidate in _candidates(threat, x, noise):
        _check_projection(laws, threat, x, candidate, noise)
    _check_scaled(laws, threat, x, noise)


def _dot(a: Tensor, b: Tensor) -> PerExample:
    return (a.double() * b.double()).flatten(1).sum(dim=1)


def _norm(threat: ThreatModel, move: Tensor) -> PerExample:
    """The threat model's norm of a perturbation."""
    return threat.distance(torch.zeros_like(move), move)


def _candidates(threat: ThreatModel, x: Images, noise: Noise) -> Iterator[Images]:
    """Points to project: inside, near the surface, outside the ball, outside the box, outside both, x itself."""
    width = threat.high - threat.low
    move = noise.fold(1).normal(x.shape[1:])
    unit = move / rows(_norm(threat, move), x)
    yield x
    for radius in (0.5 * threat.eps, threat.eps, 1.5 * threat.eps, 20.0 * threat.eps, 2.0 * width):
        yield x + radius * unit
    yield x + threat.eps * threat.steepest(move)
    yield torch.full_like(x, threat.high + width)


def _check_distance(laws: Laws, threat: ThreatModel, x: Images, noise: Noise) -> None:
    a, b = (noise.fold(2, i).normal(x.shape[1:]) for i in range(2))
    size = _norm(threat, a)
    laws.require(size.shape == (len(x),), "distance gives one value an example", f"its shape is {list(size.shape)}")
    laws.equal(threat.distance(x, x), torch.zeros_like(size), "the distance of x to itself is 0")
    laws.require(size > 0, "the distance of different points is positive")
    laws.equal(_norm(threat, -3.0 * a), 3.0 * size, "distance is a norm: |t d| = |t| |d|", 1e-4 * size.max().item())
    slack = size + _norm(threat, b) - _norm(threat, a + b)
    laws.require(
        slack >= -1e-4 * size, "distance is a norm: |a + b| <= |a| + |b|", f"broken by {-slack.min().item():.3g}"
    )


def _check_projection(laws: Laws, threat: ThreatModel, x: Images, candidate: Images, noise: Noise) -> None:
    width = threat.high - threat.low
    with laws.unmodified(x=x, x_adv=candidate):
        projected = threat.project(x, candidate)
    laws.require(
        threat.contains(x, projected),
        "the projection lies in S(x)",
        f"distance up to {threat.distance(x, projected).max().item():.6g} for eps {threat.eps:.6g}, values in "
        f"[{projected.min().item():.6g}, {projected.max().item():.6g}]",
    )
    laws.equal(threat.project(x, projected), projected, "projecting twice is projecting once", 2e-6 * width)
    inside = threat.contains(x, candidate)
    laws.equal(projected[inside], candidate[inside], "a point of S(x) is its own projection", 2e-6 * width)
    flat = threat.project(x.flatten(1), candidate.flatten(1))
    laws.equal(flat, projected.flatten(1), "images and flat tables project alike", 1e-6 * width)
    laws.equal(
        threat.project(x[:3], candidate[:3]), projected[:3], "a row's projection is its own affair", 1e-6 * width
    )
    precise = threat.project(x.double(), candidate.double())
    laws.equal(precise.float(), projected, "float32 and float64 project alike", 4e-6 * width)
    _check_nearest(laws, threat, x.double(), candidate.double(), precise, noise)


def _check_nearest(
    laws: Laws, threat: ThreatModel, x: Images, candidate: Images, projected: Images, noise: Noise
) -> None:
    """z is the point of a convex set nearest to a exactly where <a - z, s - z> <= 0 for all points s of the set."""
    away = candidate - projected
    points = [x, threat.sample(x, noise.fold(3))]
    for towards in (away, candidate - x, noise.fold(4).normal(x.shape[1:]).double()):
        points.append((x + threat.eps * threat.steepest(towards)).clamp(threat.low, threat.high))
    for share in (0.01, 0.1, 1.0):
        # On from z towards a, back into the box, and back into the ball along the line to x, which stays in the box.
        move = (projected + share * away).clamp(threat.low, threat.high) - x
        shrink = (threat.eps / _norm(threat, move).clamp(min=1e-30)).clamp(max=1.0)
        points.append(x + move * rows(shrink, x))
    for point in points:
        excess = _dot(away, point - projected)
        allowed = 1e-5 * (_dot(away, away) * _dot(point - projected, point - projected)).sqrt() + 1e-9
        worst = (excess - allowed).max().item()
        laws.require(
            excess <= allowed,
            "the projection is the nearest point of S(x)",
            f"a point of S(x) is nearer: <a - z, s - z> exceeds 0 by {worst:.3g}",
        )


def _check_contains(laws: Laws, threat: ThreatModel, x: Images, noise: Noise) -> None:
    width = threat.high - threat.low
    laws.require(threat.contains(x, x), "S(x) holds x")
    middle = torch.full_like(x, (threat.low + threat.high) / 2.0)
    move = noise.fold(5).signs(x.shape[1:])
    move = threat.eps * move / rows(_norm(threat, move), x)
    if move.abs().max().item() < 0.49 * width:  # otherwise the ball holds the whole box
        laws.require(
            ~threat.contains(middle, middle + 1.01 * move), "S(x) ends at eps", "a point at 1.01 eps is inside"
        )
        laws.require(threat.contains(middle, middle + 0.99 * move), "S(x) reaches to eps", "0.99 eps is outside")
    outside = torch.full_like(x, threat.high)
    outside.flatten(1)[:, 0] += min(1e-3 * width, 0.5 * threat.eps)
    laws.require(
        ~threat.contains(torch.full_like(x, threat.high), outside), "S(x) ends at the box", "a point above is inside"
    )
    laws.require(~threat.contains(x, torch.full_like(x, math.nan)), "NaN lies in no S(x)")


def _check_sample(laws: Laws, threat: ThreatModel, x: Images, noise: Noise) -> None:
    with laws.unmodified(x=x, keys=noise.keys):
        drawn = threat.sample(x, noise)
    laws.require(
        threat.contains(x, drawn),
        "a sample lies in S(x)",
        f"distance up to {threat.distance(x, drawn).max().item():.6g} for eps {threat.eps:.6g}",
    )
    laws.equal(threat.sample(x, noise), drawn, "the same keys give the same sample")
    order = torch.arange(len(x)).flip(0)
    laws.equal(
        threat.sample(x[order], noise.select(order)),
        drawn[order],
        "a row's sample depends on its own key alone",
        1e-6 * (threat.high - threat.low),
    )
    laws.require(not torch.equal(threat.sample(x, noise.fold(1)), drawn), "other keys give another sample")


def _check_steepest(laws: Laws, threat: ThreatModel, x: Images, noise: Noise) -> None:
    gradient = noise.fold(6).normal(x.shape[1:])
    with laws.unmodified(gradient=gradient):
        steepest = threat.steepest(gradient)
    size = _norm(threat, steepest)
    laws.equal(size, torch.ones_like(size), "the steepest direction has norm 1", 1e-5)
    gained = _dot(gradient, steepest)
    rivals = [gradient, gradient.sign(), steepest + 0.1 * noise.fold(7).normal(x.shape[1:])]
    flat = torch.zeros_like(gradient).flatten(1)
    rivals.append(flat.scatter(1, gradient.flatten(1).abs().argmax(dim=1, keepdim=True), 1.0).reshape(x.shape))
    for rival in rivals:
        reached = _dot(gradient, rival).abs() / _norm(threat, rival).double()
        laws.require(
            reached <= gained * (1.0 + 1e-5),
            "no direction of norm 1 grows faster than the steepest (the dual norm)",
            f"another one grows {(reached / gained).max().item():.4g} times as fast",
        )
    for scale in (1e-30, 1e30):
        laws.equal(threat.steepest(gradient * scale), steepest, "the steepest direction has no scale", 1e-4)
    laws.equal(threat.steepest(torch.zeros_like(x)), torch.zeros_like(x), "a zero gradient has no direction")


def _check_scaled(laws: Laws, threat: ThreatModel, x: Images, noise: Noise) -> None:
    half, none = threat.scaled(0.5), threat.scaled(0.0)
    laws.require(type(half) is type(threat), "scaled keeps the class")
    laws.require((half.low, half.high) == (threat.low, threat.high), "scaled keeps the box")
    laws.require(math.isclose(half.eps, 0.5 * threat.eps), "scaled multiplies eps", f"0.5 gave {half.eps:g}")
    anywhere = x + noise.fold(8).normal(x.shape[1:])
    laws.equal(none.project(x, anywhere), x, "with eps 0 the projection is x")
    laws.equal(none.sample(x, noise), x, "with eps 0 the sample is x")
    laws.require(none.contains(x, x), "with eps 0 S(x) holds x")
