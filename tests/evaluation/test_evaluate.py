import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from holdfast.attacks import APGD, FAB, FGSM, NFGSM, PGD, SPSA, Attack, Square, State
from holdfast.data import ImageSet
from holdfast.errors import CheckpointError, InvalidInput, ThreatModelViolation
from holdfast.evaluation import Protocol, evaluate, protocol
from holdfast.evaluation.packing import PackedSearch
from holdfast.results import Evaluation, Outcome
from holdfast.threat import L1, L2, Linf, ThreatModel

EPS = 0.05  # of the closed form in conftest.py

THREAT = Linf(EPS)


def run(model: nn.Module, images: ImageSet, name: str = "quick", **options: object) -> Evaluation:
    settings: dict[str, object] = {"with_curves": False, "progress": False, **options}
    return evaluate(model, images, THREAT, protocol(name, THREAT), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["quick", "cascade"])
def test_verdicts_on_a_linear_model_are_the_closed_form(
    model: nn.Module, images: ImageSet, robust: Tensor, name: str
) -> None:
    verdicts = run(model, images, name).verdicts
    assert 0.2 < robust.float().mean() < 0.8, "the fixture must have both outcomes"
    np.testing.assert_array_equal(verdicts.robust, robust.numpy())
    np.testing.assert_array_equal(verdicts.correct, (model(images.images).argmax(dim=1) == images.labels).numpy())


def test_verdicts_do_not_depend_on_the_batch_size(model: nn.Module, images: ImageSet) -> None:
    whole = run(model, images, "cascade", batch_size=256, n=24).verdicts
    for batch_size in (2, 7):
        assert run(model, images, "cascade", batch_size=batch_size, n=24).verdicts == whole


