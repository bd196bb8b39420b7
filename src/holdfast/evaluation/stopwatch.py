"""How long passes take, also where a device works on while the program goes ahead."""

import time
from typing import Any

import torch


class Stopwatch:
    """Adds up spans of time. On accelerators they are spans between two events of the device's queue."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._queued: list[tuple[Any, Any]] = []

    @property
    def seconds(self) -> float:
        """All spans so far; waits for the device."""
        for begun, ended in self._queued:
            ended.synchronize()
            self._seconds += begun.elapsed_time(ended) / 1000.0
        self._queued.clear()
        return self._seconds

    def now(self, device: torch.device) -> Any:
        """The beginning of a span."""
        if device.type == "cpu":
            return time.perf_counter()
        event = torch.Event(device=device, enable_timing=True)
        event.record()
        return event

    def add(self, begun: Any, device: torch.device) -> None:
        """End a span."""
        if device.type == "cpu":
            self._seconds += time.perf_counter() - begun
        else:
            self._queued.append((begun, self.now(device)))
