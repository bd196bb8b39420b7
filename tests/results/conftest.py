"""Three hand-made examples under two attacks, small enough to derive every number by hand."""

from dataclasses import replace

import numpy as np
import pytest

from holdfast.results import Curve, Data, Evaluation, Finding, Gallery, Outcome, Passes, Protocol, Threat, Verdicts

NAN = float("nan")


@pytest.fixture
def verdicts() -> Verdicts:
    """Example 3: misclassified; 5: broken by the second attack; 8: broken by the first; 9: survived both."""
    return Verdicts(
        attacks=("fgsm", "apgd-ce"),
        example=np.array([3, 5, 8, 9]),
        label=np.array([0, 0, 1, 2]),
        prediction=np.array([1, 0, 1, 2]),
        outcome=np.array(
            [
                [Outcome.MISCLASSIFIED, Outcome.MISCLASSIFIED],
                [Outcome.SURVIVED, Outcome.BROKEN],
                [Outcome.BROKEN, Outcome.SPARED],
                [Outcome.SURVIVED, Outcome.SURVIVED],
            ]
        ),
        adversarial_prediction=np.array([[-1, -1], [-1, 2], [0, -1], [-1, -1]]),
        distance=np.array([[NAN, NAN], [NAN, 0.3], [0.25, NAN], [NAN, NAN]]),
        steps=np.array([[0, 0], [1, 17], [1, 0], [1, 100]]),
    )


@pytest.fixture
def evaluation(verdicts: Verdicts) -> Evaluation:
    x = np.linspace(0, 1, 32, dtype=np.float32).reshape(2, 1, 4, 4)
    return Evaluation(
        model="tiny",
        run="runs/tiny",
        data=Data("digits", "test", 360, "5d41402abc4b2a76", ("zero", "one", "two")),
        threat=Threat("Linf", 0.3, "0.3"),
        protocol=Protocol("quick", "1"),
        attacks={"fgsm": "FGSM()", "apgd-ce": "APGD(steps=100, loss='ce')"},
        seed=7,
        verdicts=verdicts,
        curves=(Curve("eps", "eps", (0.0, 0.3), (3, 1), 4, "apgd-ce"),),
        findings=(Finding("steps", "warning", "More steps still help", "51 % -> 46 %", "Use more steps."),),
        checks=("accuracy falls to 0 at large eps",),
        gallery=Gallery(np.array([5, 9]), x, x[::-1], ("apgd-ce", "")),
        seconds=12.5,
        passes={"fgsm": Passes(6, 3)},
        versions={"holdfast": "0.1.0", "commit": "abc"},
        command="holdfast evaluate runs/tiny",
    )


@pytest.fixture
def other(evaluation: Evaluation) -> Evaluation:
    """The same evaluation with another seed and without a gallery."""
    return replace(evaluation, seed=8, gallery=None)