def test_batches_that_do_not_fit_are_halved(model: nn.Module, images: ImageSet) -> None:
    asked: list[int] = []

    class Small(nn.Module):
        """On a device with memory for 20 rows."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: Tensor) -> Tensor:
            asked.append(len(x))
            if len(x) > 20:
                raise torch.OutOfMemoryError("20 rows")
            logits: Tensor = self.inner(x)
            return logits

    options = {"n": 20, "with_curves": True}
    whole, found = run(model, images, "pgd", **options), run(Small(), images, "pgd", **options)
    assert max(asked) > 20
    assert found.verdicts == whole.verdicts
    assert found.curves == whole.curves


def test_an_evaluation_of_fewer_examples_is_a_part_of_the_whole(model: nn.Module, images: ImageSet) -> None:
    whole, part = run(model, images).verdicts, run(model, images, n=25).verdicts
    np.testing.assert_array_equal(part.outcome, whole.outcome[:25])
    np.testing.assert_array_equal(part.distance, whole.distance[:25])


def test_an_attack_outside_its_threat_model_is_found_out(model: nn.Module, images: ImageSet) -> None:
    with pytest.raises(ThreatModelViolation, match=r"n-fgsm.*Linf distance.*allowed are 0.05"):
        evaluate(model, images, THREAT, Protocol("wide", "1", (NFGSM(),)), progress=False)


def test_a_model_with_more_logits_than_classes_is_refused_before_the_attacks(images: ImageSet) -> None:
    with pytest.raises(InvalidInput, match=r"\(60, 6\) for 60 inputs.*5 classes"):
        run(nn.Linear(20, 6), images)


def test_without_a_radius_nothing_falls(model: nn.Module, images: ImageSet) -> None:
    threat = Linf(0.0)
    found = evaluate(model, images, threat, protocol("quick", threat), progress=False)
    assert found.verdicts.robust_accuracy == found.verdicts.clean_accuracy < 1
    assert found.curves == ()


def test_a_threat_model_of_the_users_own_is_measured(model: nn.Module, images: ImageSet, robust: Tensor) -> None:
    class Mine(Linf):
        norm = "mine"

    threat = Mine(EPS)
    found = evaluate(model, images, threat, protocol("quick", Linf(EPS)), progress=False)
    np.testing.assert_array_equal(found.verdicts.robust, robust.numpy())


class Partial(nn.Module):
    """Answers the inputs that it knows; elsewhere the logit of the class that argmax names is no number."""

    def __init__(self, inner: nn.Module, known: Tensor) -> None:
        super().__init__()
        self.inner = inner
        self.known = known

    def forward(self, x: Tensor) -> Tensor:
        seen = (x.detach()[:, None] == self.known).all(dim=2).any(dim=1)
        logits: Tensor = self.inner(x)
        broken = logits.scatter(1, logits.argmax(dim=1, keepdim=True), torch.nan)
        return torch.where(seen[:, None], logits, broken)


@pytest.mark.parametrize(
    "attack", [FGSM(), SPSA(steps=3, samples=4), FAB(steps=3), APGD(steps=3)], ids=lambda a: a.name
)
def test_answers_that_are_no_numbers_end_no_evaluation(model: nn.Module, images: ImageSet, attack: Attack[Any]) -> None:
    found = evaluate(
        Partial(model, images.images), images, THREAT, Protocol("one", "1", (attack,)), n=8, progress=False
    )
    assert found.curves
    assert 0 < found.verdicts.clean_accuracy < 1


class Boaster(FGSM):
    """Claims success everywhere, and moves nothing."""

    def step(self, threat, model, state):  # type: ignore[no-untyped-def]
        done = super().step(threat, model, state)
        done.success = torch.ones_like(done.success)
        done.x_adv = done.x
        return done


def test_no_claim_of_an_attack_is_believed(model: nn.Module, images: ImageSet) -> None:
    verdicts = evaluate(model, images, THREAT, Protocol("boast", "1", (Boaster(),)), progress=False).verdicts
    assert verdicts.robust_accuracy == verdicts.clean_accuracy
    assert not (verdicts.outcome == Outcome.BROKEN).any()


def test_the_model_comes_back_as_it_was(images: ImageSet, model: nn.Module) -> None:
    network = nn.Sequential(nn.BatchNorm1d(20), nn.Dropout(0.5), model)
    network.train()
    network[1].eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    found = run(network, images, n=10).findings
    assert [finding.kind for finding in found] == ["train_mode"]
    assert network.training
    assert not network[1].training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


class Stop(Exception):
    """Stands for a kill."""


def test_an_interrupted_evaluation_goes_on(
    model: nn.Module, images: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(model, images, "pgd", batch_size=8, folder=tmp_path / "whole")
    from holdfast.results import VerdictLog

    record, calls = VerdictLog.record, 0

    def failing(self: VerdictLog, *columns: object) -> None:
        nonlocal calls
        calls += 1
        if calls % 3 == 0:
            raise Stop
        record(self, *columns)  # type: ignore[arg-type]

    monkeypatch.setattr(VerdictLog, "record", failing)
    stops = 0
    while True:
        try:
            again = run(model, images, "pgd", batch_size=8, folder=tmp_path / "again")
            break
        except Stop:
            stops += 1
    assert stops >= 3
    assert again.verdicts == whole.verdicts
    assert again.gallery == whole.gallery
    assert Evaluation.load(tmp_path / "again").verdicts == whole.verdicts


KILLED = """
import sys, time
import torch
from pathlib import Path
from holdfast.data import Digits
from holdfast.evaluation import evaluate, protocol
from holdfast.models import WongCNN
from holdfast.threat import Linf

images = Digits().load("test")
model = WongCNN().build(images.shape, 10, 0)
threat = Linf(0.005)
print("ready", flush=True)
evaluate(model, images, threat, protocol("pgd", threat), n=120, batch_size=16, folder=Path(sys.argv[1]),
         with_curves=False, progress=False)
