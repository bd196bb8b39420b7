"""Is this evaluation to be believed? Checks of what the attacks found."""

from collections.abc import Sequence
from typing import Any

from holdfast.attacks import APGDL1, DLR, PGD, Attack, TargetedDLR, Transfer
from holdfast.evaluation.curves import Ascent, Curves
from holdfast.results import Curve, Finding, Severity, Verdicts
from holdfast.threat import L1, Linf, ThreatModel


def checks(
    attacks: Sequence[Attack[Any]], drawn: Curves | None, threat: ThreatModel, recorded_clean: float | None
) -> tuple[str, ...]:
    """What `after` looks for, in words; what it cannot see with these arguments is not promised."""
    last = _last_blind(attacks)
    transfers = [isinstance(attack, Transfer) for attack in last]
    ascent = drawn is not None and drawn.ascent is not None
    told = {
        "gradient-free attacks find little beyond gradient attacks": not all(transfers),
        "adversaries of other models find little beyond gradient attacks": any(transfers),
        "clean accuracy is that of the training record": recorded_clean is not None,
        "the last restarts find little": any(attack.restarts > 1 and not attack.targets for attack in attacks),
        "accuracy falls to chance at large eps": drawn is not None and isinstance(threat, Linf),
        "more steps lower the accuracy no further": ascent,
        "one step is not much weaker than many": ascent,
        "the protocol finds little beyond PGD": ascent,
    }
    return tuple(words for words, made in told.items() if made)


def _last_blind(attacks: Sequence[Attack[Any]]) -> tuple[Attack[Any], ...]:
    """Gradient-free attacks that try what every gradient attack has left; none where there is no gradient attack."""
    greedy = [i for i, attack in enumerate(attacks) if not attack.gradient_free]
    return tuple(attacks[greedy[-1] + 1 :]) if greedy else ()


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
        _transfer(verdicts, attacks),
        _weak_in_l1(attacks, threat),
        _more_restarts(verdicts, attacks),
        _record(verdicts, recorded_clean),
        _few_classes(attacks, classes),
    ]
    if drawn is not None:
        found.append(_large_eps(drawn.eps, threat, classes))
    if drawn is not None and drawn.ascent is not None:
        found += [
            _more_steps(drawn.ascent.steps),
            _one_step(drawn.ascent),
            _beyond_pgd(verdicts, drawn.ascent.steps),
        ]
    return [finding for finding in found if finding]


def _gradient_free(verdicts: Verdicts, attacks: Sequence[Attack[Any]]) -> Finding | None:
    """AutoAttack asks the same of Square, with a limit of 0.2 points; with few examples that is one example."""
    blind = [attack.name for attack in _last_blind(attacks) if not isinstance(attack, Transfer)]
    if (evidence := _beyond(verdicts, blind)) is None:
        return None
    return Finding(
        "gradient_free_beats_gradients",
        Severity.ALARM,
        "Gradient-free attacks find what gradient attacks miss",
        evidence,
        "The gradients mislead. Give gradient-free attacks more queries and restarts, and try transfer from another "
        "model, before you believe the robust accuracy.",
    )


def _transfer(verdicts: Verdicts, attacks: Sequence[Attack[Any]]) -> Finding | None:
    """Whoever has the model's gradients should not need another's (Athalye et al. 2018, arXiv:1802.00420, Sec. 3)."""
    foreign = [attack.name for attack in _last_blind(attacks) if isinstance(attack, Transfer)]
    if (evidence := _beyond(verdicts, foreign)) is None:
        return None
    return Finding(
        "transfer_beats_gradients",
        Severity.ALARM,
        "Adversaries of another model break what attacks on its own gradients miss",
        evidence,
        "The gradients mislead. Add surrogates and gradient-free attacks with many queries, or attack through a smooth "
        "stand-in for what hides the gradient (BPDA), before you believe the robust accuracy.",
    )


def _beyond(verdicts: Verdicts, names: Sequence[str]) -> str | None:
    """What these attacks broke although every gradient attack had tried, in words; None if it is little."""
    extra = sum(int((verdicts.broken_by == verdicts.attacks.index(name)).sum()) for name in names)
    if extra < max(3, 0.02 * len(verdicts)):
        return None
    return (
        f"{', '.join(names)} broke {extra} of {len(verdicts)} examples ({100 * extra / len(verdicts):.1f} %) that all "
        "gradient attacks before left standing."
    )


def _weak_in_l1(attacks: Sequence[Attack[Any]], threat: ThreatModel) -> Finding | None:
    """The steepest direction in L1 is one coordinate, which meets the box long before the radius is spent."""
    weak = [attack.name for attack in attacks if isinstance(attack, PGD) and not attack.gradient_free]
    if not (isinstance(threat, L1) and weak) or any(isinstance(attack, APGDL1) for attack in attacks):
        return None
    return Finding(
        "weak_in_l1",
        Severity.WARNING,
        "PGD is no test of robustness in L1",
        f"The protocol has {', '.join(weak)} under {threat}, and no attack made for L1.",
        "Use APGDL1 (--attacks quick or autoattack): the steepest direction in L1 is a single coordinate, which "
        "the box stops at once, so that PGD spends its steps on little.",
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
    if not isinstance(threat, Linf) or largest < 0.5 * (threat.high - threat.low) or accuracy <= 1.5 / classes:
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


def _more_restarts(verdicts: Verdicts, attacks: Sequence[Attack[Any]]) -> Finding | None:
    """The steps of a verdict tell the restart: a search that fails has spent the whole budget."""
    late = {}
    for column, attack in enumerate(attacks):
        last = (attack.restarts - 1) * attack.budget
        if last and not attack.targets:
            late[f"{attack.name}: {attack.restarts}"] = int(
                ((verdicts.broken_by == column) & (verdicts.steps[:, column] > last)).sum()
            )
    helped = {name: count for name, count in late.items() if count >= max(3, 0.03 * len(verdicts))}
    if not helped:
        return None
    told = "; ".join(f"{name} restarts, of which the last broke {count}" for name, count in helped.items())
    return Finding(
        "more_restarts_help",
        Severity.WARNING,
        "More restarts still lower the accuracy",
        f"{told} of {len(verdicts)} examples that all before it left standing.",
        "The attack has not converged: raise its restarts until the last ones find nothing.",
    )


def _one_step(drawn: Ascent) -> Finding | None:
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
