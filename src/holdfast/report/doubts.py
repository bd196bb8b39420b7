"""What speaks against the results, gravest first, and what was looked for."""

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.report.models import Model
from holdfast.results import Finding, Severity

GRAVEST_FIRST = (Severity.ALARM, Severity.WARNING, Severity.INFO)


@dataclass(frozen=True)
class Checked:
    """Models for which the same was looked for; `clear` where nothing was found."""

    labels: tuple[str, ...]
    checks: tuple[str, ...]
    clear: bool


def found(models: Sequence[Model]) -> tuple[tuple[Model, Finding], ...]:
    """All findings with the model that they are about, alarms first."""
    pairs = [(model, finding) for model in models for finding in model.evaluation.findings]
    return tuple(sorted(pairs, key=lambda pair: GRAVEST_FIRST.index(pair[1].severity)))


def checked(models: Sequence[Model]) -> tuple[Checked, ...]:
    """What was looked for, those with nothing found first; models that were checked alike are told together."""
    alike: dict[tuple[bool, tuple[str, ...]], list[str]] = {}
    for model in models:
        key = (not model.evaluation.findings, model.evaluation.checks)
        alike.setdefault(key, []).append(model.label)
    told = [Checked(tuple(labels), checks, clear) for (clear, checks), labels in alike.items() if clear or checks]
    return tuple(sorted(told, key=lambda group: not group.clear))
