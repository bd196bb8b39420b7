"""What a result says of the software that made it."""

from importlib.metadata import PackageNotFoundError

import pytest

from holdfast import provenance
from holdfast.cli import main


def test_a_checkout_that_is_not_installed_still_trains_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known = provenance.version

    def version(name: str) -> str:
        if name == "holdfast":
            raise PackageNotFoundError(name)
        return known(name)

    monkeypatch.setattr(provenance, "version", version)
    assert provenance.versions("cpu")["holdfast"] == "not installed"
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == "holdfast not installed\n"
