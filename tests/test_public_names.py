"""`import holdfast`: cheap, complete, and the same to a type checker as to Python."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import holdfast


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys, holdfast; sys.exit(any(m.startswith('holdfast.') or m == 'torch' for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_is_the_one_that_type_checkers_see() -> None:
    tree = ast.parse(Path(str(holdfast.__file__)).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        module = __import__(str(node.module), fromlist=["x"])
        seen |= {alias.name: getattr(module, alias.name) for alias in node.names}
    assert set(seen) == set(holdfast.__all__)
    for name, value in seen.items():
        assert getattr(holdfast, name) is value
    assert set(holdfast.__all__) <= set(dir(holdfast))


def test_submodules_are_found_without_importing_them() -> None:
    assert holdfast.recipes.names()
    assert callable(holdfast.testing.check_method)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'atlas'"):
        holdfast.atlas  # noqa: B018
