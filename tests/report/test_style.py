import re
from pathlib import Path

from holdfast import report


def test_text_has_contrast() -> None:
    """Every text colour stands out from both grounds by at least 4.5 : 1 (WCAG AA), light and dark."""
    css = (Path(report.__file__).parent / "templates" / "style.css").read_text()
    light, dark = (dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in css.split("@media", 2)[:2])

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for colours in (light, dark):
        for text in ("ink", "quiet", "accent", "good", "bad", "care"):
            for ground in ("paper", "wash"):
                pair = sorted((luminance(colours[text]), luminance(colours[ground])))
                assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, (text, ground)
