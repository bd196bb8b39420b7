"""A training step: the trainer's own, beside the bare passes that its algorithm needs and the peers' trainers."""

import itertools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from benchmarks.harness import Contestant, Measured, Record, clock, contest, ratio, table, throughput
from benchmarks.speed.subjects import SUBJECTS
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import peers
from holdfast.data import EpochLoader
from holdfast.processes import processes
from holdfast.recipe import Recipe
from holdfast.speed import PLAIN as PLAIN_PASSES
from holdfast.speed import Passes, StandIn, adapt, autocast, laid_out
from holdfast.training.train import repeatable
from holdfast.training.trainer import Trainer
from holdfast.typing import Classifier

METHODS = {"fgsm_rs": "FGSM-RS", "pgd_at": "PGD-10", "trades": "TRADES-10", "atlas": "ATLAS"}
FLOOR, OURS, PLAIN = "bare passes", "holdfast", "holdfast, plain float32"
CHEAP_FLOOR = "bare passes, computed as holdfast's"

Step = Callable[[], object]


def plain(recipe: Recipe) -> Recipe:
    """The recipe with float32 passes as torch does them by default."""
    return replace(recipe, precision="float32", channels_last=False, compile=False)


@contextmanager
def trainer_steps(recipe: Recipe, device: str, folder: Path) -> Iterator[tuple[Step, Trainer]]:
    """A function that takes one more step of a training: the loader's batch, the step, the log; and its trainer."""
    trainer = Trainer(recipe, processes(device), folder, checkpoint_seconds=1e9, progress=False)
    trainer.begin(resume=False, tensorboard=False)

    def steps() -> Iterator[None]:
        for epoch in itertools.count():
            for x, y, index in trainer.loader.batches(epoch):
                yield trainer.take_step(epoch, x, y, index)

    under_way = steps()

    def step() -> None:
        with repeatable():  # as `train` does, but not around the others' steps
            next(under_way)

    try:
        yield step, trainer
    finally:
        trainer.journal.close()


@dataclass(frozen=True)
class Bare:
    """The passes of a method and nothing else: the gradients thrown away, no attack step, no noise.

    The search's passes are in train mode where the method's are (`batch_statistics`).

    Attributes:
        passes: how they are computed; plain float32 by default.
    """

    recipe: Recipe
    model: nn.Module
    optimizer: torch.optim.Optimizer
    x: Tensor
    y: Tensor
    passes: Passes = PLAIN_PASSES

    def __post_init__(self) -> None:
        adapt(self.model, self.passes)

    @cached_property
    def quick(self) -> StandIn:
        """Who is asked for input gradients, unless the passes are plain."""
        return StandIn(self.model, self.passes, self._by_batch)

    @property
    def _by_batch(self) -> bool:
        return bool(getattr(self.recipe.method, "batch_statistics", False))

    def search(self, passes: int) -> None:
        """Gradients of the loss with respect to the input."""
        asked: Classifier = self.model if self.passes.plain else self.quick
        self.model.train(self._by_batch)
        for _ in range(passes):
            x = self.x.detach().requires_grad_()
            torch.autograd.grad(functional.cross_entropy(asked(x), self.y), x)

    def update(self, *batches: tuple[Tensor, Tensor]) -> None:
        """The outer pass on each batch, and the optimizer's step."""
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        with autocast(self.passes, self.x.device):
            logits = [(self.model(laid_out(x, self.passes)), y) for x, y in batches]
        sum(functional.cross_entropy(z.float(), y) for z, y in logits).backward()
        self.optimizer.step()

    def adversarial(self) -> None:
        """ADV: k gradients, one update."""
        self.search(self.recipe.method.inner.budget)
        self.update((self.x, self.y))

    def predict(self) -> None:
        """The clean logits, in the search's mode."""
        self.model.train(self._by_batch)
        asked: Classifier = self.model if self.passes.plain else self.quick
        with torch.no_grad():
            asked(self.x)

    def trades(self) -> None:
        """The clean logits once, k gradients, and clean and adversarial batch in the update."""
        self.predict()
        self.search(self.recipe.method.inner.budget)
        self.update((self.x, self.y), (self.x, self.y))

    def atlas(self) -> None:
        """The adversary's gradient, that of the local component, the clean logits, and one batch in the update."""
        self.search(self.recipe.method.inner.budget + 1)
        self.predict()
        self.update((self.x, self.y))


