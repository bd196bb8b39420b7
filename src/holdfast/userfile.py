"""Take one name out of a user's Python file: the `my_model.py:net` of the command line."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from holdfast.errors import InvalidInput, unknown

_REFERENCE = re.compile(r"(?P<path>.+\.py):(?P<name>\w+)")


def parse(text: str) -> tuple[str, str] | None:
    """Split `path.py:name` into its two parts; None if `text` has another form."""
    match = _REFERENCE.fullmatch(text)
    return (match["path"], match["name"]) if match else None


def load(path: str, name: str) -> Any:
    """Run the file at `path`, once a process, and return what it calls `name`.

    The file's folder is added to the end of `sys.path`, so that it can import its neighbours, as a script can.

    Raises:
        InvalidInput: there is no such file, or it defines no such name. What the file itself raises passes through.
    """
    file = Path(path).expanduser().resolve()
    if not file.is_file():
        raise InvalidInput(f"there is no file {path!r} in {Path.cwd()}; give the path of a Python file")
    module = _module(file)
    try:
        return getattr(module, name)
    except AttributeError:
        public = [n for n in vars(module) if not n.startswith("_")]
        raise unknown(f"name in {file.name}", name, public) from None


def _module(file: Path) -> ModuleType:
    # Registered under its whole path: dataclasses and pickle look a class's module up in sys.modules.
    key = f"holdfast_user:{file}"
    if key in sys.modules:
        return sys.modules[key]
    spec = importlib.util.spec_from_file_location(key, file)
    if spec is None or spec.loader is None:
        raise InvalidInput(f"{file} cannot be imported; give the path of a Python file that ends in .py")
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    module = importlib.util.module_from_spec(spec)
    sys.modules[key] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[key]
        raise
    return module
