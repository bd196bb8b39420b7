"""Every search leaves torch's global generator alone."""

import pytest


@pytest.fixture(autouse=True)
def _world_rests(global_state_rests: None) -> None:
    pass
