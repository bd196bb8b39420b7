"""YOPO against its reference code, and what makes it YOPO."""

from collections import OrderedDict
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from holdfast.attacks import PGD, Gaussian
from holdfast.errors import InvalidInput
from holdfast.methods import AWP, TRADESYOPO, YOPO, Batch, Loss, Progress, Task
from holdfast.models import MLP, MadryCNN, Normalize, PreActResNet18, TradesCNN, WideResNet, WongCNN
from holdfast.noise import Noise
from holdfast.testing import check_method
from holdfast.testing.subjects import CLASSES
from holdfast.threat import L1, L2, Linf, ThreatModel

PROGRESS = Progress(0.5, 0, 5, 10)
METHOD = YOPO(outer=3, inner=PGD(steps=2, step_size=0.4))


class Setting:
    """A float64 network, with an activation behind its convolution or with Tanh only where a layer ends."""

    def __init__(self, relu: bool) -> None:
        draw = Noise.of(81, torch.tensor([0]))
        with torch.random.fork_rng(devices=[]):
            conv, fc = nn.Conv2d(2, 3, 3).double(), nn.Linear(48, 4).double()
        conv.weight.data = draw.fold(0).normal((3, 2, 3, 3))[0].double() * 0.5
        fc.weight.data = draw.fold(2).normal((4, 48))[0].double() * 0.4
        for bias, values in ((conv.bias, draw.fold(1).normal((3,))), (fc.bias, draw.fold(3).normal((4,)))):
            assert bias is not None
            bias.data = values[0].double() * 0.1
        first = [conv, nn.ReLU()] if relu else [conv]
        # Flatten ends the first layer: it is no activation.
        self.model = nn.Sequential(*first, *([nn.Tanh(), nn.Flatten()] if relu else [nn.Flatten(), nn.Tanh()]), fc)
        self.x = Noise.of(82, torch.arange(6)).uniform((2, 6, 6), 0.35, 0.65).double()
        self.y = torch.arange(6) % 4

    def loss(self, visit: int = 0, method: YOPO = METHOD, threat: ThreatModel | None = None) -> Loss:
        batch = Batch(self.x, self.y, torch.arange(6))
        noise = Noise.of(83, torch.arange(6), visit)
        return method.loss(self.model, batch, threat or Linf(0.1), None, PROGRESS, noise)


@pytest.mark.parametrize(
    ("relu", "sums", "moves"),
    [
        (
            True,
            (1.347005944390898 + 2.362694684526535 + 2.8260131599662692, 1.3245213006323475 + 4.200673901515069),
            (4.521656847663084, 1.3892423274925338, 3.4870800041565846, 1.2599173155790504),
        ),
        (
            False,
            (2.4613627980448824 + 4.320010937316304 + 5.4529260796109265, 2.3249757969213074 + 9.053264959800577),
            (20.343785770920768, 9.106510205201708, 10.855062319732111, 2.2403391792571603),
        ),
    ],
)
def test_two_steps_are_those_of_the_reference_code(
    relu: bool, sums: tuple[float, float], moves: tuple[float, ...]
) -> None:
    """Golden numbers: `train_one_epoch` of a1600012888/YOPO b8ae668, experiments/CIFAR10/pre-res18.yopo-5-3, with K 3,
    inner_steps 2, sigma 0.04, eps 0.1, run in float64 on this network for two batches with SGD of 0.1, with this noise
    in place of `uniform_`: sums of its K losses, and how far each tensor moved, divided by 0.1. The images lie so far
    inside the box that clipping the start, which it does not, changes nothing."""
    setting = Setting(relu)
    before = [parameter.detach().clone() for parameter in setting.model.parameters()]
    optimizer = torch.optim.SGD(setting.model.parameters(), lr=0.1)
    for visit in range(2):
        optimizer.zero_grad()
        loss = setting.loss(visit).value
        loss.backward()
        optimizer.step()
        assert loss.item() == pytest.approx(sums[visit], rel=1e-6)
    after = list(setting.model.parameters())
    found = [((a - b) / 0.1).norm().item() for a, b in zip(after, before, strict=True)]
    assert found == pytest.approx(moves, rel=1e-11)


