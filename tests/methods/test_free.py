"""Free adversarial training against its reference code, and what makes it free."""

import pytest
import torch
from torch import Tensor, nn

from holdfast.errors import InvalidInput
from holdfast.methods import Batch, FreeAT, Progress, Task
from holdfast.noise import Noise
from holdfast.threat import L2, Linf, ThreatModel

PROGRESS = Progress(0.5, 0, 5, 10)


class Setting:
    """A float64 network and 8 images in two batches."""

    def __init__(self, method: FreeAT, threat: ThreatModel) -> None:
        self.method, self.threat = method, threat
        draw = Noise.of(61, torch.tensor([0]))
        with torch.random.fork_rng(devices=[]):
            first, last = nn.Linear(12, 10, bias=False).double(), nn.Linear(10, 4, bias=False).double()
        first.weight.data = draw.fold(0).normal((10, 12))[0].double()
        last.weight.data = draw.fold(1).normal((4, 10))[0].double()
        self.model = nn.Sequential(nn.Flatten(), first, nn.Tanh(), last)
        x = Noise.of(62, torch.arange(8)).uniform((3, 2, 2), -0.1, 1.1).clamp(0, 1).double()
        self.batches = [
            Batch(x[rows], torch.arange(8)[rows] % 4, torch.arange(8)[rows]) for rows in (slice(4), slice(4, 8))
        ]
        state = method.init(self.model, Task(4, 8, 4, (3, 2, 2)))
        assert state is not None
        self.state = state.double()

    def loss(self, batch: Batch) -> Tensor:
        noise = Noise.of(0, batch.index)
        return self.method.loss(self.model, batch, self.threat, self.state, PROGRESS, noise).value

    @property
    def perturbation(self) -> Tensor:
        return self.state.get_buffer("perturbation")


def test_two_batches_of_three_replays_are_those_of_the_reference_code() -> None:
    """T10. Golden numbers: `train` of mahyarnajibi/FreeAdversarialTraining e185c84, main_free.py, run in float64 on
    this network with SGD (0.1, momentum 0.9), n_repeats 3, fgsm_step and clip_eps 0.1, mean 0 and std 1."""
    setting = Setting(FreeAT(replays=3), Linf(0.1))
    optimizer = torch.optim.SGD(setting.model.parameters(), lr=0.1, momentum=0.9)
    found = []
    for batch in setting.batches:
        for _ in range(setting.method.replays):
            optimizer.zero_grad()
            loss = setting.loss(batch)
            loss.backward()
            optimizer.step()
            found.append(loss.item())
    golden = [1.438076485748514, 2.349131698844496, 1.6231170558741022]
    golden += [1.8759818396398968, 2.261883759718514, 2.5010411492578726]
    assert found == pytest.approx(golden, rel=1e-12)
    norms = [parameter.norm().item() for parameter in setting.model.parameters()]
    assert norms == pytest.approx([10.917978049256227, 6.466328347501154], rel=1e-12)
    row = [0.1, 0.1, 0.1, 0.1, 0.0, 0.1, -0.1, -0.1, 0.0, -0.1, -0.1, 0.1]
    assert setting.perturbation[1].flatten().tolist() == pytest.approx(row, abs=1e-12)
    weighted = (setting.perturbation * torch.arange(48).double().reshape(4, 3, 2, 2)).sum().item()
    assert weighted == pytest.approx(-7.8, rel=1e-9)


def test_the_perturbation_moves_when_the_loss_is_differentiated_and_in_its_rows_alone() -> None:
    setting = Setting(FreeAT(step_size=0.5), Linf(0.1))
    whole = setting.batches[0]
    part = Batch(whole.x[:2], whole.y[:2], whole.index[:2], place=torch.tensor([3, 1]))
    loss = setting.loss(part)
    assert (setting.perturbation == 0).all()
    x = part.x.clone().requires_grad_()
    nn.functional.cross_entropy(setting.model(x), part.y).backward(inputs=[x])
    assert x.grad is not None
    loss.backward()
    assert torch.equal(setting.perturbation[[3, 1]], 0.05 * x.grad.sign())
    assert (setting.perturbation[[0, 2]] == 0).all()


@pytest.mark.parametrize("through_box", [True, False])
@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.3)])
def test_the_perturbation_stays_in_the_ball_and_meets_other_images(threat: ThreatModel, through_box: bool) -> None:
    """T19: whatever it was made for, x + perturbation is what the threat model allows."""
    setting = Setting(FreeAT(step_size=1.0, through_box=through_box), threat)
    asked: list[Tensor] = []
    setting.model.register_forward_hook(lambda module, x, logits: asked.append(x[0].detach()))
    for batch in setting.batches * 3:
        setting.loss(batch).backward()
        assert threat.contains(batch.x, asked[-1]).all()
        zero = torch.zeros_like(setting.perturbation)
        assert (threat.distance(zero, setting.perturbation) <= threat.eps * (1 + 1e-12)).all()
    assert (threat.distance(setting.batches[1].x, asked[-1]) > 0.5 * threat.eps).all()


@pytest.mark.parametrize("through_box", [True, False])
def test_a_change_that_the_box_cut_comes_back_only_if_the_gradient_does_not_go_through_it(through_box: bool) -> None:
    """A black pixel, pushed down and then asked to go up: a digit's background has nothing else."""
    method, threat = FreeAT(through_box=through_box), Linf(0.1)
    with torch.random.fork_rng(devices=[]):
        model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2, bias=False).double())
    model[1].weight.data = torch.tensor([[-1.0], [1.0]]).double()
    state = method.init(model, Task(classes=2, examples=1, batch_size=1, shape=(1, 1, 1)))
    assert state is not None
    black, found = torch.zeros(1, 1, 1, 1).double(), []
    for label in (1, 0):  # the pixel speaks for class 1: as an image of class 1 it is pushed down, as one of class 0 up
        batch = Batch(black, torch.tensor([label]), torch.tensor([0]))
        noise = Noise.of(0, batch.index)
        method.loss(model, batch, threat, state.double(), PROGRESS, noise).value.backward()
        found.append(state.get_buffer("perturbation").item())
    assert found == pytest.approx([-0.1, -0.1] if through_box else [0.0, 0.1])


@pytest.mark.parametrize(
    ("build", "told"), [(lambda: FreeAT(replays=0), "replays is 0"), (lambda: FreeAT(8, 0.0), "step_size is 0")]
)
def test_settings_that_make_no_sense_are_refused(build, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        build()
