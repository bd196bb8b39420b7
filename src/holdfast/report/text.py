"""Numbers as a reader meets them on the page: one decimal of a percentage, typographic minus, humane durations."""

from collections.abc import Sequence
from math import floor, isfinite, log10

MISSING = "–"
MINUS = "\N{MINUS SIGN}"
NO_BREAK = "\N{NO-BREAK SPACE}"


def percent(share: float) -> str:
    """0.4623 -> "46.2"; nan -> "–". The percent sign stands in the column's head or behind the number."""
    return f"{100 * share:.1f}" if isfinite(share) else MISSING


def points(difference: float) -> str:
    """A difference of shares in percentage points, always signed: -0.021 -> "−2.1"."""
    return f"{100 * difference:+.1f}".replace("-", MINUS)


def span(low: float, high: float) -> str:
    """An interval of shares: "43.1–49.3"."""
    return f"{percent(low)}–{percent(high)}"


def points_span(low: float, high: float) -> str:
    """An interval of differences: "−0.3 to +4.5" (a dash would read as a minus)."""
    return f"{points(low)} to {points(high)}"


def count(number: int) -> str:
    """1234567 -> "1,234,567"."""
    return f"{number:,}"


def large(number: int) -> str:
    """Three significant digits: 1234567 -> "1.23 M"; up to 99,999 the number itself."""
    for size, letter in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size and number >= 10**5:
            return f"{significant(number / size, 3)}{NO_BREAK}{letter}"
    return count(number)


def significant(value: float, digits: int = 3) -> str:
    """`digits` significant digits without an exponent and without idle zeros: 0.0313725 -> "0.0314"."""
    if not isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    places = max(0, digits - 1 - floor(log10(abs(value))))
    text = f"{value:.{places}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", MINUS)


def duration(seconds: float) -> str:
    """9.26 -> "9.3 s", 200 -> "3 min 20 s", 7500 -> "2 h 05 min"."""
    if seconds < 59.95:
        return f"{seconds:.1f}{NO_BREAK}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{NO_BREAK}min {rest:02d}{NO_BREAK}s"
    return f"{minutes // 60}{NO_BREAK}h {minutes % 60:02d}{NO_BREAK}min"


def seconds(value: float) -> str:
    """A duration, or a dash where it is not known."""
    return duration(value) if isfinite(value) else MISSING


def plural(number: int, one: str, many: str | None = None) -> str:
    """ "1 class", "10 classes"."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def listing(items: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)
