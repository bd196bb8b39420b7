"""The Markdown page of claims, from what is on disk."""

import json
import textwrap
from collections.abc import Sequence
from math import isfinite
from pathlib import Path

from benchmarks.claims.claim import LEVEL, MARGINS, Judged, Setting, judge, right
from benchmarks.harness import commits, machines

from holdfast.data import Later
from holdfast.results import Comparison, Entrant, spread

COLUMNS = (
    "method",
    "seeds",
    "clean",
    "robust",
    "",
    "hidden",
    "epochs",
    "passes a step",
    "cost of a step",
    "processor s",
    "wall s",
    "early ends",
)


def accuracies(comparison: Comparison) -> dict[str, dict[str, float]]:
    """Mean robust and clean accuracy in per cent of every method, the most robust first."""
    kinds = {"robust under AutoAttack": "robust", "clean": "clean"}
    return {
        title: {entrant.label: 100.0 * float(entrant.right(of).mean()) for entrant in comparison.measured}
        for title, of in kinds.items()
    }


def page(setting: Setting, comparison: Comparison, out: Path, command: str, picture: str) -> str:
    """The whole page, with a picture that lies beside it."""
    judged = judge(setting.claims, comparison)
    measured = comparison.measured
    missing = [entrant.label for entrant in comparison.entrants if not entrant.evaluations]
    missing += [
        c.label for c in (*setting.main, *setting.others) if c.label not in {e.label for e in comparison.entrants}
    ]
    margins = {of: f"{-100 * margin:g}" for of, margin in MARGINS.items()}
    partial = [e.label for e in measured if len(e.evaluations) < len(setting.seeds)]
    return "\n".join(
        [
            f"# Claims at equal time of training: {setting.title}",
            "",
            f"    {command}",
            "",
            _wrapped(_terms(setting, comparison)),
            "",
            _wrapped(
                f"""Trained at {commits(out, "runs/*/recipe.json")}, evaluated at
                {commits(out, "runs/*/evaluations/*/evaluation.json")},
                {machines(out, "runs/*/recipe.json")}, on a machine with other work:
                processor seconds are those of a run's steps, and wall seconds say how busy it was.
                Per cent; mean
                over seeds ± standard deviation; in brackets the 95 % interval over seeds and examples. Hidden
                is what stands
                under APGD on cross-entropy and falls under the rest of AutoAttack. Early ends: collapse is
                catastrophic
                overfitting (the best weights before it count), diverged a loss that is not finite."""
            ),
            "",
            f"![clean and robust accuracy]({picture})",
            "",
            f"| {' | '.join(COLUMNS)} |",
            "|---" * len(COLUMNS) + "|",
            *(_line(entrant) for entrant in measured),
            "",
            *([_wrapped(f"Not run: {', '.join(missing)}."), ""] if missing else []),
            *([_wrapped(_fewer(setting, partial, measured)), ""] if partial else []),
            "## The claims",
            "",
            _wrapped(
                f"""Higher: met if beyond noise (Student's test over seeds and examples, docs/comparing.md; p below
                {LEVEL} after Holm's correction for all of them), not met if the other is ahead beyond noise or the
                interval leaves no advantage of a point. Comparable: met if the interval stays above
                {margins["robust"]} points of robust accuracy or {margins["clean"]} of clean, not met if it stays below.
                Where next to nothing of either stands there is nothing to compare. The papers' own settings are longer
                and larger; this page speaks of this one."""
            ),
            "",
            "| paper | claim | first, % | second, % | difference, points | 95 % interval | p | seeds | verdict |",
            "|---|---|---|---|---|---|---|---|---|",
            *(_claim(one) for one in judged),
            *_at_a_quarter(setting, comparison),
            "",
            *_invariances(comparison),
            *(_choices(comparison) if setting.trials else []),
        ]
    )


def _terms(setting: Setting, comparison: Comparison) -> str:
    data = setting.base().data
    first = data.first if isinstance(data, Later) else 0
    natural = f"{1000 * (comparison.natural_seconds or 0):.1f} ms"
    searched = f"""Own numbers and learning rate of every method: the best of {setting.trials} trials of
    {setting.trial_share:.2g} of the budget on held-out training images, the first of them with its numbers here."""
    met = f"on test images {first:,} to {first + setting.n - 1:,}, counted from 0"
    return f"""Each network is trained for {comparison.budget} of optimizer steps (turned into epochs by measured
    steps; a step of natural training takes {natural} here) and attacked by {comparison.attacks} {met}. All share
    {_shared(comparison)}; only the method is exchanged, and what the last table names.
    {searched if setting.trials else "No method's numbers were searched."} Checkpoints by PGD-10 on held-out
    images. {setting.note}"""


def _fewer(setting: Setting, partial: Sequence[str], measured: Sequence[Entrant]) -> str:
    """Which rows have not all seeds, or, if these are most, which have."""
    count = len(setting.seeds)
    if 2 * len(partial) <= len(measured):
        return f"Fewer than {count} seeds: {', '.join(partial)}."
    whole = [entrant.label for entrant in measured if entrant.label not in partial]
    return f"{count} seeds so far: {', '.join(whole) or 'none'}. The others have fewer."


