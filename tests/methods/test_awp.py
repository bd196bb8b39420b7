"""AWP around any method: the perturbation by hand, weights that rest, searches that are not repeated."""

import copy
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from holdfast.attacks import PGD, Tape, run
from holdfast.data import Tensors
from holdfast.data.digits import Digits
from holdfast.errors import InvalidInput
from holdfast.methods import AWP, FGSMAT, FGSMRSAT, METHODS, PGDAT, TRADES, Batch, Loss, Natural, Progress, Task
from holdfast.models import WongCNN
from holdfast.noise import Noise
from holdfast.recipe import SGD, Constant, Recipe
from holdfast.testing.subjects import CLASSES, batch_norm_network, inputs, metered
from holdfast.threat import Linf
from holdfast.training import train

SHORT = PGD(steps=3)


def perturbed(model: nn.Module, loss: Callable[[nn.Module], Tensor], gamma: float) -> nn.Module:
    """The model at w + v as csdongxian/AWP a7acf5d, AT_AWP/utils_awp.py finds it: by a step of SGD of a proxy."""
    proxy = copy.deepcopy(model)
    (-loss(proxy)).backward()
    torch.optim.SGD(proxy.parameters(), lr=0.01).step()
    moved = copy.deepcopy(model)
    with torch.no_grad():
        for weight, own, other in zip(moved.parameters(), model.parameters(), proxy.parameters(), strict=True):
            difference = other - own
            weight.add_(gamma * own.norm() / (difference.norm() + 1e-20) * difference)
    return moved


def search(bench, method: PGDAT | TRADES) -> Tensor:
    return run(method.inner, bench.threat, bench.model, bench.batch.x, bench.batch.y, bench.noise).x_adv


def test_loss_and_gradient_are_those_at_the_perturbed_weights(bench) -> None:
    inside = PGDAT(inner=SHORT)
    x_adv, y = search(bench, inside), bench.batch.y

    def loss(model: nn.Module) -> Tensor:
        return nn.functional.cross_entropy(model(x_adv), y)

    moved = perturbed(bench.model, loss, 0.05)
    expected = loss(moved)
    expected.backward()
    found = bench.loss(AWP(method=inside, gamma=0.05)).value
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)
    assert found.item() > bench.value(inside) + 0.01
    found.backward()
    for own, other in zip(bench.model.parameters(), moved.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad, rtol=1e-7, atol=1e-10)


def test_loss_and_gradient_of_the_reference_code(bench) -> None:
    """AdvWeightPerturb of AWP a7acf5d (AT_AWP/utils_awp.py) with gamma 0.05 on this network in float64, at the
    adversaries of FGSM."""
    loss = bench.loss(AWP(method=FGSMAT(clean_weight=0.0), gamma=0.05)).value
    assert loss.item() == pytest.approx(8.868628756980007, rel=1e-12)
    loss.backward()
    norms = [bench.model[layer].weight.grad.norm().item() for layer in (0, 2)]
    assert norms == pytest.approx([1.9918165847930918, 2.3011709823737836], rel=1e-10)


def test_trades_is_perturbed_along_its_whole_loss(bench) -> None:
    """As trades_AWP/utils_awp.py: the proxy climbs CE(x) + beta * KL."""
    seen: list[Tensor] = []
    inside = TRADES(beta=3.0, inner=SHORT)
    hook = bench.model.register_forward_hook(lambda _, asked, __: seen.append(asked[0].detach()))
    bench.loss(inside)
    hook.remove()
    x, x_adv, y = bench.batch.x, seen[-1], bench.batch.y

    def loss(model: nn.Module) -> Tensor:
        clean, adversarial = model(x).log_softmax(1), model(x_adv).log_softmax(1)
        kl = nn.functional.kl_div(adversarial, clean.exp(), reduction="batchmean")
        return nn.functional.nll_loss(clean, y) + 3.0 * kl

    expected = loss(perturbed(bench.model, loss, 0.005)).item()
    assert bench.value(AWP(method=inside, gamma=0.005)) == pytest.approx(expected, rel=1e-9)


