"""The peers' own trainers and attacks, each called the way its documentation calls it; absent ones are left out.

They are no dependency: install `benchmarks/requirements-peers.txt` with --no-deps into a folder of its own and put it
on PYTHONPATH. MAIR (github.com/Harry24k/MAIR, fcf0aba) is not among them: clone it and put it on PYTHONPATH too; it
imports torchvision, pandas and matplotlib, none of which takes part in a training step.
"""

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from holdfast.recipe import Recipe

Step = Callable[[], object]

# The names in tables, the packages and the modules.
PACKAGES = {
    "pyautoattack": ("pyautoattack", "pyautoattack"),
    "torchattacks": ("torchattacks", "torchattacks"),
    "foolbox": ("foolbox", "foolbox"),
    "ART": ("adversarial-robustness-toolbox", "art"),
    "MAIR": ("mair", "mair"),
}


def present(peer: str) -> bool:
    """Whether a peer can be imported."""
    return importlib.util.find_spec(PACKAGES[peer][1]) is not None


def found() -> dict[str, str]:
    """The version of each peer, "absent" for those that are left out."""
    versions = {}
    for peer, (package, _) in PACKAGES.items():
        try:
            versions[peer] = version(package) if present(peer) else "absent"
        except PackageNotFoundError:
            versions[peer] = "a checkout"
    return versions


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the bars, lines and warnings of packages that cannot be asked to be silent."""
    logging.getLogger("auto-attack").setLevel(logging.ERROR)
    silent = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
        warnings.simplefilter("ignore")
        yield


def _mair(
    method: str, recipe: Recipe, model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor
) -> Step | None:
    """MAIR's `fit` on a loader of one batch. Its one-step training is AT with one step of 1.25 eps."""
    if not present("MAIR") or method == "atlas":
        return None
    with _quiet():
        import mair
    eps, inner = recipe.threat.eps, recipe.method.inner
    wrapped = mair.RobModel(model, n_classes=10)
    if method == "trades":
        trainer = mair.TRADES(wrapped, eps=eps, alpha=inner.step_size * eps, steps=inner.steps, beta=recipe.method.beta)
    else:
        trainer = mair.AT(wrapped, eps=eps, alpha=inner.step_size * eps, steps=inner.budget)
    trainer.setup(optimizer=optimizer)

    def step() -> None:
        with _quiet():
            trainer.fit([(x, y)], n_epochs=1, record_type=None, save_type=None)

    return step


class _Whole(nn.Module):
    """A network as one module: ART takes the first layer's output of an nn.Sequential for its logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x)
        return logits


def _classifier(model: nn.Module, x: Tensor, optimizer: torch.optim.Optimizer | None = None) -> Any:
    from art.estimators.classification import PyTorchClassifier

    return PyTorchClassifier(
        _Whole(model),
        loss=nn.CrossEntropyLoss(),
        optimizer=optimizer,
        input_shape=tuple(x.shape[1:]),
        nb_classes=10,
        clip_values=(0.0, 1.0),
        device_type="gpu" if x.is_cuda else "cpu",
    )


def _art(
    method: str, recipe: Recipe, model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor
) -> Step | None:
    """ART's three trainers; its data are numpy arrays."""
    if not present("ART") or method == "atlas":
        return None
    with _quiet():
        from art.attacks.evasion import ProjectedGradientDescent
        from art.defences import trainer
    classifier = _classifier(model, x, optimizer)
    eps, inner, size = recipe.threat.eps, recipe.method.inner, len(x)
    images, labels = x.cpu().numpy(), np.eye(10, dtype=np.float32)[y.cpu().numpy()]
    if method == "fgsm_rs":
        made = trainer.AdversarialTrainerFBFPyTorch(classifier, eps=eps)
    elif method == "pgd_at":
        made = trainer.AdversarialTrainerMadryPGD(
            classifier, batch_size=size, eps=eps, eps_step=inner.step_size * eps, max_iter=inner.steps
        )
    else:
        attack = ProjectedGradientDescent(
            *(classifier,),
            eps=eps,
            eps_step=inner.step_size * eps,
            max_iter=inner.steps,
            num_random_init=1,
            batch_size=size,
            verbose=False,
        )
        made = trainer.AdversarialTrainerTRADESPyTorch(classifier, attack, beta=recipe.method.beta)

    def step() -> None:
        with _quiet():
            made.fit(images, labels, batch_size=size, nb_epochs=1)

    return step


