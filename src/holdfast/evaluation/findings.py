"""Is this evaluation to be believed? Checks of what the attacks found."""

from collections.abc import Sequence
from typing import Any

from holdfast.attacks import DLR, Attack, TargetedDLR
from holdfast.evaluation.curves import Curves
from holdfast.results import Curve, Finding, Severity, Verdicts
from holdfast.threat import ThreatModel


def checks(attacks: Sequence[Attack[Any]], drawn: Curves | None, recorded_clean: float | None) -> tuple[str, ...]:
    """What `after` looks for, in words; what it cannot see with these arguments is not promised."""
    blind = [attack.gradient_free for attack in attacks]
    return (
        *(["gradient-free attacks find little beyond gradient attacks"] if any(blind) and not all(blind) else []),
        *(["clean accuracy is that of the training record"] if recorded_clean is not None else []),
        *(_OF_CURVES if drawn is not None else []),
    )


_OF_CURVES = (
    "accuracy falls to chance at large eps",
    "more steps lower the accuracy no further",
    "one step is not much weaker than many",
    "the protocol finds little beyond PGD",
)


def after(
    verdicts: Verdicts,
    attacks: Sequence[Attack[Any]],
    drawn: Curves | None,
    threat: ThreatModel,
    classes: int,
    recorded_clean: float | None,
) -> list[Finding]:
    """Look at what the attacks found.

    Args:
        drawn: the curves, where they were measured.
        recorded_clean: clean accuracy that the training's record claims, on held-out images.
    """
    found = [
        _gradient_free(verdicts, attacks),
        _record(verdicts, recorded_clean),
        _few_classes(attacks, classes),
    ]
    if drawn is not None:
        found += [
            _large_eps(drawn.eps, threat, classes),
            _more_steps(drawn.steps),
            _one_step(drawn),
            _beyond_pgd(verdicts, drawn.steps),
        ]
    return [finding for finding in found if finding]


def _gradient_free(verdicts: Verdicts, attacks: Sequence[Attack[Any]]) -> Finding | None:
    """AutoAttack asks the same of Square, with a limit of 0.2 points; with few examples that is one example."""
    blind = {attack.name for attack in attacks if attack.gradient_free}
    by = [name in blind for name in verdicts.attacks]
    extra = sum(int((verdicts.broken_by == i).sum()) for i, free in enumerate(by) if free)
    if not any(by) or all(by) or extra < max(3, 0.02 * len(verdicts)):
        return None
    return Finding(
        "gradient_free_beats_gradients",
        Severity.ALARM,
        "Gradient-free attacks find what gradient attacks miss",
        f"{', '.join(sorted(blind))} broke {extra} of {len(verdicts)} examples "
        f"({100 * extra / len(verdicts):.1f} %) that all gradient attacks before left standing.",
        "The gradients mislead. Give gradient-free attacks more queries and restarts, and try transfer from another "
        "model, before you believe the robust accuracy.",
    )


def _record(verdicts: Verdicts, recorded: float | None) -> Finding | None:
    if recorded is None:
        return None
    high = verdicts.clean.interval(0.999)[1]
    if recorded <= high + 0.02:
        return None
    return Finding(
        "clean_below_record",
        Severity.ALARM,
        "Clean accuracy is below that of the training",
        f"{100 * verdicts.clean_accuracy:.1f} % here (99.9 % interval to {100 * high:.1f} %), "
        f"{100 * recorded:.1f} % on held-out images in the training's record.",
        "Look for other preprocessing, other weights or other data than in training; a model that is fed wrongly is "
        "not the model that was trained.",
    )


def _few_classes(attacks: Sequence[Attack[Any]], classes: int) -> Finding | None:
    """The DLR losses divide by gaps to the third and fourth logit."""
    ratios = [a.name for a in attacks if isinstance(getattr(a, "criterion", None), DLR | TargetedDLR)]
    fewer = [f"{a.name} {classes - 1} of {a.targets}" for a in attacks if a.targets > classes - 1]
    if classes >= 4 or not (ratios or fewer):
        return None
    told = [f"the DLR loss of {' and '.join(ratios)} takes the logits that there are"] if ratios else []
    told += [f"targets are all other classes ({', '.join(fewer)})"] if fewer else []
    return Finding(
        "few_classes",
        Severity.INFO,
        f"Attacks were adapted to {classes} classes",
        f"With {classes} classes {'; '.join(told)}.",
        "Nothing to do: with two classes every loss points the same way, and APGD on cross-entropy, FAB and Square do "
        "not depend on it.",
    )


def _large_eps(curve: Curve, threat: ThreatModel, classes: int) -> Finding | None:
    """At half the input range an Linf adversary can make every image grey: no model can beat chance there."""
    largest, accuracy = curve.x[-1], curve.accuracy[-1]
    if threat.norm != "Linf" or largest < 0.5 * (threat.high - threat.low) or accuracy <= 1.5 / classes:
        return None
    return Finding(
        "robust_at_large_eps",
        Severity.ALARM,
        "Accuracy does not fall to chance at a radius where it must",
        f"At eps {largest:g}, where every image can be made grey, {100 * accuracy:.1f} % of {curve.n} examples "
        f"stayed right under {curve.attack}; chance is {100 / classes:.1f} %.",
        "The attack fails for a reason other than robustness: the model hides its gradients. Believe only "
        "gradient-free and transfer attacks here.",
    )


def _more_steps(curve: Curve) -> Finding | None:
    before, last = curve.correct[-2], curve.correct[-1]
    if before - last < max(3, 0.03 * curve.n):
        return None
    return Finding(
        "more_steps_help",
        Severity.WARNING,
        "More steps still lower the accuracy",
        f"From {curve.x[-2]:g} to {curve.x[-1]:g} steps of PGD the accuracy fell from {100 * curve.accuracy[-2]:.1f} % "
        f"to {100 * curve.accuracy[-1]:.1f} % of {curve.n} examples.",
        "The attack has not converged: raise its steps and restarts until the accuracy no longer moves.",
    )


def _one_step(drawn: Curves) -> Finding | None:
    one, many = drawn.fgsm, drawn.steps.correct[-1]
    if one - many < max(5, 0.3 * drawn.steps.n) or many > 0.5 * one:
        return None
    return Finding(
        "catastrophic_overfitting",
        Severity.ALARM,
        "One step is far weaker than many: catastrophic overfitting",
        f"Of {drawn.steps.n} examples {one} stay right under FGSM, {many} under {drawn.steps.attack}.",
        "The model has learned to mislead one-step attacks. Train with several steps, with a smaller step size, with "
        "more noise before the step (n_fgsm), or go back to the checkpoint before the fall.",
    )


def _beyond_pgd(verdicts: Verdicts, curve: Curve) -> Finding | None:
    """The gap that unmasks models whose robustness is robustness to PGD on cross-entropy.

    Soundly trained models lose up to a tenth of what PGD leaves (published: 8 % for PGD-AT, 14 % for MART).
    """
    standing = int((verdicts.robust & (verdicts.example < curve.n)).sum())
    gap = curve.correct[-1] - standing
    if gap < max(5, 0.15 * curve.correct[-1]):
        return None
    return Finding(
        "pgd_is_fooled",
        Severity.WARNING,
        "PGD on cross-entropy leaves much that other attacks break",
        f"Of the first {curve.n} examples {curve.correct[-1]} stay right under {curve.attack}, {standing} under all "
        "attacks.",
        "Do not rank this model by PGD. If more attacks keep lowering its accuracy, the true value is lower still.",
    )