def test_biases_and_normalisation_rest(bn_cnn: nn.Module, images, labels) -> None:
    asked: list[dict[str, Tensor]] = []
    bn_cnn.register_forward_hook(lambda module, *_: asked.append(dict(module.named_parameters())))
    batch = Batch(images, labels, torch.arange(12))
    AWP(method=Natural(), gamma=0.1).loss(bn_cnn, batch, Linf(0.1), None, LATE, Noise.of(0, torch.arange(12)))
    first, second = asked
    for name, own in bn_cnn.named_parameters():
        assert first[name] is own
        if own.dim() > 1:
            assert (second[name] - own).norm().item() == pytest.approx(0.1 * own.norm().item(), rel=1e-4)
        else:
            assert second[name] is own


LATE = Progress(fraction=0.5, epoch=1, step=5, steps=10)


def test_running_statistics_are_those_of_one_pass(bn_cnn: nn.Module, images, labels) -> None:
    plain = copy.deepcopy(bn_cnn)
    batch, noise = Batch(images, labels, torch.arange(12)), Noise.of(0, torch.arange(12))
    buffers = list(bn_cnn.buffers())
    AWP(method=Natural(), gamma=0.0).loss(bn_cnn, batch, Linf(0.1), None, LATE, noise)
    Natural().loss(plain, batch, Linf(0.1), None, LATE, noise)
    assert all(torch.equal(*pair) for pair in zip(bn_cnn.buffers(), plain.buffers(), strict=True))
    assert all(one is other for one, other in zip(bn_cnn.buffers(), buffers, strict=True))


def test_nothing_is_perturbed_in_the_warm_up(bench) -> None:
    method = AWP(method=FGSMRSAT(), gamma=0.2, warmup=0.5)
    early, late = (Progress(fraction, 0, 0, 10) for fraction in (0.49, 0.5))
    assert bench.value(method, progress=early) == bench.value(FGSMRSAT())
    assert bench.value(method, progress=late) == bench.value(AWP(method=FGSMRSAT(), gamma=0.2))


def test_weights_come_back_with_their_bits(tmp_path: Path) -> None:
    """T16: a training with next to no learning rate leaves every weight as it was, also with batches in parts."""
    part = Digits().load("train").images[:60], Digits().load("train").labels[:60]
    recipe = Recipe(
        method=AWP(method=FGSMRSAT(), gamma=0.3),
        threat=Linf(0.1),
        data=Tensors(part, part, tuple("0123456789")),
        model=WongCNN(),
        optimizer=SGD(lr=1e-30, momentum=0.9, weight_decay=5e-4),
        schedule=Constant(),
        epochs=1,
        batch_size=20,
        accumulate=2,
        holdout=20,
        precision="float32",
        channels_last=False,
        compile=False,
    )
    trained = train(recipe, tmp_path / "run", device="cpu", progress=False).load("last")
    fresh = recipe.model.build((1, 8, 8), 10, recipe.seed)
    assert all(torch.equal(*pair) for pair in zip(trained.parameters(), fresh.parameters(), strict=True))


class Interrupted(Exception):
    pass


class Second(Natural):
    """Fails the second time that it is asked."""

    asked = 0

    def loss(self, *arguments: Any) -> Loss:
        Second.asked += 1
        if Second.asked == 2:
            raise Interrupted
        return super().loss(*arguments)


def test_weights_come_back_after_an_exception(bench) -> None:
    before = [(p, p.detach().clone()) for p in bench.model.parameters()]
    with pytest.raises(Interrupted):
        bench.loss(AWP(method=Second(), gamma=0.5))
    after = list(bench.model.parameters())
    assert all(own is now and torch.equal(value, now) for (own, value), now in zip(before, after, strict=True))


def test_it_composes_with_itself_and_others(bench) -> None:
    twice = AWP(method=AWP(method=PGDAT(inner=SHORT), gamma=0.05), gamma=0.05)
    assert bench.value(twice) > bench.value(AWP(method=PGDAT(inner=SHORT), gamma=0.05))


class Remembers(Natural):
    """Keeps count of its losses, and logs it."""

    def init(self, model: nn.Module, task: object) -> nn.Module:
        state = nn.Module()
        state.register_buffer("count", torch.zeros(()))
        return state

    def loss(self, *arguments: Any) -> Loss:
        count = arguments[3].get_buffer("count").add_(1)
        return Loss(super().loss(*arguments).value, {"count": count.clone()})


