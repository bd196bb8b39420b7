"""Two processes that torchrun starts must come to the verdicts of one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.errors import CheckpointError
from holdfast.evaluation.shards import Shards
from holdfast.results import Evaluation

SCRIPT = """
import sys
from pathlib import Path

import torch

from holdfast.data import Digits, EpochLoader
from holdfast.evaluation import evaluate, protocol
from holdfast.models import WongCNN
from holdfast.processes import finish
from holdfast.threat import Linf

torch.set_num_threads(1)
images, threat = Digits().load("test"), Linf(0.1)
model = WongCNN().build(images.shape, 10, 0)
optimizer = torch.optim.Adam(model.parameters(), 3e-3)
for epoch in range(4):
    for x, y, _ in EpochLoader(Digits().load("train"), 64, "cpu", 0).batches(epoch):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
evaluation = evaluate(model, images, threat, protocol("pgd", threat), n=101, folder=Path(sys.argv[1]), progress=False)
assert len(evaluation.verdicts) == 101
finish(0)
"""


def run(folder: Path, world: int) -> Evaluation:
    script = folder.parent / "evaluate.py"
    script.write_text(SCRIPT)
    start = [sys.executable]
    if world > 1:
        start += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(world)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*start, str(script), str(folder)], env=environment, check=True, timeout=200, capture_output=True)
    return Evaluation.load(folder)


def test_processes_share_an_evaluation(tmp_path: Path) -> None:
    alone, shared = run(tmp_path / "alone", 1), run(tmp_path / "shared", 2)
    assert 0 < alone.verdicts.worst_case.count < alone.verdicts.clean.count, "the fixture must have both outcomes"
    assert shared.verdicts == alone.verdicts
    assert shared.curves == alone.curves
    assert shared.gallery == alone.gallery
    with pytest.raises(CheckpointError, match="was begun by 2 processes and cannot go on with 1"):
        Shards(tmp_path / "shared", 1, {}, ["pgd-20x5"]).check()
