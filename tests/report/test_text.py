from math import nan

import pytest

from holdfast.report import text


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        (text.percent(0.46249), "46.2"),
        (text.percent(1.0), "100.0"),
        (text.percent(nan), "–"),
        (text.points(-0.021), "−2.1"),
        (text.points(0.0), "+0.0"),
        (text.span(0.431, 0.493), "43.1–49.3"),
        (text.points_span(-0.003, 0.045), "−0.3 to +4.5"),
        (text.count(1234567), "1,234,567"),
        (text.large(99_999), "99,999"),
        (text.large(101_000), "101\xa0k"),
        (text.large(1_234_567), "1.23\xa0M"),
        (text.significant(8 / 255), "0.0314"),
        (text.significant(-1234.5), "−1234"),
        (text.significant(0.5), "0.5"),
        (text.significant(100.0), "100"),
        (text.significant(0.0), "0"),
        (text.significant(nan), "–"),
        (text.duration(9.26), "9.3\xa0s"),
        (text.duration(59.97), "1\xa0min 00\xa0s"),
        (text.duration(200), "3\xa0min 20\xa0s"),
        (text.duration(7500), "2\xa0h 05\xa0min"),
        (text.plural(1, "class", "classes"), "1 class"),
        (text.plural(10, "class", "classes"), "10 classes"),
        (text.plural(2, "alarm"), "2 alarms"),
        (text.listing(["a"]), "a"),
        (text.listing(["a", "b", "c"]), "a, b and c"),
    ],
)
def test_writing(written: str, wanted: str) -> None:
    assert written == wanted