"""


def test_a_killed_evaluation_ends_with_the_same_verdicts(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for folder, kills in ((tmp_path / "whole", 0), (tmp_path / "killed", 2)):
        for _ in range(kills):
            process = subprocess.Popen(
                [sys.executable, "-c", KILLED, str(folder)], env=environment, stdout=subprocess.PIPE
            )
            assert process.stdout is not None
            process.stdout.readline()
            log = folder / "verdicts.jsonl"
            # Clean predictions are some 6,000 bytes at once; verdicts follow.
            size, deadline = log.stat().st_size + 400 if log.exists() else 6000, time.time() + 60
            while process.poll() is None and (not log.exists() or log.stat().st_size <= size):
                assert time.time() < deadline
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()
            assert not (folder / "evaluation.json").exists(), "the kill came after the end; lower the threshold"
        subprocess.run([sys.executable, "-c", KILLED, str(folder)], env=environment, check=True, timeout=120)
    whole, killed = (Evaluation.load(tmp_path / name) for name in ("whole", "killed"))
    assert killed.verdicts == whole.verdicts
    assert killed.gallery == whole.gallery


def test_another_evaluation_is_not_mixed_into_an_old_folder(model: nn.Module, images: ImageSet, tmp_path: Path) -> None:
    run(model, images, folder=tmp_path)
    run(model, images, folder=tmp_path)  # the same again is the same
    with pytest.raises(CheckpointError, match="seed was 0, is 1"):
        run(model, images, folder=tmp_path, seed=1)
    with pytest.raises(CheckpointError, match="threat was"):
        evaluate(model, images, L2(0.1), protocol("quick", L2(0.1)), folder=tmp_path)
    with pytest.raises(CheckpointError, match="protocol was"):
        run(model, images, "pgd", folder=tmp_path)
    with pytest.raises(CheckpointError, match="data was"):
        run(model, images.subset(range(59)), folder=tmp_path)
    model.weight.data += 1e-6
    with pytest.raises(CheckpointError, match="weights was"):
        run(model, images, folder=tmp_path)


def test_curves_fall_and_agree_with_the_verdicts(model: nn.Module, images: ImageSet, robust: Tensor) -> None:
    evaluation = run(model, images, with_curves=True)
    eps, steps = evaluation.curves
    assert list(eps.accuracy) == sorted(eps.accuracy, reverse=True)
    assert eps.correct[0] == evaluation.verdicts.clean.count
    assert eps.correct[eps.x.index(EPS)] == int(robust.sum())
    assert eps.x[-1] == 0.5
    assert list(steps.accuracy) == sorted(steps.accuracy, reverse=True)
    assert 0 <= steps.correct[-1] - int(robust.sum()) <= 2  # PGD misses little on a linear model


@pytest.mark.parametrize("threat", [Linf(EPS), L2(0.1), L1(0.1)], ids=str)
def test_the_curve_over_eps_is_that_of_the_closed_form(model: nn.Module, images: ImageSet, threat: ThreatModel) -> None:
    """On a linear model an example stands up to its margin over the dual norm; the box is far here."""
    weight, order = model.weight.detach(), {Linf: 1, L2: 2, L1: torch.inf}[type(threat)]
    towards = weight[images.labels][:, None] - weight[None]
    gap = torch.linalg.vecdot(towards, images.images[:, None])
    own = nn.functional.one_hot(images.labels, len(images.classes)).bool()
    nearest = (gap / torch.linalg.vector_norm(towards, order, dim=2)).masked_fill(own, torch.inf).amin(dim=1)
    evaluation = evaluate(model, images, threat, protocol("quick", threat), progress=False)
    drawn = evaluation.curves[0]
    assert len(evaluation.curves) == (1 if isinstance(threat, L1) else 2)  # PGD's steps say nothing in L1
    for eps, correct in zip(drawn.x, drawn.correct, strict=True):
        expected = int((nearest > eps).sum())
        if eps <= 3 * threat.eps:  # the last in Linf meets the box
            assert expected <= correct <= expected + 1, eps


def test_what_attacks_found_counts_in_the_curve(model: nn.Module, images: ImageSet) -> None:
    """Of a model whose gradients lead nowhere FMN learns nothing; the protocol's adversaries are in the curve."""

    class Stairs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.inner((x * 50).round() / 50)
            return logits

    evaluation = evaluate(Stairs(), images, THREAT, Protocol("t", "1", (Square(queries=50),)), progress=False)
    drawn, verdicts = evaluation.curves[0], evaluation.verdicts
    assert verdicts.worst_case.count < verdicts.clean.count
    assert drawn.correct[drawn.x.index(EPS)] == drawn.correct[-1] == verdicts.worst_case.count
    assert drawn.correct[0] == verdicts.clean.count


