"""One process, or several: how they meet."""

import atexit
from datetime import timedelta
from typing import Any

import pytest
import torch.distributed as dist

from holdfast.processes import processes


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
