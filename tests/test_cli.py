"""The command line, called in-process."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import holdfast.training
from holdfast.cli import folders, main
from holdfast.methods import METHODS, TRADES
from holdfast.models import MLP
from holdfast.recipe import Adam, Recipe
from holdfast.recipes import names, recipe
from holdfast.results import Evaluation
from holdfast.threat import L2
from holdfast.training import load_recipe, run

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOLDFAST_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Recipe, Path, dict[str, Any]]]:
    """Calls of `train`, which does nothing here."""
    calls: list[tuple[Recipe, Path, dict[str, Any]]] = []

    def train(recipe: Recipe, out: Path, **options: Any) -> SimpleNamespace:
        calls.append((recipe, out, options))
        return SimpleNamespace(folder=out, best={}, outcome="finished")

    monkeypatch.setattr(holdfast.training, "train", train)
    return calls


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom holdfast.cli import main\n"
        "try:\n    main(['train', '--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'numpy', 'pyarrow', 'sklearn', 'jinja2', 'tqdm', 'PIL'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "examples:" in done.stdout


@pytest.mark.parametrize("command", [[], ["train"], ["evaluate"], ["report"], ["recipes"], ["methods"]])
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
    from dataclasses import replace

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


def test_flags_reach_the_recipe(trained: list[tuple[Recipe, Path, dict[str, Any]]], capsys: Capture) -> None:
    command = (
        "train trades --data digits --model mlp --eps 128/255 --norm l2 --epochs 3 --batch-size 32 --seed 4 "
        "--precision bfloat16 --on-collapse continue --set method.beta=3 --set optimizer=adam --set model.hidden=8 "
        "--device cpu --tensorboard --out here"
    )
    assert main(command.split()) == 0
    ((made, out, options),) = trained
    assert (made.method, made.threat, made.model) == (TRADES(beta=3.0), L2(128 / 255), MLP(hidden=(8,)))
    assert (made.epochs, made.batch_size, made.seed) == (3, 32, 4)
    assert (made.precision, made.on_collapse, made.optimizer) == ("bfloat16", "continue", Adam())
    assert (out, options) == (Path("here"), {"device": "cpu", "resume": False, "tensorboard": True})
    assert "threat: Linf -> L2" in capsys.readouterr().out


USER_FILE = """
from dataclasses import dataclass
from holdfast.methods import PGDAT, Batch, Method, TRADES
from holdfast.recipes import recipe
from holdfast.recipes import digits

@dataclass(frozen=True)
class Own(PGDAT):
    weight: float = 1.0

