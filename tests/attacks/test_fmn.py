"""FMN against closed forms: on a linear model the nearest adversary lies at margin / dual norm."""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from holdfast.attacks import FMN, run
from holdfast.data import ImageSet
from holdfast.errors import InvalidInput
from holdfast.evaluation.examples import Counted, Examples, Subject
from holdfast.evaluation.packing import Decision, PackedSearch
from holdfast.losses import margin
from holdfast.noise import Noise
from holdfast.testing import check_attack
from holdfast.threat import L1, L2, Linf, ThreatModel

COUNT, FEATURES = 12, 8
FAR = {"low": -100.0, "high": 100.0}
WIDE = (Linf(100.0, **FAR), L2(100.0, **FAR), L1(100.0, **FAR))
DUAL = {Linf: 1, L2: 2, L1: torch.inf}


@pytest.fixture
def model() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        layer = nn.Linear(FEATURES, 2).double()
    layer.weight.data = Noise.of(81, torch.arange(2)).normal((FEATURES,)).double()
    layer.bias.data = torch.zeros(2).double()
    return layer


@pytest.fixture
def x() -> Tensor:
    return Noise.of(82, torch.arange(COUNT)).uniform((FEATURES,), -2.0, 2.0).double()


def minimum(model: nn.Module, threat: ThreatModel, x: Tensor, y: Tensor) -> Tensor:
    """[N] the distance of the boundary between the two classes."""
    slope = torch.linalg.vector_norm(model.weight[0] - model.weight[1], ord=DUAL[type(threat)])
    return (margin(model(x), y) / slope).detach()


def searched(attack: FMN, threat: ThreatModel, model: nn.Module, x: Tensor, y: Tensor) -> Any:
    return run(attack, threat, model, x, y, Noise.of(83, torch.arange(len(x))))


@pytest.mark.parametrize("threat", WIDE, ids=lambda threat: threat.norm)
def test_it_finds_the_minimum_distance(model: nn.Module, x: Tensor, threat: ThreatModel) -> None:
    y = model(x).argmax(dim=1)
    # Its step is in widths of the box, here of length 200.
    found = searched(FMN(steps=300, step_size=0.01), threat, model, x, y)
    expected = minimum(model, threat, x, y)
    distance = threat.distance(x, found.x_adv)
    assert found.success.all()
    assert (margin(model(found.x_adv), y) <= 0).all()
    assert torch.equal(distance, found.distance)
    assert (distance >= expected - 1e-9).all()
    assert (distance <= 1.01 * expected + 1e-3).all()


def test_one_run_gives_the_curve_over_eps(model: nn.Module, x: Tensor) -> None:
    threat, y = Linf(100.0, **FAR), model(x).argmax(dim=1)
    expected = minimum(model, threat, x, y)
    distance = searched(FMN(steps=300, step_size=0.01), threat, model, x, y).distance
    radii = expected.sort().values[:-1] * 0.5 + expected.sort().values[1:] * 0.5
    counts = [int((distance > eps).sum()) for eps in radii]
    assert counts == [int((expected > eps).sum()) for eps in radii]
    assert len(set(counts)) == COUNT - 1


def test_the_packed_evaluator_reads_the_minimum_distances(model: nn.Module, x: Tensor) -> None:
    """Under a large eps the decisions' distances are the search's own, whatever shared a batch."""
    threat, attack = Linf(100.0, **FAR), FMN(steps=60, step_size=0.01)
    model, x = model.float(), (x / 4.0 + 0.5).float()
    y, counted = model(x).argmax(dim=1), Counted(model)
    examples = Examples(ImageSet(x, y, ("a", "b"), "synthetic/test"), torch.device("cpu"))
    decisions: list[Decision] = []
    subject = Subject(counted, examples, torch.zeros(COUNT, 0, dtype=torch.int64), 0, 5)
    PackedSearch(attack, threat, subject, decisions.extend).run(range(COUNT))
    found = {decision.example: decision.distance for decision in decisions}
    expected = searched(attack, threat, model, x, y).distance
    assert [found[i] for i in range(COUNT)] == pytest.approx(expected.tolist(), rel=1e-5)
    assert {decision.steps for decision in decisions} == {60}


