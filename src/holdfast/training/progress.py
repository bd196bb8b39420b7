"""What a training says while it runs: a first line at once, a bar within each epoch, a line after it; on stderr."""

import sys
from collections.abc import Mapping

from tqdm import tqdm


class Display:
    """Talks to a person; where stderr is no terminal there are lines only.

    Args:
        on: False for silence (processes other than the first, tests).
        epochs: of the training.
    """

    def __init__(self, on: bool, epochs: int) -> None:
        self._on = on
        self._epochs = epochs
        self._bar: tqdm[None] | None = None

    def say(self, text: str) -> None:
        """A line of its own, above the bar."""
        if self._on:
            tqdm.write(text, file=sys.stderr)
            sys.stderr.flush()

    def begin(self, epoch: int, step: int, steps: int) -> None:
        """Open the bar of an epoch of so many steps at one of them."""
        if self._on and sys.stderr.isatty():
            self._bar = tqdm(
                total=steps, initial=step, desc=f"epoch {epoch + 1}/{self._epochs}", leave=False, unit="step"
            )

    def step(self) -> None:
        """One step is done."""
        if self._bar is not None:
            self._bar.update()

    def show(self, row: Mapping[str, float], seconds_left: float) -> None:
        """The latest numbers, beside the bar."""
        if self._bar is not None:
            figures = {"loss": f"{row['loss']:.3f}", "left": duration(seconds_left)}
            if "adversary_accuracy" in row:
                figures["adversary"] = f"{row['adversary_accuracy']:.1%}"
            self._bar.set_postfix(figures, refresh=False)

    def end(self) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def epoch(self, values: Mapping[str, float]) -> None:
        """The line of an epoch."""
        self.end()
        adversary = f"  adversary {values['adversary_accuracy']:6.1%}" if "adversary_accuracy" in values else ""
        number = f"{int(values['epoch']) + 1:>{len(str(self._epochs))}}/{self._epochs}"
        self.say(
            f"epoch {number}  loss {values['loss']:.4f}{adversary}"
            f"  held out: clean {values['clean_accuracy']:6.1%} robust {values['robust_accuracy']:6.1%}"
            f"  {values['examples_per_second']:,.0f} images/s  {duration(values['seconds_left'])} left"
        )


def duration(seconds: float) -> str:
    """Seconds as a person says them: 8 s, 2 min 05 s, 3 h 20 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
