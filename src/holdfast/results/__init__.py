"""What an evaluation found, as plain data: verdicts per example and attack, and everything derived from them.

Nothing here imports torch: numpy holds the verdicts, Parquet and JSON store them, so that a result can be read,
merged and reported on a machine without a model or an accelerator.
"""

from holdfast.results.comparison import Cell, Comparison, Entrant, Pair
from holdfast.results.contrasts import Contrast, Estimate, contrast, estimate, holm
from holdfast.results.diagnostics import Alignment, Compactness, Diagnostics, Divergence, Linearity, Surface
from holdfast.results.evaluation import Curve, Data, Evaluation, Finding, Gallery, Passes, Protocol, Severity, Threat
from holdfast.results.history import History
from holdfast.results.log import VerdictLog
from holdfast.results.rates import Rate, Spread, interval, paired_difference, spread
from holdfast.results.shifts import Shift, Shifts
from holdfast.results.verdicts import Outcome, Verdicts, merge

__all__ = [
    "Alignment",
    "Cell",
    "Compactness",
    "Comparison",
    "Contrast",
    "Curve",
    "Data",
    "Diagnostics",
    "Divergence",
    "Entrant",
    "Estimate",
    "Evaluation",
    "Finding",
    "Gallery",
    "History",
    "Linearity",
    "Outcome",
    "Pair",
    "Passes",
    "Protocol",
    "Rate",
    "Severity",
    "Shift",
    "Shifts",
    "Spread",
    "Surface",
    "Threat",
    "VerdictLog",
    "Verdicts",
    "contrast",
    "estimate",
    "holm",
    "interval",
    "merge",
    "paired_difference",
    "spread",
]
