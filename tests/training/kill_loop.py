"""Train, and be killed at random moments until the training is done. Run by test_kill.py in a process of its own.

The trainings are forks of this process, so that torch is imported once; SIGKILL lets them clean up nothing.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from holdfast.recipe import codec
from holdfast.training import train, trainer


def run_child(recipe: object, out: Path) -> int:
    """Train in a fork; returns its process id."""
    child = os.fork()
    if child == 0:
        try:
            train(recipe, out, device="cpu", resume=True, progress=False, checkpoint_seconds=0.0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return child


def main() -> None:
    recipe_file, out, kills, longest = sys.argv[1:]
    torch.set_num_threads(1)
    trainer.READ_EVERY = 2
    recipe = codec.decode(json.loads(Path(recipe_file).read_text()))
    recipe.data.load("train")  # what is imported here is imported once
    chance, killed = random.Random(0), 0
    while True:
        child = run_child(recipe, Path(out))
        if killed < int(kills):
            time.sleep(chance.uniform(0.0, float(longest)))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            killed += 1
        elif os.WEXITSTATUS(status):
            sys.exit(1)
        elif killed >= int(kills):
            break
        else:
            sys.exit(f"the training ended after {killed} kills; make it longer")
    print(killed)


if __name__ == "__main__":
    main()