Maker = Callable[[str, Recipe, nn.Module, torch.optim.Optimizer, Tensor, Tensor], Step | None]
TRAINERS: dict[str, Maker] = {"MAIR": _mair, "ART": _art}


Attack = Callable[[nn.Module, Tensor, Tensor, float], Tensor]  # model, x, y, eps to what the attack hands over


def _torchattacks_pgd(steps: int, share: float) -> Attack:
    import torchattacks

    return lambda model, x, y, eps: torchattacks.PGD(model, eps=eps, alpha=share * eps, steps=steps)(x, y)


def _foolbox_pgd(steps: int, share: float) -> Attack:
    import foolbox

    def attack(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
        bounded = foolbox.PyTorchModel(model, bounds=(0, 1), device=x.device)
        return foolbox.attacks.LinfPGD(abs_stepsize=share * eps, steps=steps)(bounded, x, y, epsilons=eps)[1]

    return attack


def _art_pgd(steps: int, share: float) -> Attack:
    from art.attacks.evasion import ProjectedGradientDescent

    def attack(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
        made = ProjectedGradientDescent(
            _classifier(model, x),
            eps=eps,
            eps_step=share * eps,
            max_iter=steps,
            num_random_init=1,
            batch_size=len(x),
            verbose=False,
        )
        return torch.from_numpy(made.generate(x.cpu().numpy(), y.cpu().numpy())).to(x.device)

    return attack


def _pyautoattack(names: tuple[str, ...], batch_size: int) -> Attack:
    from pyautoattack import AutoAttack

    def attack(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
        suite = AutoAttack(model, norm="Linf", eps=eps, seed=0, version="standard", device=str(x.device))
        suite.attacks_to_run = list(names)
        x_adv: Tensor = suite.run_standard_evaluation(x, y, batch_size=batch_size)[0]
        return x_adv

    return attack


def _torchattacks_autoattack(names: tuple[str, ...], batch_size: int) -> Attack:
    """Its sub-attacks with the 100 steps of the protocol, which it does not give them by itself."""
    import torchattacks

    def attack(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
        common = {"eps": eps, "seed": 0}
        made = {
            "apgd-ce": lambda: torchattacks.APGD(model, steps=100, **common),
            "apgd-t": lambda: torchattacks.APGDT(model, steps=100, n_classes=10, **common),
            "fab-t": lambda: torchattacks.FAB(model, steps=100, n_classes=10, multi_targeted=True, **common),
            "square": lambda: torchattacks.Square(model, n_queries=5000, **common),
        }
        parts = [made[name]() for name in names]
        suite = torchattacks.MultiAttack(parts) if len(parts) > 1 else parts[0]
        return torch.cat([suite(*part) for part in zip(x.split(batch_size), y.split(batch_size), strict=True)])

    return attack


PGDS = {"torchattacks": _torchattacks_pgd, "foolbox": _foolbox_pgd, "ART": _art_pgd}
SUITES = {"pyautoattack": _pyautoattack, "torchattacks, 100 steps": _torchattacks_autoattack}


def robust(attack: Attack, model: nn.Module, x: Tensor, y: Tensor, eps: float) -> list[bool]:
    """Which examples the model gets right both as they are and as the attack hands them over, by its own prediction."""
    with _quiet():
        x_adv = attack(model, x, y, eps)
    with torch.no_grad():
        return ((model(x_adv).argmax(1) == y) & (model(x).argmax(1) == y)).tolist()


def suites(all_of_them: bool = True) -> Iterator[tuple[str, Callable[[tuple[str, ...], int], Attack]]]:
    """The packages that have AutoAttack and are here; or the authors' alone, where the others would take long."""
    names = SUITES if all_of_them else ["pyautoattack"]
    return ((name, SUITES[name]) for name in names if present(name.partition(",")[0]))


def pgds() -> Iterator[tuple[str, Callable[[int, float], Attack]]]:
    """The packages that have PGD and are here."""
    return ((name, make) for name, make in PGDS.items() if present(name))
