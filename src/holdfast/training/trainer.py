"""The training loop, and what happens before it, between its steps and between its epochs."""

from itertools import islice
from pathlib import Path
from typing import NoReturn

from torch import Tensor

from holdfast.data import EpochLoader, open_split
from holdfast.errors import InvalidInput, TrainingDiverged
from holdfast.methods import Progress, Task
from holdfast.processes import Processes
from holdfast.recipe import Recipe
from holdfast.threat import ThreatModel
from holdfast.training import record, stages, weights
from holdfast.training.checkpoint import Checkpoint, Checkpoints
from holdfast.training.journal import Journal
from holdfast.training.keeper import Keeper
from holdfast.training.learner import Learner
from holdfast.training.meter import Meter, Row
from holdfast.training.objective import parts
from holdfast.training.replays import Replays
from holdfast.training.run import CHECKPOINTS, METRICS, TENSORBOARD, TRACE
from holdfast.training.settle import told
from holdfast.training.validation import Validation
from holdfast.training.watch import Watch
from holdfast.typing import Images, Labels

READ_EVERY = 20  # steps between two looks at the losses: each look waits for the device
READ_FIRST = 3  # the step after which a new run is looked at first, so that it soon says how long it will take


class Trainer:
    """A training under way in one process.

    Args:
        recipe: what to train.
        processes: who trains.
        folder: where the run lies.
        checkpoint_seconds: time between checkpoints within an epoch.
        progress: talk to a person.

    Raises:
        InvalidInput: the recipe does not fit its data, or the processes cannot share its batches.
    """

    def __init__(
        self, recipe: Recipe, processes: Processes, folder: Path, checkpoint_seconds: float, progress: bool
    ) -> None:
        self.recipe, self.processes, self.folder = recipe, processes, folder
        training, held_out = open_split(recipe.data, "train").split_holdout(recipe.holdout, recipe.seed)
        _check(recipe, training.shape)
        order = recipe.batch_size, processes.device, recipe.seed, recipe.augment, processes.rank, processes.world
        self.loader = Replays(EpochLoader(training, *order), recipe.method.replays)
        self.per_epoch = self.loader.steps_per_epoch
        self.steps = recipe.steps(self.per_epoch)
        batch = min(recipe.batch_size, len(training))
        task = Task(len(training.classes), len(training), batch, training.shape)
        self.learner = Learner(recipe, task, self.steps, processes, record.settled(folder))
        self.objective, self.stages = self.learner.objective, self.learner.stages
        self.validation = Validation(recipe, held_out.load(), processes, self.learner.trial.passes)
        self.watch = Watch()
        self.meter = Meter(processes)
        self.journal = Journal(processes, self.steps, self.per_epoch, batch, progress)
        self.record = record.make(recipe, training, held_out, self.learner, processes.device, processes.world)
        self.checkpoints = Checkpoints(folder / CHECKPOINTS, record.identity(self.record))
        self.keeper = Keeper(folder, self.checkpoints, checkpoint_seconds, processes.first)
        self.step = 0
        self.setting: Row = {}

    def fit(self) -> None:
        """Train to the end, from wherever the run is."""
        while self.step < self.steps:
            epoch, start = divmod(self.step, self.per_epoch)
            self.journal.begin_epoch(epoch, start)
            self.stages.begin("data")
            # The last epoch may be a part of one.
            for x, y, index in islice(self.loader.batches(epoch, start), self.steps - self.step):
                self.take_step(epoch, x, y, index)
            if self.after_epoch(epoch):
                return
        self.journal.end("finished", self.step)
        if self.stages.total:
            self.journal.display.say(stages.told(self.stages.total))

    def take_step(self, epoch: int, x: Images, y: Labels, index: Tensor) -> None:
        """One optimizer step on a batch of the loader."""
        self.stages.begin("optimizer")
        threat, progress = self.prepare_step(epoch)
        for part in parts(x, y, index, self.recipe.accumulate, self.processes.rank, self.processes.world):
            with self.processes.gathering(self.objective, part.last):
                self.stages.begin("loss")
                loss = self.objective(part, threat, progress)  # the inner search is in here
                self.stages.begin("backward")
                loss.value.backward()
            self.meter.add(self.step, part.share, loss.parts)
        self.step += 1
        self.stages.begin("optimizer")
        self.learner.update(self.step)
        self.stages.begin("logging")
        self.after_step(epoch)
        self.stages.step()
        self.stages.begin("data")

    def prepare_step(self, epoch: int) -> tuple[ThreatModel, Progress]:
        """Set the learning rate, clear the gradients; the threat model and the progress of the step.

        Ramps are taken at the middle of the step, the mean of the schedule over it: neither the first step nor the last
        is spent at a learning rate of 0, and no step at an eps of 0.
        """
        middle = (self.step + 0.5) / self.steps
        threat, warmup = self.recipe.threat, self.recipe.eps_warmup
        if middle < warmup:
            threat = threat.scaled(middle / warmup)
        self.setting = {"lr": self.learner.set_rate(middle), "eps": threat.eps}
        self.learner.optimizer.zero_grad(set_to_none=True)
        return threat, Progress(self.step / self.steps, epoch, self.step, self.steps)

    def after_step(self, epoch: int) -> None:
        """Every few steps read the losses, and when it is time write a checkpoint."""
        self.journal.display.step()
        done = self.step % self.per_epoch
        # The last steps of an epoch are read, and saved, after it.
        if done and self.step < self.steps and (done % READ_EVERY == 0 or self.step == READ_FIRST):
            self.read_losses(epoch)
            if self.keeper.due(epoch_ends=False):
                self.save_checkpoint()

    def read_losses(self, epoch: int) -> None:
        """Log the steps since the last time; stop if one of them has no finite loss."""
        rows = self.meter.read()
        self.stages.read()
        for step, row in rows.items():
            if not abs(row["loss"]) < float("inf"):
                self.stop_diverged(f"the loss of step {step + 1} (epoch {epoch + 1}) is {row['loss']}")
        if rows:
            self.journal.steps(rows, epoch, self.step, self.setting)

    def after_epoch(self, epoch: int) -> bool:
        """Validate, log, watch and save; True if the training shall end here."""
        self.stages.begin("validation")
        self.read_losses(epoch)
        self.check_weights()
        self.processes.share_buffers(self.learner.model)
        self.learner.end_epoch(self.step, lambda: (x for x, _, _ in self.loader.once(epoch)))
        values = {**self.meter.epoch(), **self.stages.epoch(), **self.setting, **self.validate()}
        self.journal.epoch(epoch, self.step, values)
        if self.collapsed(epoch, values) and self.recipe.on_collapse == "stop":
            self.keeper.write_weights()
            self.journal.end("collapse", self.step)
            return True
        self.keeper.take(self.learner.evaluated, epoch, self.step, values)
        if self.keeper.due(epoch_ends=True) or (self.processes.first and self.step == self.steps):
            self.save_checkpoint()
        return False

    def validate(self) -> Row:
        """Accuracies on the held-out part; while eps warms up also under the training's eps, for the watch."""
        full, eps = self.recipe.threat, self.setting["eps"]
        found: Row = dict(vars(self.validation(self.learner.evaluated, full)))
        if eps < full.eps:
            reached = self.validation(self.learner.evaluated, full.scaled(eps / full.eps))
            found["robust_accuracy_at_training_eps"] = reached.robust_accuracy
        return found

    def collapsed(self, epoch: int, values: Row) -> bool:
        """Tell of catastrophic overfitting, if this epoch shows it."""
        reached = values.get("robust_accuracy_at_training_eps")
        robust = values["robust_accuracy"] if reached is None else reached
        collapse = self.watch.look(epoch, robust, values.get("adversary_accuracy"), warming=reached is not None)
        if collapse:
            kept = (
                f"best/ holds epoch {self.keeper.best['epoch'] + 1}, last/ holds epoch {epoch}, from before the fall."
            )
            stops = self.recipe.on_collapse == "stop"
            self.journal.collapse(collapse, self.step, f"Training stops here; {kept}" if stops else "Training goes on.")
        return collapse is not None

    def save_checkpoint(self) -> None:
        """Write everything that the next step depends on."""
        self.check_weights()
        self.journal.flush()
        state = {
            "learner": self.learner.state_dict(),
            "meter": self.meter.state_dict(),
            "watch": self.watch.state_dict(),
            "best": self.keeper.best,
            "journal": self.journal.state_dict(),
        }
        self.keeper.save(Checkpoint(self.step, weights.to_bytes(self.learner.model), state))
        self.journal.lap()

    def check_weights(self) -> None:
        """Refuse to save or to measure weights that are not finite."""
        if not weights.is_finite(self.learner.model):
            self.stop_diverged(f"after step {self.step} the weights are not finite")

    def stop_diverged(self, what: str) -> NoReturn:
        """End the run, its last checkpoint untouched."""
        self.keeper.write_weights()
        self.journal.end("diverged", self.step)
        kept = self.keeper.best and f", best/ holds epoch {self.keeper.best['epoch'] + 1}"
        raise TrainingDiverged(
            f"{what}: the training diverged. The last good checkpoint is kept in {self.folder / CHECKPOINTS}"
            f"{kept or ''}. Start a new run with a smaller learning rate (optimizer.lr is "
            f"{self.recipe.optimizer.lr:g}) or with a warm-up (schedule, eps_warmup)"
        )

    def begin(self, resume: bool, tensorboard: bool, profile: bool = False) -> None:
        """Write the record of a new run, or go on from the newest whole checkpoint."""
        if resume and (self.folder / record.NAME).exists():
            record.check_same(self.folder, record.read(self.folder), self.record)
            found = self.checkpoints.load(self.journal.display.say)
            if found is not None:
                self.restore(found)
        self.processes.wait()
        self.keeper.sweep(self.step)
        if self.processes.first and not (self.folder / record.NAME).exists():
            record.write(self.folder, self.recipe, self.record)
        self.journal.open(self.folder / METRICS, self.step, self.folder / TENSORBOARD if tensorboard else None)
        self.journal.display.say(self.first_line())
        self.journal.display.say(told(self.learner.trial))
        if profile and self.processes.first:
            self.stages.trace(self.folder / TRACE)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Be the run of a checkpoint."""
        self.step = checkpoint.step
        weights.from_bytes(self.learner.model, checkpoint.weights, checkpoint.place or self.folder)
        self.learner.load_state_dict(checkpoint.state["learner"])
        self.meter.load_state_dict(checkpoint.state["meter"])
        self.watch.load_state_dict(checkpoint.state["watch"])
        self.journal.load_state_dict(checkpoint.state["journal"])
        self.keeper.best = checkpoint.state["best"]

    def first_line(self) -> str:
        """What is about to be trained, where."""
        recipe, world = self.recipe, self.processes.world
        device = f"{self.processes.device}" + (f" x {world} processes" if world > 1 else "")
        start = f", going on from step {self.step}" if self.step else ""
        return (
            f"{type(recipe.method).__name__} against {recipe.threat}, {recipe.method.passes:g} passes a step, "
            f"on {device}: {recipe.model.label} of {self.learner.parameters:,} parameters, {recipe.data.name}, "
            f"{recipe.epochs:g} epochs of {self.per_epoch} steps of {recipe.batch_size} images{start}"
        )


def _check(recipe: Recipe, shape: tuple[int, ...]) -> None:
    threat = recipe.threat
    if threat.low > 0.0 or threat.high < 1.0:
        raise InvalidInput(
            f"the threat model's box [{threat.low:g}, {threat.high:g}] does not hold the data's inputs, which lie in "
            "[0, 1]; leave low and high out"
        )
    if recipe.channels_last is True and len(shape) != 3:
        raise InvalidInput(f"channels_last is for images [C, H, W], but the examples have shape {shape}; leave it out")
    if recipe.compile is True and not recipe.method.compilable:
        raise InvalidInput(
            f"{type(recipe.method).__name__} differentiates a gradient again, or asks for one inside the network; "
            "compiled passes cannot do that; leave out compile"
        )