def test_a_method_remembers_one_of_the_two_passes(bench) -> None:
    method = AWP(method=Remembers())
    state = method.init(bench.model, None)
    for turn in (1, 2):
        loss = method.loss(bench.model, bench.batch, bench.threat, state, LATE, bench.noise)
        assert loss.parts["count"] == state.get_buffer("count") == turn


def test_a_tape_hands_out_the_searches_from_the_same_inputs(bench) -> None:
    x, tape = bench.batch.x, Tape()

    def searched(start: Tensor) -> Tensor:
        return run(SHORT, bench.threat, bench.model, start, bench.batch.y, bench.noise).x_adv

    with tape.recording():
        first, second = searched(x), searched(x)
    with tape.replaying():
        assert searched(x) is first
        assert searched(x.flip(0)) is not second  # other inputs: run
        assert searched(x.clone()) is second
        assert searched(x) is not first  # the tape is at its end
    assert searched(x) is not first


@pytest.mark.parametrize(
    ("options", "told"), [({"gamma": -1.0}, "gamma is -1"), ({"warmup": 1.0}, r"warmup is 1.*in \[0, 1\)")]
)
def test_settings_that_make_no_sense_are_refused(options: dict[str, float], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        AWP(**options)


def test_prices() -> None:
    assert AWP().passes == 12  # AT-AWP: k + 2
    assert AWP(method=TRADES()).passes == pytest.approx(2 * (12 + 1 / 3) - 10)
    assert AWP(method=AWP()).passes == 14


SHARED = """
import sys
import torch
from torch import nn
from holdfast import processes
from holdfast.attacks import PGD
from holdfast.methods import AWP, METHODS, FGSMAT, FGSMRSAT, PGDAT, TRADES, Batch, Loss, Natural, Progress, Task
from holdfast.noise import Noise
from holdfast.testing.subjects import CLASSES, batch_norm_network, inputs, metered
from holdfast.threat import Linf

group = processes.processes("cpu")
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
x, y, index = torch.rand(8, 6), torch.arange(8) % 3, torch.arange(8)
mine = slice(group.rank, None, group.world)
batch = Batch(x[mine], y[mine], index[mine])
method = AWP(method=PGDAT(inner=PGD(steps=2)), gamma=0.2)
loss = method.loss(model, batch, Linf(0.1), None, Progress(0.5, 0, 1, 2), Noise.of(0, batch.index))
loss.value.backward()
gradient = torch.cat([p.grad.flatten() for p in model.parameters()]) / group.world
group.sum(gradient)
if group.first:
    torch.save(gradient, sys.argv[1])
processes.finish(0)
"""


def test_processes_climb_together(tmp_path: Path) -> None:
    (tmp_path / "shared.py").write_text(SHARED)
    found = []
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for name, launcher in (("one", []), ("two", torchrun)):
        command = [sys.executable, *launcher, str(tmp_path / "shared.py"), str(tmp_path / name)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        found.append(torch.load(tmp_path / name))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_can_be_wrapped(name: str) -> None:
    """Around it with gamma 0 AWP has its loss, moves its state and the running statistics alike, and says its price."""
    inside, shape = METHODS[name](), (2, 4, 5)
    x = inputs(Linf(0.1), 8, shape)
    batch = Batch(x, torch.arange(8) % CLASSES, torch.arange(8))
    found = []
    for method in (inside, AWP(method=inside, gamma=0.0)):
        model = batch_norm_network(shape)
        with torch.random.fork_rng(devices=[]):
            state = method.init(model, Task(CLASSES, 8, 8, shape))
        with metered(model) as meter:
            loss = method.loss(model, batch, Linf(0.1), state, LATE, Noise.of(0, batch.index))
            loss.value.backward()
        assert meter.passes(8) == pytest.approx(method.passes)
        buffers = [*model.buffers(), *([] if state is None else state.buffers())]
        found.append([loss.value.detach(), *(p.grad for p in model.parameters()), *buffers])
    for plain, wrapped in zip(*found, strict=True):
        torch.testing.assert_close(wrapped, plain, rtol=1e-5, atol=1e-6)
