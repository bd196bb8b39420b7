"""MMA against its reference code, and what makes it MMA."""

import pytest
import torch
from torch import Tensor, nn

from holdfast import losses
from holdfast.attacks import PGD, SoftMargin
from holdfast.errors import InvalidInput
from holdfast.methods import MMA, Batch, Loss, Progress, Task
from holdfast.noise import Noise
from holdfast.threat import L2, Linf, ThreatModel

INNER = PGD(steps=5, step_size=0.5, criterion=SoftMargin())
INDEX = torch.arange(8) + 3


class Setting:
    """A float64 network that is right about 5 of 8 images by the soft margin, and about 6 by the greatest logit."""

    def __init__(self, method: MMA, threat: ThreatModel | None = None) -> None:
        self.method, self.threat = method, threat or Linf(0.1)
        draw = Noise.of(71, torch.tensor([0]))
        with torch.random.fork_rng(devices=[]):
            first, last = nn.Linear(10, 12, bias=False).double(), nn.Linear(12, 4, bias=False).double()
        first.weight.data = draw.fold(0).normal((12, 10))[0].double()
        last.weight.data = draw.fold(1).normal((4, 12))[0].double()
        self.model = nn.Sequential(first, nn.Tanh(), last)
        self.x = Noise.of(72, torch.arange(8)).uniform((10,), 0.35, 0.65).double()
        with torch.no_grad():
            self.y = self.model(self.x).argmax(dim=1)
        self.y[1], self.y[6] = (self.y[1] + 1) % 4, (self.y[6] + 2) % 4
        state = method.init(self.model, Task(4, 11, 8, (10,)))
        self.state = state.double()

    def loss(self, visit: int = 0, x: Tensor | None = None) -> Loss:
        batch = Batch(self.x if x is None else x, self.y, INDEX)
        noise = Noise.of(73, torch.arange(8), visit)
        return self.method.loss(self.model, batch, self.threat, self.state, Progress(0.5, 0, 5, 10), noise)

    @property
    def radii(self) -> Tensor:
        return self.state.get_buffer("radius")[INDEX]


@pytest.mark.parametrize(
    ("weight", "radii", "norms"),
    [
        (
            1 / 3,
            (
                (0.012626953125, 0, 0, 0.06014208984375, 0.013330078125, 0.05129150390625, 0, 0.027978515625),
                (0.07383544921875, 0, 0, 0.11544593954086, 0.07166455078125, 0.10201872396469, 0, 0.08903173828125),
            ),
            ((1.2260188368280631, 0.6620749719648787), (0.5493976149215455, 0.41190210302558117)),
        ),
        (
            0.0,
            (
                (0.012626953125, 0, 0, 0.06014208984375, 0.013330078125, 0.05129150390625, 0, 0.027978515625),
                (0.08435595703125, 0, 0, 0.11544593954086, 0.08151708984375, 0.11129885816574, 0, 0.09988623046875),
            ),
            ((1.3621689156682741, 0.761898662116699), (0.5437735264058577, 0.4321504637702311)),
        ),
    ],
)
def test_two_visits_are_those_of_the_reference_code(
    weight: float, radii: tuple[tuple[float, ...], ...], norms: tuple[tuple[float, float], ...]
) -> None:
    """Golden numbers: `Trainer.train_one_batch` of BorealisAI/mma_training 328e2e5, trainer.py (with advertorch
    e063e34), run twice in float64 on these images with SGD of 0.1, nb_iter 5, mineps 0.03 and hinge_maxeps 0.11, with
    this noise in place of `uniform_` and float64 in place of its `float()`: radii, and norms of the two layers'
    gradients. The second visit searches from the radii of the first, and finds one beyond the hinge."""
    setting = Setting(MMA(max_radius=1.1, min_radius=0.3, clean_weight=weight, inner=INNER))
    optimizer = torch.optim.SGD(setting.model.parameters(), lr=0.1)
    for visit in range(2):
        optimizer.zero_grad()
        setting.loss(visit).value.backward()
        gradients = [parameter.grad.norm().item() for parameter in setting.model.parameters()]
        assert gradients == pytest.approx(norms[visit], rel=1e-9)
        assert setting.radii.tolist() == pytest.approx(radii[visit], abs=1e-13)
        optimizer.step()


def test_the_loss_is_taken_at_the_boundary_of_the_rightly_classified() -> None:
    """T19: in the ball of d_max and in the box; the others' loss is the clean one, beyond the hinge it is 0."""
    setting = Setting(MMA(max_radius=1.1, min_radius=0.3, clean_weight=0.0, inner=INNER, bisections=40))
    asked: list[Tensor] = []
    setting.model.register_forward_hook(lambda module, x, logits: asked.append(x[0].detach()))
    value = setting.loss().value.item()
    points, right = asked[-1], setting.radii > 0
    with torch.no_grad():
        logits = setting.model(points)
        clean = setting.model(setting.x)
    assert right.tolist() == (losses.soft_margin(clean, setting.y) > 0).tolist()
    assert right.sum() == 5
    assert losses.soft_margin(logits, setting.y)[right].abs().max() < 1e-6
    assert torch.equal(points[~right], setting.x[~right])
    assert Linf(0.11 * 1.05).contains(setting.x, points).all()
    values = nn.functional.cross_entropy(logits, setting.y, reduction="none")
    assert value == pytest.approx(values.mean().item(), rel=1e-12)

    narrow = Setting(MMA(max_radius=0.3, min_radius=0.3, clean_weight=0.0, inner=INNER, bisections=40))
    assert narrow.loss().value.item() == pytest.approx(values[(setting.radii < 0.03)].sum().item() / 8, rel=1e-6)
    assert 0 < (right & (setting.radii < 0.03)).sum() < 5


def test_points_stay_in_the_box() -> None:
    setting = Setting(MMA(max_radius=2.0, inner=INNER))
    corners = (setting.x > 0.5).double()
    with torch.no_grad():
        setting.y = setting.model(corners).argmax(dim=1)
    asked: list[Tensor] = []
    setting.model.register_forward_hook(lambda module, x, logits: asked.append(x[0].detach()))
    setting.loss(x=corners)
    assert all(((points >= 0) & (points <= 1)).all() for points in asked)
    assert (asked[-1] != corners).any()


def test_a_search_has_each_examples_own_radius_in_every_norm() -> None:
    """The first passes are the clean one and the ascent's; the ascent's last point is asked by the line search."""
    threat = L2(0.3)
    setting = Setting(MMA(max_radius=2.0, min_radius=0.1, inner=INNER), threat)
    given = torch.linspace(0.05, 0.5, 8).double()
    setting.state.get_buffer("radius")[INDEX] = given
    asked: list[Tensor] = []
    setting.model.register_forward_hook(lambda module, x, logits: asked.append(x[0].detach()))
    setting.loss()
    lengths = torch.stack([threat.distance(setting.x, points) for points in asked[1:7]])
    assert (lengths <= given * (1 + 1e-9)).all()
    assert (lengths.amax(dim=0) > 0.99 * given).all()


def test_parts_are_what_they_say() -> None:
    setting = Setting(MMA(max_radius=1.1, min_radius=0.3, inner=INNER), Linf(0.05))
    parts = setting.loss().parts
    assert parts["mean_radius"].item() == pytest.approx(setting.radii.mean().item())
    assert parts["adversary_accuracy"].item() == (setting.radii >= 0.05).double().mean().item() == 2 / 8


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"min_radius": 2.0}, "min_radius is 2.0"),
        ({"clean_weight": 1.0}, "clean_weight is 1.0"),
        ({"bisections": 0}, "bisections is 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, float], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        MMA(**changes)