def _line(entrant: Entrant) -> str:
    assert entrant.robust is not None
    assert entrant.clean is not None
    ends = [cell.outcome for cell in entrant.cells if cell.outcome in ("collapse", "diverged")]
    cells = [
        entrant.label,
        str(len(entrant.evaluations)),
        _spread(entrant.clean.values),
        _spread(entrant.robust.values),
        f"[{100 * entrant.robust.low:.1f}, {100 * entrant.robust.high:.1f}]",
        f"{100 * right(entrant, 'hidden').mean():.1f}",
        f"{entrant.epochs:g}",
        f"{entrant.passes:.3g}",
        f"{entrant.ratio:.2f}" if entrant.ratio else "",
        _seconds(entrant.seconds("cpu_seconds")),
        _seconds(entrant.seconds("training_seconds")),
        ", ".join(f"{ends.count(end)} {end}" for end in dict.fromkeys(ends)),
    ]
    return "| " + " | ".join(cells) + " |"


def _claim(one: Judged) -> str:
    claim, found = one.claim, one.found
    kind = "" if claim.kind == "higher" else " (comparable)"
    head = [claim.paper, f"{claim.text}: {claim.first} against {claim.second}{kind}"]
    if found is None:
        return "| " + " | ".join([*head, "", "", "", "", "", "", one.verdict]) + " |"
    numbers = [
        *(_tenths(100 * value) for value in one.values),
        f"{100 * found.difference:+.1f}",
        f"{100 * found.low:+.1f} to {100 * found.high:+.1f}",
        f"{one.p:.2g}" if claim.kind == "higher" else "",
        f"{one.seeds[0]} and {one.seeds[1]}",
        f"**{one.verdict}**",
    ]
    return "| " + " | ".join([*head, *numbers]) + " |"


def _at_a_quarter(setting: Setting, comparison: Comparison) -> list[str]:
    """Robust accuracy at a quarter of eps, where it was measured."""
    found = {e.label: right(e, "quarter") for e in comparison.entrants if e.label in setting.quarter}
    told = [
        f"{label} {_spread(rows.mean(axis=1).tolist())} ({len(rows)} seeds)"
        for label, rows in found.items()
        if len(rows)
    ]
    return ["", _wrapped(f"At a quarter of eps, per cent under `quick`: {', '.join(told)}.")] if told else []


def _invariances(comparison: Comparison) -> list[str]:
    """Mean accuracy under mild changes of the images, where it was measured."""
    rows = []
    for entrant in comparison.measured:
        files = [Path(cell.run) / "invariance.json" for cell in entrant.cells]
        found = [json.loads(file.read_text()) for file in files if file.exists()]
        if found:
            kinds = found[0]["kinds"]
            values = [_spread([one["kinds"][kind] for one in found]) for kind in kinds]
            rows.append((entrant.label, list(kinds), [_spread([one["mean"] for one in found]), *values]))
    if not rows:
        return []
    kinds = rows[0][1]
    head = ["| method | mean | " + " | ".join(kinds) + " |", "|---" * (len(kinds) + 2) + "|"]
    lines = [f"| {label} | " + " | ".join(values) + " |" for label, _, values in rows]
    told = "Accuracy on the same test images under one mild change at a time (kinds and levels are ours), per cent:"
    return ["## Invariance", "", told, "", *head, *lines, ""]


def _choices(comparison: Comparison) -> list[str]:
    rows = [_tuned(entrant) for entrant in comparison.entrants if entrant.evaluations]
    return ["## What the search chose", "", "| method | chosen on held-out images |", "|---|---|", *rows, ""]


def _tuned(entrant: Entrant) -> str:
    chosen = ", ".join(f"{field} {value}" for field, value in entrant.tuned) or "its own numbers"
    changed = f" (with {', '.join(entrant.changes)})" if entrant.changes else ""
    return f"| {entrant.label}{changed} | {chosen} |"


def _spread(values: Sequence[float]) -> str:
    found = spread([100 * value for value in values])
    mean = _tenths(found.mean)
    return f"{mean} ± {found.std:.1f}" if len(values) > 1 else mean


def _tenths(value: float) -> str:
    """The same mean reads the same in each table, however it was summed."""
    return f"{round(value, 6):.1f}"


def _seconds(value: float) -> str:
    return f"{value:.0f}" if isfinite(value) else ""


def _shared(comparison: Comparison) -> str:
    of = dict(comparison.shared)
    width = f" of width {of['model.width']}" if "model.width" in of else ""
    return (
        f"{of['model']}{width}, {of['optimizer']} with {of['schedule']}, batch {of['batch_size']}, {of['precision']} "
        f"passes, eps warmed up over the first {100 * float(of['eps_warmup']):.0f} %"
    )


def _wrapped(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 118)
