"""How the values of a recipe are shown to people: short, and so that they can be typed back."""

from fractions import Fraction
from typing import Any


def shown(data: Any) -> str:
    """The text of what `encode` made of a value: a dataclass by its class alone, everything else in full."""
    if data is None:
        return "none"
    if isinstance(data, bool):
        return str(data).lower()
    if isinstance(data, float):
        return _number(data)
    if isinstance(data, list):
        return f"({', '.join(shown(item) for item in data)})"
    if isinstance(data, dict) and "type" in data:
        return str(data.get("value") or data["type"].rpartition(":")[2].rpartition(".")[2])
    return str(data)


def _number(value: float) -> str:
    """Decimals where they are few, a fraction where it is the same number: 0.031, 8/255, 2/3."""
    decimal = f"{value:g}" if float(f"{value:g}") == value else repr(value)
    fraction = Fraction(decimal).limit_denominator(1000)
    is_shorter = len(decimal) > 8 and float(fraction) == value
    return f"{fraction.numerator}/{fraction.denominator}" if is_shorter else decimal