@pytest.mark.parametrize(
    ("relu", "clean", "kl", "moves"),
    [
        (
            True,
            (1.3493728179488096, 1.2890306672753267),
            (0.46915077012766143, 0.5996311224770494),
            (0.7578663309331174, 0.11481051061154911, 1.4727732129987594, 0.4972949952983349),
        ),
        (
            False,
            (2.642417675190923, 2.045357079475774),
            (0.6264126962961835, 0.7713521654403793),
            (2.0481581260277104, 0.8810399622350811, 3.5582931302875718, 0.8397207652583552),
        ),
    ],
)
def test_two_steps_of_trades_yopo_are_those_of_the_reference_code(
    relu: bool, clean: tuple[float, float], kl: tuple[float, float], moves: tuple[float, ...]
) -> None:
    """Golden numbers: `train_one_epoch` of a1600012888/YOPO b8ae668, experiments/CIFAR10-TRADES/
    pre-res18.TRADES-YOPO-2-5, with K 3, inner_steps 2, sigma 0.04, eps 0.1, run in float64 on this network for two
    batches with SGD of 0.1, with this noise in place of `randn`: its last two losses, and how far each tensor moved,
    divided by 0.1."""
    setting = Setting(relu)
    method = TRADESYOPO(outer=3, inner=replace(METHOD.inner, initial=Gaussian(0.001)), beta=1.0)
    before = [parameter.detach().clone() for parameter in setting.model.parameters()]
    optimizer = torch.optim.SGD(setting.model.parameters(), lr=0.1)
    for visit in range(2):
        optimizer.zero_grad()
        loss = setting.loss(visit, method).value
        loss.backward()
        optimizer.step()
        assert loss.item() == pytest.approx(clean[visit] + kl[visit], rel=1e-6)
    after = list(setting.model.parameters())
    found = [((a - b) / 0.1).norm().item() for a, b in zip(after, before, strict=True)]
    assert found == pytest.approx(moves, rel=1e-6)


def test_the_search_of_trades_yopo_counts_in_full_passes() -> None:
    """The clean prediction, an adjoint for each of m rounds, and the two of the outer loss."""
    setting, counts = Setting(relu=True), [0, 0]
    for place, position in enumerate((0, 4)):

        def count(module: nn.Module, x: tuple[Tensor], out: Tensor, place: int = place) -> None:
            counts[place] += 1

        setting.model[position].register_forward_hook(count)
    method = TRADESYOPO(outer=3, inner=METHOD.inner)
    setting.loss(method=method)
    assert counts == [1 + 3 + 3 * 2 + 2, 1 + 3 + 2]
    assert method.passes == pytest.approx(3 + 2 + 1 / 3)
    with pytest.raises(InvalidInput, match="beta is -1"):
        TRADESYOPO(beta=-1)


def test_laws() -> None:
    """On a network of modules; the one without has no first layer to be found."""
    draw = Noise.of(84, torch.tensor([0]))
    with torch.random.fork_rng(devices=[]):
        first, last = nn.Linear(40, 16), nn.Linear(16, CLASSES)
    first.weight.data = draw.fold(0).normal((16, 40))[0] * 0.3
    last.weight.data = draw.fold(1).normal((CLASSES, 16))[0]
    model = nn.Sequential(nn.Flatten(), first, nn.Tanh(), last)
    check_method(METHOD, (Linf(0.1), L2(0.6), L1(2.0)), model=model)
    check_method(TRADESYOPO(), (Linf(0.1), L2(0.6), L1(2.0)), model=model)
    assert METHOD.passes == 3
    assert not METHOD.compilable
    assert not AWP(method=METHOD).compilable
    assert AWP().compilable
    assert YOPO() == YOPO(outer=5, inner=PGD(steps=3, step_size=0.25))


def test_inner_steps_ask_the_first_layer_alone() -> None:
    """m whole passes, n + 1 more of the first layer after each; all points in the ball."""
    setting, asked = Setting(relu=True), []
    counts = [0] * len(setting.model)
    for position, module in enumerate(setting.model):

        def count(module: nn.Module, x: tuple[Tensor], out: Tensor, position: int = position) -> None:
            counts[position] += 1
            if position == 0:
                asked.append(x[0].detach())

        module.register_forward_hook(count)
    setting.loss()
    assert counts == [3 + 3 * 3, 3 + 3 * 3, 3, 3, 3]
    assert all(Linf(0.1).contains(setting.x, points).all() for points in asked)