instance = Own(weight=2.0)
whole = digits.natural()
def function(): return digits.trades()
def factory(): return Own(weight=3.0)
def needs(x): return x
def wrong(): return 5
number = 5
"""


@pytest.mark.parametrize(
    ("name", "method", "base"),
    [
        ("Own", "Own(inner=PGD", "pgd_at"),
        ("instance", "weight=2.0", "pgd_at"),
        ("factory", "weight=3.0", "pgd_at"),
        ("whole", "Natural()", "natural"),
        ("function", "TRADES(", "trades"),
    ],
)
def test_a_users_file_gives_a_recipe_or_a_method(
    name: str, method: str, base: str, trained: list[tuple[Recipe, Path, dict[str, Any]]]
) -> None:
    Path("mine.py").write_text(USER_FILE)
    assert main(["train", f"mine.py:{name}", "--data", "digits", "--epochs", "7"]) == 0
    ((made, out, _),) = trained
    assert method in repr(made.method)
    assert made.optimizer == recipe("digits", base).optimizer
    assert made.epochs == 7
    assert out == Path(f"runs/digits-{name}-s0")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("train atlass --data digits", "unknown method 'atlass'; did you mean 'atlas'?"),
        ("train atlas --data digit", "unknown data 'digit'; did you mean 'digits'?"),
        ("train atlas --data ./nowhere", "there is no folder './nowhere'"),
        ("train atlas", "say on which images: --data digits"),
        ("train", "say what to train"),
        ("train mine.py", "say which name of mine.py to train"),
        ("train nowhere.py:x", "there is no file 'nowhere.py'"),
        ("train mine.py:functio --data digits", "did you mean 'function'?"),
        ("train mine.py:needs", "mine.py:needs wants x, but is called without arguments"),
        ("train mine.py:wrong", "mine.py:wrong is a int; it must be, or return, a Recipe or a Method"),
        ("train mine.py:number", "mine.py:number is a int"),
        ("train mine.py:whole --recipe mnist", "is a whole recipe, so --recipe mnist has no place"),
        ("train atlas --data digits --recipe mnst", "unknown data set 'mnst'; did you mean 'mnist'?"),
        ("train atlas --data digits --set method.betta=3", "unknown field of method (ATLAS) 'betta'"),
        ("train atlas --data digits --set optimizer.lr", "write FIELD=VALUE"),
        ("train atlas --data digits --epochs ten", "epochs is 'ten', but it is a whole number"),
        ("train atlas --data digits --epochs 0", "epochs is 0, but it is at least 1"),
        ("train atlas --data digits --eps 8", "write 8/255"),
        ("train atlas --data digits --eps a", "threat.eps is 'a', but it is a number"),
        ("train atlas --data digits --norm l2", "--norm l2 needs --eps"),
        ("train atlas --data digits --norm l3 --eps 1", "unknown value of threat 'l3'"),
        ("train atlas --data digits --model wong", "did you mean 'wong_cnn'?"),
        ("train atlas --data digits --precision half", "unknown value of precision 'half'"),
        ("train natural --data digits --device gpu", "device 'gpu' is none that torch knows; give cpu, cuda"),
        ("train --resume nowhere", "nowhere holds no run"),
        ("train atlas --resume nowhere --epochs 3", "so METHOD, --epochs cannot be changed"),
        ("evaluate nowhere", "there is no folder 'nowhere'"),
        ("evaluate .", ". holds no run"),
        ("evaluate mine.py:net", "add --data and --eps"),
        ("evaluate mine.py:number --data digits --eps 0.1", "number is a int"),
        ("report nowhere", "nowhere is no folder; give the --out"),
        ("report .", ". holds neither a run nor an evaluation"),
        ("recipes show mnits atlas", "did you mean 'mnist'?"),
        ("recipes show mnist atlass", "did you mean 'atlas'?"),
        ("recipes show imagenet atlas", "there is no recipe of atlas for imagenet"),
    ],
)
def test_what_cannot_be_done_is_one_clear_message(command: str, said: str, capsys: Capture) -> None:
    Path("mine.py").write_text(USER_FILE)
    assert main(command.split()) == 2
    err = capsys.readouterr().err
    assert err.startswith("holdfast: ")
    assert said in err
    assert "Traceback" not in err
    assert not Path("runs").exists()


def test_attacks_and_weights_are_refused_by_name(capsys: Capture) -> None:
    assert main(["train", "natural", "--data", "digits", "--epochs", "1", "--out", "r"]) == 0
    for flag, said in (
        ("--attacks quik", "unknown protocol 'quik'; did you mean 'quick'?"),
        ("--weights bset", "unknown weights 'bset'; did you mean 'best'?"),
        ("--norm L2", "--norm L2 needs --eps"),
        ("--n 1000", "give 1 to 449"),
    ):
        capsys.readouterr()
        assert main(["evaluate", "r", *flag.split()]) == 2
        assert said in capsys.readouterr().err


DATA_FILE = """
import torch
from holdfast.data import Tensors
x, y = torch.rand(20, 1, 8, 8), torch.arange(20) % 2
def dark(): return Tensors((x, y), (x, y), name="dark")
def bright(): return Tensors((x * 255, y), (x, y))
def labels(): return Tensors((x, y + 5), (x, y), classes=("a", "b"))
def empty(): return Tensors((x[:0], y[:0]), (x, y), classes=("a", "b"))
def halves(): return Tensors((x, y[:10]), (x, y))
"""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("bright", "divide by 255"),
        ("labels", "label 5 of example 0 of tensors/train is outside [0, 2)"),
        ("empty", "is empty; every split needs at least one example"),
        ("halves", "20 images and 10 labels"),
    ],
)
def test_data_that_cannot_be_believed_are_refused(name: str, said: str, capsys: Capture) -> None:
    Path("images.py").write_text(DATA_FILE)
    assert main(["train", "atlas", "--data", f"images.py:{name}"]) == 2
    assert said in capsys.readouterr().err


def test_other_data_take_the_nearest_recipe_and_say_so(
    trained: list[tuple[Recipe, Path, dict[str, Any]]], capsys: Capture
) -> None:
    Path("images.py").write_text(DATA_FILE)
    assert main(["train", "atlas", "--data", "images.py:dark"]) == 0
    assert "atlas on digits: dark has none of its own, and its images of 1 x 8 x 8" in capsys.readouterr().out
    assert main(["train", "atlas", "--data", "images.py:dark", "--recipe", "mnist"]) == 0
    assert [made.epochs for made, _, _ in trained] == [60, 5]
    assert {str(out) for _, out, _ in trained} == {"runs/dark-atlas-s0"}


def test_a_missing_extra_and_a_missing_network_are_told_apart(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert main(["train", "natural", "--data", "mnist"]) == 2
    assert "pip install 'holdfast[hub]'" in capsys.readouterr().err

    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=offline))
    assert main(["train", "natural", "--data", "mnist"]) == 2
    err = capsys.readouterr().err
    assert "ConnectionError: no route to host" in err
    assert "--data PATH" in err
    monkeypatch.setitem(sys.modules, "timm", None)
    assert main(["train", "natural", "--data", "digits", "--model", "timm:resnet18"]) == 2
    assert "pip install 'holdfast[timm]'" in capsys.readouterr().err


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


def test_a_collapsed_training_is_told_by_the_exit_status(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    best = {"epoch": 4, "clean_accuracy": 0.9, "robust_accuracy": 0.456}
    done = SimpleNamespace(folder="r", best=best, outcome="collapse")
    monkeypatch.setattr(holdfast.training, "train", lambda *_, **__: done)
    assert main(["train", "natural", "--data", "digits"]) == 1
    said = capsys.readouterr().out
    assert "epoch 5: clean 90.0 %, robust 45.6 %" in said
    assert "outcome  collapse" in said


def test_only_the_first_process_talks(
    monkeypatch: pytest.MonkeyPatch, trained: list[tuple[Recipe, Path, dict[str, Any]]], capsys: Capture
) -> None:
    monkeypatch.setenv("RANK", "1")
    assert main(["train", "natural", "--data", "digits"]) == 0
    assert capsys.readouterr().out == ""
    assert len(trained) == 1


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


def test_a_model_from_a_users_file_is_measured(capsys: Capture) -> None:
    Path("net.py").write_text(
        "from torch import nn\ndef net(classes): return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))"
    )
    assert main(["evaluate", "net.py:net", "--data", "digits", "--eps", "8/255", "--attacks", "pgd", "--n", "5"]) == 0
    assert "net on digits" in capsys.readouterr().out
    assert Evaluation.load(Path("evaluations/net-net/pgd-Linf-8-255-digits-n5")).run is None


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


def test_fail_under_is_a_share(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "r", "--fail-under", "45"])
    assert stop.value.code == 2
    assert "write 0.45 for 45 %" in capsys.readouterr().err
