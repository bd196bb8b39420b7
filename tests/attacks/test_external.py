"""Foreign attacks: lent a model, judged like our own, and cleaned up after."""

import random
import warnings
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from holdfast.attacks import External, run
from holdfast.data import ImageSet
from holdfast.errors import InvalidInput
from holdfast.evaluation import evaluate
from holdfast.evaluation.examples import Counted
from holdfast.evaluation.protocols import Protocol
from holdfast.noise import Noise
from holdfast.testing import check_attack
from holdfast.threat import L2, Linf

THREAT = Linf(0.1)


def one_step(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """FGSM as foreign code writes it."""
    x.requires_grad_()
    nn.functional.cross_entropy(model(x), y, reduction="sum").backward()
    assert x.grad is not None
    return (x + eps * x.grad.sign()).clamp(0, 1)


def noisy(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """A step from a random start, from each of the three generators."""
    start = x + eps * (torch.rand(x.shape) + random.random() + float(np.random.rand()) - 1.5)  # noqa: NPY002
    return one_step(model, start.clamp(0, 1), y, eps)


def searched(attack: External, model: Any, images: Tensor, labels: Tensor) -> Tensor:
    return run(attack, THREAT, model, images, labels, Noise.of(2, torch.arange(len(images)))).x_adv


def test_laws() -> None:
    check_attack(External(one_step, "step"), threats=[THREAT], random=False)
    check_attack(External(one_step, "step"), threats=[L2(0.5)], random=False)
    check_attack(External(noisy, "noisy", alone=True), threats=[THREAT], random=True)


def test_it_does_what_the_function_does(cnn: nn.Module, images: Tensor, labels: Tensor) -> None:
    found = searched(External(one_step, "step"), cnn, images, labels)
    assert torch.equal(found, one_step(cnn, images.clone(), labels, THREAT.eps))


def test_the_world_is_as_it_was(bn_cnn: nn.Module, images: Tensor, labels: Tensor) -> None:
    def careless(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
        assert not model.training
        model.train()
        model(x)  # moves the running statistics
        loss = nn.functional.cross_entropy(model(x.requires_grad_()), y)
        loss.backward()
        assert all(parameter.grad is None for parameter in model.parameters())
        model.zero_grad()
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002
        random.seed(0)
        with torch.no_grad():
            return x.add_(0.5).clamp_(0, 1)  # in place, and too far

    for parameter in bn_cnn.parameters():
        parameter.grad = torch.ones_like(parameter)
    bn_cnn.requires_grad_(False)
    bn_cnn[0].weight.requires_grad_(True)
    kept, x = {name: value.clone() for name, value in bn_cnn.state_dict().items()}, images.clone()
    plain, numbers, own = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    for model in (bn_cnn.train(), Counted(bn_cnn)):
        found = searched(External(careless, "careless"), model, images, labels)
        assert THREAT.contains(images, found).all()
    assert all(module.training for module in bn_cnn.modules())
    assert all(torch.equal(value, kept[name]) for name, value in bn_cnn.state_dict().items())
    assert all((parameter.grad == 1).all() for parameter in bn_cnn.parameters())
    assert [p.requires_grad for p in bn_cnn.parameters()] == [True] + [False] * 9
    assert torch.equal(images, x)
    assert random.getstate() == plain
    assert (np.random.get_state()[1] == numbers).all()  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), own)


def test_the_world_is_as_it_was_after_an_error(cnn: nn.Module, images: Tensor, labels: Tensor) -> None:
    def failing(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
        torch.manual_seed(0)
        raise RuntimeError("out of ideas")

    cnn.train()
    with pytest.raises(RuntimeError, match="out of ideas"):
        searched(External(failing, "failing"), cnn, images, labels)
    assert all(parameter.requires_grad for parameter in cnn.parameters())
    assert cnn.training


def test_random_numbers_belong_to_the_rows(cnn: nn.Module, images: Tensor, labels: Tensor) -> None:
    together, alone = External(noisy, "noisy"), External(noisy, "noisy", alone=True)
    first = searched(together, cnn, images, labels)
    torch.rand(3)
    assert torch.equal(searched(together, cnn, images, labels), first)
    some = Noise.of(2, torch.arange(5))
    part = run(together, THREAT, cnn, images[:5], labels[:5], some).x_adv
    assert not torch.equal(part, first[:5]), "a batch of its own; the docstring warns of it"
    part = run(alone, THREAT, cnn, images[:5], labels[:5], some).x_adv
    assert torch.allclose(part, searched(alone, cnn, images, labels)[:5])
    assert not torch.allclose(part[0] - images[0], part[1] - images[1])


@pytest.fixture(autouse=True)
def _generator() -> Any:
    """One test moves torch's generator on purpose, and puts it back."""
    before = torch.get_rng_state()
    yield
    torch.set_rng_state(before)


def test_candidates_outside_the_ball_are_projected(cnn: nn.Module, images: Tensor, labels: Tensor) -> None:
    def far(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
        return 1.0 - x

    found = searched(External(far, "far"), cnn, images, labels)
    assert torch.equal(found, THREAT.project(images, 1.0 - images))


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (lambda x: 255 * x, r"values in \[0, 255\], outside"),
        (lambda x: x * torch.nan, "values in"),
        (lambda x: x[:1], r"returned \(1, 2, 6, 6\); it must return x_adv, \(12, 2, 6, 6\)"),
        (lambda x: (x, True), "returned tuple"),
    ],
)
def test_results_that_make_no_sense_are_refused(
    cnn: nn.Module, images: Tensor, labels: Tensor, result: Any, told: str
) -> None:
    with pytest.raises(InvalidInput, match=told):
        searched(External(lambda model, x, y, eps: result(x), "odd"), cnn, images, labels)


def test_the_record_identifies_the_function() -> None:
    assert repr(External(one_step, "a")) == repr(External(one_step, "a"))
    assert "0x" not in repr(External(one_step, "a"))
    assert External(one_step, "a").source != External(noisy, "a").source
    assert External(torch.add, "built-in").source == ""  # type: ignore[arg-type]
    assert External(one_step, "a", restarts=3).name == "ax3"
    assert not External(one_step, "a").gradient_free
    assert External(noisy, "a", gradient_free=True).gradient_free
    with pytest.raises(InvalidInput, match="needs a label"):
        External(one_step, "")


def library(name: str) -> ModuleType:
    """Another library, if it is installed; what it warns of at import is its own affair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, reason=f"{name} is not installed")  # type: ignore[no-any-return]


def robust(model: nn.Module, images: Tensor, attack: External, epsilon: float) -> float:
    """Robust accuracy of a model on what it gets right."""
    split = ImageSet(images, model(images).argmax(dim=1), tuple("abcde"), "synthetic/test")
    protocol = Protocol("foreign", "1", (attack,))
    found = evaluate(model, split, Linf(epsilon), protocol, with_curves=False, gallery=0, progress=False)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert found.passes[attack.name].backward > 0
    return found.verdicts.robust_accuracy


def test_foolbox(cnn: nn.Module, images: Tensor) -> None:
    foolbox = library("foolbox")

    def pgd(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
        bounded = foolbox.PyTorchModel(model, bounds=(0, 1), device=x.device)
        return foolbox.attacks.LinfPGD(rel_stepsize=0.25, steps=10)(bounded, x, y, epsilons=eps)[1]

    def minimum(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
        bounded = foolbox.PyTorchModel(model, bounds=(0, 1), device=x.device)
        return foolbox.attacks.LInfFMNAttack(steps=50)(bounded, x, y, epsilons=None)[1]

    for function in (pgd, minimum):
        assert robust(cnn.eval(), images, External(function, "foolbox"), 0.3) < 0.2
        assert robust(cnn.eval(), images, External(function, "foolbox"), 0.001) > 0.8


def test_torchattacks(cnn: nn.Module, images: Tensor) -> None:
    torchattacks = library("torchattacks")

    def pgd(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
        return torchattacks.PGD(model, eps=eps, alpha=eps / 4, steps=10)(x, y)

    assert robust(cnn.eval(), images, External(pgd, "torchattacks"), 0.3) < 0.2


def test_art(cnn: nn.Module, images: Tensor) -> None:
    library("art")
    estimators, evasion = library("art.estimators.classification"), library("art.attacks.evasion")

    def pgd(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
        loss = nn.CrossEntropyLoss()
        classifier = estimators.PyTorchClassifier(model, loss, tuple(x.shape[1:]), nb_classes=5, clip_values=(0, 1))
        attack = evasion.ProjectedGradientDescent(classifier, eps=eps, eps_step=eps / 4, max_iter=10, verbose=False)
        return torch.from_numpy(attack.generate(x.numpy(), y.numpy()))

    assert robust(cnn.eval(), images, External(pgd, "art"), 0.3) < 0.2