def test_its_adversaries_raise_the_loss_from_pass_to_pass() -> None:
    setting, values = Setting(relu=True), []
    for outer in (1, 2, 3):
        values.append(setting.loss(method=YOPO(outer=outer, inner=METHOD.inner)).value.item())
    steps = [values[0], values[1] - values[0], values[2] - values[1]]
    assert steps[0] + 0.5 < steps[1] < steps[2]


@pytest.mark.parametrize(
    ("architecture", "shape", "names"),
    [
        (WongCNN(), (1, 28, 28), ["conv1", "activation1"]),
        (MadryCNN(mean=(0.5,), std=(0.5,)), (1, 28, 28), ["normalize", "conv1", "activation1"]),
        (TradesCNN(), (1, 28, 28), ["conv1", "activation1"]),
        (MLP(), (1, 8, 8), ["flatten", "fc1", "relu1"]),
        (PreActResNet18(width=2, mean=(0.5,) * 3, std=(0.2,) * 3), (3, 8, 8), ["normalize", "conv1"]),
        (WideResNet(depth=10, widen=1), (3, 8, 8), ["conv1"]),
    ],
)
def test_finds_the_first_layer_of_every_network_of_ours(architecture, shape, names) -> None:
    """An activation behind it belongs to it, as in the source's network for MNIST; in ResNets there is none."""
    with torch.random.fork_rng(devices=[]):
        model = architecture.build(shape, 10, seed=0)
    YOPO().init(model, Task(10, 4, 4, shape))
    counts = dict.fromkeys((name for name, _ in model.named_children()), 0)
    for name, module in model.named_children():
        module.register_forward_hook(lambda module, x, out, name=name: counts.update({name: counts[name] + 1}))
    x = Noise.of(85, torch.arange(4)).uniform(shape)
    batch = Batch(x, torch.arange(4), torch.arange(4))
    method = YOPO(outer=1, inner=PGD(steps=2))
    with torch.random.fork_rng(devices=[]):
        loss = method.loss(model, batch, Linf(0.1), None, PROGRESS, Noise.of(86, torch.arange(4)))
    assert [name for name, count in counts.items() if count == 4] == names
    assert {count for name, count in counts.items() if name not in names} == {1}
    loss.value.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


class Scaled(nn.Module):
    """Does something to the input that no module does."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network((x - 0.5) / 0.2)


class Shortcut(nn.Module):
    """Its input goes round the first layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.flatten = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 1), nn.Flatten()

    def forward(self, x: Tensor) -> Tensor:
        flat: Tensor = self.flatten(self.first(x) + self.second(x))
        return flat


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (lambda: Scaled(nn.Sequential(nn.Flatten(), nn.Linear(16, 3))), "what Flatten is given"),
        (lambda: nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(16, 3)), "a BatchNorm comes before it"),
        (Shortcut, "the input reaches a Conv2d past the first layer"),
        (lambda: nn.Sequential(nn.Flatten()), "no module with weights"),
        (lambda: nn.Linear(4, 4), "no module with weights lies within it"),
    ],
)
def test_says_why_it_cannot_find_the_first_layer(build, why: str) -> None:
    with torch.random.fork_rng(devices=[]):
        model = build()
    with pytest.raises(InvalidInput, match=f"first layer of .*{why}.*or take another method"):
        YOPO().init(model, Task(3, 4, 4, (1, 4, 4)))


def test_normalisation_as_a_module_is_followed() -> None:
    with torch.random.fork_rng(devices=[]):
        inside = nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 2, 3), flatten=nn.Flatten(), fc=nn.Linear(8, 3)))
    YOPO().init(nn.Sequential(Normalize((0.5,), (0.2,)), inside), Task(3, 4, 4, (1, 4, 4)))


def test_no_whole_pass_is_refused() -> None:
    with pytest.raises(InvalidInput, match="outer is 0"):
        YOPO(outer=0)
