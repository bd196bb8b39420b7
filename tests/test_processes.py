"""One process, or several: how they meet."""

import atexit
from datetime import timedelta
from typing import Any

import pytest
import torch.distributed as dist

from holdfast.errors import InvalidInput
from holdfast.processes import processes, usable


def test_a_process_waits_days_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attacks on one share may take hours longer than on another; torch gives up after minutes."""
    asked: dict[str, Any] = {}
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(dist, "init_process_group", lambda backend, **options: asked.update(options))
    monkeypatch.setattr(dist, "get_rank", lambda: 0)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(atexit, "register", lambda call: call)
    assert processes("cpu").world == 2
    assert asked["timeout"] > timedelta(days=1)


@pytest.mark.parametrize("device", ["meta", "mps", "xpu", "gpu"])
def test_devices_that_cannot_be_used_are_refused(device: str) -> None:
    with pytest.raises(InvalidInput, match=rf"device '?{device}'? .*give cpu, cuda or cuda:1"):
        usable(device)
