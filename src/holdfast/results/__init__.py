"""What an evaluation found, as plain data: verdicts per example and attack, and everything derived from them.

Nothing here imports torch: numpy holds the verdicts, Parquet and JSON store them, so that a result can be read,
merged and reported on a machine without a model or an accelerator.
"""

from holdfast.results.evaluation import Curve, Data, Evaluation, Finding, Gallery, Passes, Protocol, Severity, Threat
from holdfast.results.history import History
from holdfast.results.log import VerdictLog
from holdfast.results.rates import Rate, Spread, interval, paired_difference, spread
from holdfast.results.verdicts import Outcome, Verdicts, merge

__all__ = [
    "Curve",
    "Data",
    "Evaluation",
    "Finding",
    "Gallery",
    "History",
    "Outcome",
    "Passes",
    "Protocol",
    "Rate",
    "Severity",
    "Spread",
    "Threat",
    "VerdictLog",
    "Verdicts",
    "interval",
    "merge",
    "paired_difference",
    "spread",
]