def test_an_interrupted_curve_goes_on(
    model: nn.Module, images: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the attacks behind the curves broke is kept on disk, attack by attack."""
    whole = run(model, images, with_curves=True)
    begun: list[str] = []

    class Watched(PackedSearch[State]):
        def run(self, waiting: Sequence[int]) -> None:
            begun.append(self.attack.name)
            if len(begun) == 3:
                raise Stop
            super().run(waiting)

    monkeypatch.setattr("holdfast.evaluation.curves.PackedSearch", Watched)
    with pytest.raises(Stop):
        run(model, images, with_curves=True, folder=tmp_path)
    assert run(model, images, with_curves=True, folder=tmp_path).curves == whole.curves
    assert len(begun) == 4
    assert begun[2] == begun[3], "only what was interrupted is begun anew"


def test_passes_are_counted(model: nn.Module, images: ImageSet) -> None:
    steps = 5
    suite = Protocol("one", "1", (PGD(steps=steps, step_size=0.01),))
    evaluation = evaluate(model, images, THREAT, suite, with_curves=False, progress=False)
    right = evaluation.verdicts.clean.count
    (passes,) = evaluation.passes.values()
    assert passes.backward == steps * right
    assert passes.forward == (steps + 1) * right  # the last point is shown to the judge alone


def test_the_result_is_for_machines_too(model: nn.Module, images: ImageSet) -> None:
    evaluation = run(model, images)
    told = json.loads(json.dumps(evaluation.to_json()))
    assert told["protocol"] == {"name": "quick", "version": "1"} or "quick" in str(told["protocol"])
    assert set(evaluation.attacks) == {"apgd-ce", "apgd-t"}
    assert "target_classes=9" in evaluation.attacks["apgd-t"]


@pytest.mark.parametrize("n", [0, 61])
def test_n_is_within_the_split(model: nn.Module, images: ImageSet, n: int) -> None:
    with pytest.raises(InvalidInput, match=f"n is {n}, but synthetic/test has 60 examples"):
        run(model, images, n=n)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_holds_an_example(model: nn.Module, images: ImageSet, batch_size: int) -> None:
    with pytest.raises(InvalidInput, match=f"batch_size is {batch_size}, but a batch holds at least one"):
        run(model, images, batch_size=batch_size)


def test_a_model_must_give_a_logit_for_each_class(images: ImageSet) -> None:
    with pytest.raises(InvalidInput, match=r"\(60, 4\).*\[60, 5\]"):
        run(nn.Linear(20, 4), images)


def test_logits_must_be_finite(model: nn.Module, images: ImageSet) -> None:
    model.bias.data[0] = torch.nan
    with pytest.raises(InvalidInput, match="not finite"):
        run(model, images)


def test_unknown_protocols_are_refused_with_the_nearest() -> None:
    with pytest.raises(InvalidInput, match="did you mean 'quick'"):
        protocol("quik", THREAT)


def test_attacks_of_a_protocol_need_names_of_their_own() -> None:
    with pytest.raises(InvalidInput, match="several attacks named 'fgsm'"):
        Protocol("twice", "1", (FGSM(), FGSM()))
