"""The page: saved evaluations and training logs in, one HTML file out. Nothing else enters, not even the time."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from holdfast.errors import InvalidInput
from holdfast.files import write_atomically
from holdfast.report import curves, diagnoses, doubts, gallery, heat, models, profiles, tables, text
from holdfast.report.charts import legend
from holdfast.results import Diagnostics, Evaluation, History, Severity
from holdfast.results.history import STAGES

if TYPE_CHECKING:
    from jinja2 import Environment


NO_DIAGNOSTICS: Mapping[str, Diagnostics] = MappingProxyType({})


def write(
    evaluations: Sequence[Evaluation],
    histories: Mapping[str, History],
    out: Path,
    *,
    diagnostics: Mapping[str, Diagnostics] = NO_DIAGNOSTICS,
    cards: int = gallery.CARDS,
) -> Path:
    """Write the page to `out`, whole or not at all, and return its path. See `render` for the arguments."""
    out = Path(out)
    write_atomically(out, render(evaluations, histories, diagnostics=diagnostics, cards=cards).encode())
    return out


def render(
    evaluations: Sequence[Evaluation],
    histories: Mapping[str, History],
    *,
    diagnostics: Mapping[str, Diagnostics] = NO_DIAGNOSTICS,
    cards: int = gallery.CARDS,
) -> str:
    """The page about `evaluations`, side by side in the order given, and about the training runs `histories`.

    A history whose key is an evaluation's run folder is drawn in that model's colour, and so are diagnostics whose key
    is that folder or one below it. `cards` limits the gallery of each model. Raises InvalidInput where there is nothing
    to show.
    """
    if not evaluations and not diagnostics and not any(len(history) for history in histories.values()):
        raise InvalidInput(
            "there is nothing to report: give at least one evaluation, one training log with an epoch, or diagnostics"
        )
    named = models.name_models(evaluations)
    return (
        templates()
        .get_template("page.html")
        .render(_contents(named, histories, cards) | _diagnosed(diagnostics, named))
    )


def _contents(named: Sequence[models.Model], histories: Mapping[str, History], limit: int) -> dict[str, Any]:
    groups = models.groups(named)
    rows = models.compare(named, groups)
    leader = next((row for row in rows if row.leads), None)
    leading_group = models.leading_group(groups, leader)
    disagreements = models.disagreements(named)
    strength = curves.strength_charts(named)
    return {
        "models": named,
        "rows": rows,
        "leader": leader,
        "runner_up": _runner_up(rows) if not disagreements else None,
        "disagreements": disagreements,
        "findings": doubts.found(named),
        "checked": doubts.checked(named),
        "groups": groups,
        "leading_group": leading_group,
        "alarms": _alarms(leading_group.members if leading_group else [leader.model] if leader else []),
        "strength": strength,
        "strength_legend": legend(strength),
        "training": curves.training_charts(histories, named),
        "profiles": profiles.profiles(histories, named),
        "cards": gallery.cards(named, limit),
    }


def _diagnosed(diagnostics: Mapping[str, Diagnostics], named: Sequence[models.Model]) -> dict[str, Any]:
    shown = diagnoses.name_diagnostics(diagnostics, named)
    layers = diagnoses.layer_charts(shown)
    return {
        "diagnosed": shown,
        "loss_scale": heat.loss_scale([one.of.surface for one in shown if one.of.surface is not None]),
        "layers": layers,
        "layers_legend": legend(layers),
        "shifts": diagnoses.shift_tables(shown),
    }


def _runner_up(rows: Sequence[models.Row]) -> models.Row | None:
    others = [row for row in rows if not row.leads and row.difference is not None]
    return max(others, key=lambda row: row.robust.value, default=None)


def _alarms(shown: Iterable[models.Model]) -> int:
    return sum(finding.severity == Severity.ALARM for model in shown for finding in model.evaluation.findings)


@cache
def templates() -> "Environment":
    """The templates with everything that they may call."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("holdfast.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "count": text.count,
        "duration": text.duration,
        "large": text.large,
        "listing": text.listing,
        "percent": text.percent,
        "seconds": text.seconds,
        "plural": text.plural,
        "significant": text.significant,
    }
    templates.globals |= {
        "attack_rows": tables.attack_rows,
        "class_rows": tables.class_rows,
        "data_name": models.data_name,
        "examples": models.examples,
        "frequent_confusions": tables.frequent_confusions,
        "heat": heat.draw,
        "loss_levels": heat.levels,
        "loss_text": heat.scale_text,
        "matrix": tables.matrix,
        "paint": curves.paint,
        "points": text.points,
        "right_share": heat.right_share,
        "points_span": text.points_span,
        "span": text.span,
        "stages": STAGES,
    }
    return templates
