"""The commands, called in-process."""

import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import holdfast.training
from holdfast.cli import folders, main
from holdfast.cli.choose import begin
from holdfast.cli.recipes import _given
from holdfast.data import Hub
from holdfast.evaluation.protocols import PROTOCOLS
from holdfast.methods import METHODS
from holdfast.recipe import Recipe
from holdfast.recipes import names, recipe
from holdfast.results import Evaluation
from holdfast.training import load_recipe, run

Capture = pytest.CaptureFixture[str]
COMMANDS = ("train", "evaluate", "compare", "diagnose", "report", "recipes", "methods")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom contextlib import suppress\nfrom holdfast.cli import main\n"
        f"for command in {COMMANDS}:\n    with suppress(SystemExit):\n        main([command, '--help'])\n"
        "heavy = {'torch', 'numpy', 'pyarrow', 'sklearn', 'jinja2', 'tqdm', 'PIL'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("usage: holdfast") == len(COMMANDS)


def test_the_help_of_evaluate_knows_every_protocol(capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    words = set(re.findall(r"\w+", capsys.readouterr().out))
    assert set(PROTOCOLS) <= words


@pytest.mark.parametrize("command", [[], *([command] for command in COMMANDS)])
def test_every_command_explains_itself(command: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith(" ".join(["usage: holdfast", *command]))
    assert "%%" not in said


def test_the_version_is_that_of_the_package(capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.startswith("holdfast 0.")


def test_train_evaluate_report(capsys: Capture) -> None:
    assert main(["train", "fgsm_rs", "--data", "digits", "--epochs", "2", "--seed", "3"]) == 0
    said = capsys.readouterr()
    assert "recipe   fgsm_rs on digits" in said.out
    assert "changed  epochs: 60 -> 2\n         seed: 0 -> 3\nrun      runs/digits-fgsm_rs-s3\n" in said.out
    assert "held out" in said.err
    out = Path("runs/digits-fgsm_rs-s3")
    assert f"holdfast evaluate {out} --attacks quick" in said.out
    recorded = json.loads((out / "recipe.json").read_text())["recipe"]
    assert recorded["sources"]["epochs"].startswith("set by hand; 60 in the recipe")
    assert load_recipe(out) == recipe_with(load_recipe(out), epochs=2, seed=3)

    # Nothing is written over; the run can be asked for again.
    assert main(["train", "fgsm_rs", "--data", "digits", "--epochs", "2", "--seed", "3"]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(["train", "--resume", str(out)]) == 0

    check_evaluation(out, capsys)
    assert main(["report", str(out)]) == 0
    assert "report.html: 2 evaluations, 1 training curves" in capsys.readouterr().out
    assert "<html" in Path("report.html").read_text()


def recipe_with(like: Recipe, **changes: Any) -> Recipe:
    return replace(recipe("digits", "fgsm_rs"), **changes, sources=like.sources)


def check_evaluation(out: Path, capsys: Capture) -> None:
    capsys.readouterr()
    assert main(["evaluate", str(out), "--attacks", "pgd", "--n", "12", "--fail-under", "1"]) == 1
    said = capsys.readouterr()
    assert "pgd@" in said.out
    assert "95 % interval" in said.out
    assert "is below --fail-under 1" in said.err
    folder = out / "evaluations" / "pgd-Linf-0.15-n12"
    found = Evaluation.load(folder)
    assert len(found.verdicts) == 12
    assert found.run == str(out)
    assert found.command == f"holdfast evaluate {out} --attacks pgd --n 12 --fail-under 1"
    assert main(["evaluate", str(out), "--attacks", "pgd", "--n", "12", "--eps", "1/255", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["threat"]["eps_text"] == "1/255"
    assert (out / "evaluations" / "pgd-Linf-1-255-n12" / folders.EVALUATION).is_file()


def test_the_files_are_called_as_their_writers_call_them() -> None:
    assert folders.METRICS == run.METRICS


def test_an_unfinished_evaluation_is_left_out_of_the_report_and_said_so(capsys: Capture) -> None:
    assert main(["train", "natural", "--data", "digits", "--epochs", "1", "--out", "r"]) == 0
    (Path("r/evaluations/quick-Linf-0.15")).mkdir(parents=True)
    (Path("r/evaluations/quick-Linf-0.15") / "verdicts.jsonl").write_text("")
    assert main(["report", "r", "--out", "page.html"]) == 0
    assert "left out: r/evaluations/quick-Linf-0.15 is not finished" in capsys.readouterr().err


def test_a_model_from_a_users_file_is_measured(capsys: Capture) -> None:
    Path("net.py").write_text(
        "from torch import nn\ndef net(classes): return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))"
    )
    command = ["evaluate", "net.py:net", "--data", "digits", "--eps", "8/255", "--attacks", "pgd", "--n", "5"]
    assert main(command) == 0
    assert "net on digits" in capsys.readouterr().out
    folder = Path("evaluations/net-net/pgd-Linf-8-255-digits-n5")
    assert Evaluation.load(folder).run is None
    assert main([*command, "--precision", "bfloat16"]) == 0, "beside the other, not in its place"
    assert Evaluation.load(Path(f"{folder}-bfloat16")).attacks == Evaluation.load(folder).attacks


def test_methods_and_recipes_are_listed(capsys: Capture) -> None:
    assert main(["methods"]) == 0
    listed = capsys.readouterr().out
    assert all(f"\n{name} " in listed for name in METHODS)
    assert "(Lu and Kumar, arXiv:2110.14030), a reconstruction." in " ".join(listed.split())
    assert main(["recipes"]) == 0
    rows = [tuple(line.split()[:2]) for line in capsys.readouterr().out.splitlines()]
    assert set(names()) <= set(rows)


def test_a_recipe_is_shown_with_the_source_of_every_number(capsys: Capture) -> None:
    assert main(["recipes", "show", "cifar10", "trades"]) == 0
    said = capsys.readouterr().out
    rows = {line.split()[0]: line.split()[1:] for line in said.splitlines() if "." in line[:30] and "[" in line[-5:]}
    assert rows["threat.eps"] == ["0.031", "[1]"]
    assert rows["method.inner.step_size"] == ["7/31", "[1]"]
    assert "[1]   Zhang et al. 2019 (arXiv:1901.08573), TRADES 6e8e11b" in said


@pytest.mark.parametrize(
    ("data", "method", "given"),
    [("mnist", "atlas", "--data mnist"), ("cifar10_speedrun", "atlas", "--data cifar10 --recipe cifar10_speedrun")],
)
def test_the_command_that_a_recipe_ends_with_trains_by_it(data: str, method: str, given: str, capsys: Capture) -> None:
    assert main(["recipes", "show", data, method]) == 0
    assert f"holdfast train {method} {given} --set FIELD=VALUE" in capsys.readouterr().out
    options = given.split()
    found, _, _ = begin(method, options[1], options[3] if len(options) > 2 else None)
    assert replace(found, data=recipe(data, method).data) == recipe(data, method)


def test_data_of_a_hub_that_has_no_short_name_are_named_in_full() -> None:
    assert _given("imagenet", Hub("ILSVRC/imagenet-1k", name="imagenet")) == "ILSVRC/imagenet-1k --recipe imagenet"


def test_a_reader_that_leaves_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Left(io.StringIO):
        def flush(self) -> None:
            raise BrokenPipeError

        def fileno(self) -> int:
            return spare

    spare = os.open(os.devnull, os.O_WRONLY)
    monkeypatch.setattr(sys, "stdout", Left())
    assert main(["methods"]) == 0
    os.close(spare)


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_the_keyboard_stops_with_a_way_to_go_on(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    assert main(["train", "natural", "--data", "digits", "--epochs", "1", "--out", "r"]) == 0
    monkeypatch.setattr("holdfast.evaluation.evaluate", interrupted)
    assert main(["evaluate", "r"]) == 130
    assert "the same command goes on" in capsys.readouterr().err
    monkeypatch.setattr(holdfast.training, "train", interrupted)
    assert main(["train", "natural", "--data", "digits", "--out", "q"]) == 130
    assert "stopped; go on with: holdfast train --resume q" in capsys.readouterr().err