def test_what_lies_beyond_eps_is_no_success(model: nn.Module, x: Tensor) -> None:
    y = model(x).argmax(dim=1)
    expected = minimum(model, WIDE[1], x, y)
    threat = L2(float(expected.median()) * 1.05, **FAR)
    patient = searched(FMN(steps=300, step_size=0.01), threat, model, x, y)
    hasty = searched(FMN(steps=300, step_size=0.01, early_stop=True), threat, model, x, y)
    assert torch.equal(patient.success, expected <= threat.eps)
    assert torch.equal(hasty.success, patient.success)
    assert 0 < patient.success.sum() < COUNT
    for found in (patient, hasty):
        assert threat.contains(x, found.x_adv).all()
    assert (hasty.distance >= patient.distance - 1e-12)[patient.success].all()
    assert (hasty.distance > patient.distance + 1e-6)[patient.success].any()


def test_success_is_claimed_early_only_if_asked(model: nn.Module, x: Tensor) -> None:
    y = model(x).argmax(dim=1)
    for attack in (FMN(steps=30, step_size=0.01), FMN(steps=30, step_size=0.01, early_stop=True)):
        state = attack.start(WIDE[1], x, y, Noise.of(0, torch.arange(COUNT)))
        claimed = []
        for _ in range(attack.budget):
            state = attack.step(WIDE[1], model, state)
            claimed.append(bool(state.success.any()))
        assert claimed[-1]
        assert claimed[-2] == attack.early_stop


def test_a_ball_that_the_box_cuts_grows_on() -> None:
    """The steepest way is blocked by the box; the authors' radius then rests at 0.12, with the boundary at 1/3."""

    def blocked(z: Tensor) -> Tensor:
        worth = -z[:, 0] + 0.3 * (z[:, 1] - 0.5) - 0.1
        return torch.stack([torch.zeros_like(worth), worth], dim=1)

    x, y = torch.tensor([[0.0, 0.5]]), torch.zeros(1, dtype=torch.int64)
    found = searched(FMN(steps=200, step_size=0.1), L2(1.0), blocked, x, y)  # type: ignore[arg-type]
    assert found.success.all()
    assert found.distance.item() == pytest.approx(1 / 3, rel=0.01)


def test_an_input_that_is_wrong_already_stays(model: nn.Module, x: Tensor) -> None:
    y = 1 - model(x).argmax(dim=1)
    found = searched(FMN(steps=5), WIDE[0], model, x, y)
    assert torch.equal(found.x_adv, x)
    assert (found.distance == 0).all()


@pytest.mark.parametrize("attack", [FMN(steps=10), FMN(steps=10, early_stop=True)], ids=["patient", "hasty"])
def test_laws(attack: FMN) -> None:
    check_attack(attack, random=False)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"restarts": 2}, "draws nothing at random"),
        ({"step_size": 0.0}, "step_size is 0"),
        ({"growth": 1.0}, "growth 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        FMN(**options)


@pytest.mark.parametrize("norm", ["Linf", "L1"])
def test_it_is_as_near_as_foolboxs(cnn: nn.Module, images: Tensor, norm: str) -> None:
    """Not in L2: foolbox 3.3.4 projects onto no ball there (its factor is norms / norms)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        foolbox = pytest.importorskip("foolbox", reason="foolbox is not installed")
    model = cnn.eval()
    y = model(images).argmax(dim=1)
    threat = Linf(1.0) if norm == "Linf" else L1(72.0)
    ours = searched(FMN(steps=50), threat, model, images, y)
    theirs = {"Linf": foolbox.attacks.LInfFMNAttack, "L1": foolbox.attacks.L1FMNAttack}[norm](steps=50)
    _, _, found = theirs(foolbox.PyTorchModel(model, (0, 1), device="cpu"), images, y, epsilons=None)
    x_adv = theirs.run(foolbox.PyTorchModel(model, (0, 1), device="cpu"), images, y)
    assert (found <= ours.success).all()
    ratio = ours.distance / threat.distance(images, x_adv)
    assert ratio[found].median() == pytest.approx(1.0, abs=1e-4)
    assert (ratio[found] < 1.1).all()