FLOORS = {"fgsm_rs": Bare.adversarial, "pgd_at": Bare.adversarial, "trades": Bare.trades, "atlas": Bare.atlas}


def fresh(recipe: Recipe, device: str) -> tuple[nn.Module, torch.optim.Optimizer, Tensor, Tensor]:
    """A network of the recipe, its optimizer, and one batch without augmentation."""
    split = recipe.data.load("train")
    model = recipe.model.build(split.shape, len(split.classes), recipe.seed).to(device)
    x, y, _ = next(EpochLoader(split, recipe.batch_size, device, recipe.seed).batches(0))
    return model, recipe.optimizer.build(model), x, y


def contestants(
    recipe: Recipe, method: str, device: str, steps: int, folder: Path, stack: ExitStack
) -> tuple[list[Contestant], str]:
    """Everybody who can train this: the floor, ours in plain float32 and as the recipe has it, and the peers at hand.

    Returns:
        Them, and in words how the passes of ours are computed.
    """
    bare = Bare(recipe, *fresh(recipe, device))
    slow, _ = stack.enter_context(trainer_steps(plain(recipe), device, folder / "plain"))
    fast, trainer = stack.enter_context(trainer_steps(recipe, device, folder / "default"))
    cheap = Bare(recipe, *fresh(recipe, device), trainer.learner.trial.passes)
    entered: dict[str, Step] = {
        FLOOR: lambda: FLOORS[method](bare),
        PLAIN: slow,
        CHEAP_FLOOR: lambda: FLOORS[method](cheap),
        OURS: fast,
    }
    for name, make in peers.TRAINERS.items():
        step = make(method, recipe, *fresh(recipe, device))
        if step is not None:
            entered[name] = step

    def repeated(step: Step) -> Step:
        return lambda: [step() for _ in range(steps)] and None

    return [Contestant(name, repeated(step)) for name, step in entered.items()], _chosen(trainer)


def _chosen(trainer: Trainer) -> str:
    trial = trainer.learner.trial
    return f"{trial.passes}, by a trial of {trial.seconds:.0f} s"


def measure(device: str, short: bool, folder: Path) -> Measured:
    """All methods on all subjects."""
    for subject in SUBJECTS.values():
        for method in METHODS:
            quick = subject.data == "mnist" or method == "fgsm_rs"
            steps = 4 if quick else 1
            with tempfile.TemporaryDirectory() as runs, ExitStack() as stack:
                recipe = subject.recipe(method)
                # Compiling takes a minute a method, which the short form has not.
                recipe = replace(recipe, compile=False) if short else recipe
                entered, passes = contestants(recipe, method, device, steps, Path(runs), stack)
                times, _ = contest(entered, 2 if short else 7 if quick else 5, device, warmup=1 if short else 2)
            found = {"examples": steps * subject.batch_size, "clock": clock(device), "times": times, "passes": passes}
            yield f"{subject.data}/{method}", found


def cells(record: Record, name: str) -> str:
    """Examples a second, and the time over that of the bare passes."""
    if name not in record["times"]:
        return "-"
    over = ratio(record, name, FLOOR)
    return f"{throughput(record, name).median:.0f}, {over.text()}" if over and name != FLOOR else cells_of_floor(record)


def cells_of_floor(record: Record) -> str:
    return f"{throughput(record, FLOOR).median:.0f}"


def report(found: Record) -> list[str]:
    """The tables of the page."""
    lines = []
    for subject in SUBJECTS.values():
        records = {
            method: found[f"{subject.data}/{method}"] for method in METHODS if f"{subject.data}/{method}" in found
        }
        if not records:
            continue
        names = list(dict.fromkeys(name for record in records.values() for name in record["times"]))
        columns = [f"{subject.label}, batch {subject.batch_size}", *(METHODS[method] for method in records)]
        rows = [[name, *(cells(record, name) for record in records.values())] for name in names]
        gain = ["holdfast over MAIR"]
        for record in records.values():
            faster = ratio(record, "MAIR", OURS)
            gain.append(f"**{faster.text()}**" if faster else "-")
        passes = ["passes of `holdfast`", *(record["passes"] for record in records.values())]
        if all(CHEAP_FLOOR in record["times"] for record in records.values()):
            over = [ratio(record, OURS, CHEAP_FLOOR) for record in records.values()]
            rows.append(["holdfast's time over those", *(found.text() if found else "-" for found in over)])
        rows.append(passes)
        lines += [*table(columns, [*rows, gain] if any(cell != "-" for cell in gain[1:]) else rows), ""]
    return lines
