"""What cannot be done is one message with its remedy."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from holdfast.cli import main

Capture = pytest.CaptureFixture[str]


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
        ("train atlas --data digits --epochs 0", "epochs is 0, but a training sees images"),
        ("train atlas --data digits --eps 8", "write 8/255"),
        ("train atlas --data digits --eps a", "threat.eps is 'a', but it is a number"),
        ("train atlas --data digits --norm l2", "--norm l2 needs --eps"),
        ("train atlas --data digits --norm l3 --eps 1", "unknown value of threat 'l3'"),
        ("train atlas --data digits --model wong", "did you mean 'wong_cnn'?"),
        ("train atlas --data digits --precision half", "unknown value of precision 'half'"),
        ("train natural --data digits --device gpu", "device 'gpu' is none that torch knows; give cpu, cuda"),
        ("train natural --data digits --device meta", "device meta cannot be used here ("),
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
    assert main(["train", "atlas", "--data", f"images.py:{name}"]) == 2
    assert said in capsys.readouterr().err


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


@pytest.mark.parametrize("share", ["45", "half", "nan"])
def test_fail_under_is_a_share(share: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "r", "--fail-under", share])
    assert stop.value.code == 2
    assert "write 0.45 for 45 %" in capsys.readouterr().err
