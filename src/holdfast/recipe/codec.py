"""Recipes as JSON: frozen dataclasses to plain data and back, exactly, without pickle.

A dataclass becomes {"type": "holdfast.methods.trades.TRADES", "beta": 6.0, ...}; tuples become lists; numbers, text,
None and mappings stay as they are. A class of a user's own file is written "my_method.py:MyMethod", without its folder,
so that a run can be moved with the copy of that file which it keeps.
"""

import hashlib
import importlib
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from holdfast import userfile
from holdfast.errors import CheckpointError, InvalidInput
from holdfast.recipe.shown import shown

Json = Any  # what json.dumps takes: None, bool, int, float, str, list, dict


def encode(value: object) -> Json:
    """Write a value down as plain data that `decode` reads back; floats survive exactly.

    Arrays and tensors are written as a fingerprint: enough to see that they changed, not enough to make them again.

    Raises:
        InvalidInput: the value holds something that is no data, such as a function; the message names the field.
    """
    return _encode(value, "")


def _encode(value: Any, path: str) -> Json:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"type": "float", "value": repr(float(value))}
    if isinstance(value, str):
        return str(value)
    if isinstance(value, tuple):
        return [_encode(item, f"{path}.{position}") for position, item in enumerate(value)]
    if isinstance(value, Path):
        return {"type": "path", "value": str(value)}
    if isinstance(value, Mapping):
        return _encode_mapping(value, path)
    if is_dataclass(value) and not isinstance(value, type):
        content = {name: _portable(name, item) for name, item in _fields(value)}
        return {"type": _tag(type(value)), **_encode_mapping(content, path)}
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return _fingerprint(value)
    raise InvalidInput(
        f"{path.lstrip('.') or 'the value'} is a {type(value).__name__}, which cannot be written down; use numbers, "
        "text, tuples and frozen dataclasses (with __call__ where a function is needed)"
    )


def _encode_mapping(value: Mapping[Any, Any], path: str) -> Json:
    for key in value:
        if not isinstance(key, str) or key == "type":
            raise InvalidInput(
                f"{path.lstrip('.') or 'the value'} has the key {key!r}, but the keys of a mapping that is written "
                "down are text other than 'type'"
            )
    return {key: _encode(item, f"{path}.{key}") for key, item in value.items()}


def _fields(value: Any) -> Iterator[tuple[str, Any]]:
    return ((field.name, getattr(value, field.name)) for field in fields(value) if field.init)


def _is_user_file(name: str, value: object) -> bool:
    return name == "path" and isinstance(value, str) and value.endswith(".py")


def _portable(name: str, value: Any) -> Any:
    return Path(value).name if _is_user_file(name, value) else value


def _home(kind: type) -> Path | None:
    """The user's file that defines a class, None for a class of an importable module."""
    # userfile registers modules under a name with a colon, which no import statement can write.
    module = sys.modules.get(kind.__module__)
    if ":" not in kind.__module__ or module is None or module.__file__ is None:
        return None
    return Path(module.__file__)


def _tag(kind: type) -> str:
    home = _home(kind)
    return f"{home.name}:{kind.__qualname__}" if home else f"{kind.__module__}.{kind.__qualname__}"


def _fingerprint(array: Any) -> Json:
    plain = array.detach().cpu().numpy() if hasattr(array, "detach") else array
    return {
        "type": "array",
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "sha256": hashlib.sha256(plain.tobytes()).hexdigest(),
    }


def user_files(value: object) -> tuple[Path, ...]:
    """The users' Python files that a value was made from: those of its classes and of its models.

    A run keeps copies of them in one folder, which `decode` takes as `search`.

    Raises:
        InvalidInput: two that differ have the same name, so that one folder cannot hold both.
    """
    by_name: dict[str, Path] = {}
    for file in dict.fromkeys(_walk_files(value)):
        other = by_name.setdefault(file.name, file)
        # A file and the copy that a run keeps of it are the same.
        if other != file and other.read_bytes() != file.read_bytes():
            raise InvalidInput(f"{other} and {file} have the same name; rename one of them")
    return tuple(by_name.values())


def _walk_files(value: Any) -> Iterator[Path]:
    if isinstance(value, tuple):
        for item in value:
            yield from _walk_files(item)
    elif isinstance(value, Mapping):
        yield from _walk_files(tuple(value.values()))
    elif is_dataclass(value) and not isinstance(value, type):
        if home := _home(type(value)):
            yield home
        for name, item in _fields(value):
            if _is_user_file(name, item):
                yield Path(item).expanduser().resolve()
            yield from _walk_files(item)


def decode(data: Json, search: Path | None = None) -> Any:
    """Make the value that `encode` wrote down.

    Classes come from Holdfast, from users' files (which are run), or from modules that the caller has imported already;
    nothing else is imported and nothing is unpickled.

    Args:
        data: plain data, as `json.loads` returns it.
        search: folder with copies of the users' files; without it, and for files that it lacks, the working folder.

    Raises:
        CheckpointError: a type or field is unknown, or a value is refused by its class; the message names it.
        MissingExtra: a class needs a package that is not installed.
    """
    return _decode(data, search, "")


def _decode(data: Json, search: Path | None, path: str) -> Any:
    if isinstance(data, list):
        return tuple(_decode(item, search, f"{path}.{position}") for position, item in enumerate(data))
    if not isinstance(data, dict):
        return data
    content = {name: _decode(item, search, f"{path}.{name}") for name, item in data.items() if name != "type"}
    tag = data.get("type")
    if tag is None:
        return content
    if tag == "float":
        return float(content["value"])
    if tag == "path":
        return Path(content["value"])
    where = f" at {path.lstrip('.')}" if path else ""
    if tag == "array":
        raise CheckpointError(
            f"the array of shape {content.get('shape')}{where} was recorded by its fingerprint only; give the recipe "
            "again from Python: train(recipe, folder, resume=True)"
        )
    kind = _class(str(tag), search, where)
    return _make(kind, str(tag), _located(content, search), where)


def _located(content: dict[str, Any], search: Path | None) -> dict[str, Any]:
    """Point at the copies of users' files where there are some."""
    return {name: str(_copy(item, search)) if _is_user_file(name, item) else item for name, item in content.items()}


def _copy(name: str, search: Path | None) -> Path:
    copy = None if search is None else search / Path(name).name
    return copy if copy is not None and copy.is_file() else Path(name)


def _class(tag: str, search: Path | None, where: str) -> Any:
    try:
        kind = _find(tag, search)
    except (InvalidInput, ImportError, AttributeError) as error:
        raise CheckpointError(f"unknown type {tag!r}{where} in a recorded recipe: {error}") from error
    if not (isinstance(kind, type) and is_dataclass(kind)):
        raise CheckpointError(f"type {tag!r}{where} in a recorded recipe is no dataclass")
    return kind


def _find(tag: str, search: Path | None) -> Any:
    if reference := userfile.parse(tag):
        file, name = reference
        return userfile.load(str(_copy(file, search)), name)
    module, _, name = tag.rpartition(".")
    if module.startswith("holdfast."):
        return getattr(importlib.import_module(module), name)
    if module not in sys.modules:
        raise InvalidInput(
            f"{module or tag} is neither a module of Holdfast nor imported; import it and give the recipe again from "
            "Python, or keep your classes in one file and name it on the command line: my_method.py:my_recipe"
        )
    return getattr(sys.modules[module], name)


def _make(kind: Any, tag: str, content: dict[str, Any], where: str) -> Any:
    known = {field.name for field in fields(kind) if field.init}
    for name in content:
        if name not in known:
            raise CheckpointError(
                f"unknown field {name!r} of {tag}{where} in a recorded recipe (known: {', '.join(sorted(known))}); "
                "was it written by another version?"
            )
    try:
        return kind(**content)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{tag}{where} in a recorded recipe is refused: {error}") from error


def differences(a: object, b: object) -> list[str]:
    """The fields in which two values differ, as lines "method.beta: 6 -> 3".

    Args:
        a, b: values, or what `encode` made of them. The `sources` of a recipe decide nothing and are left out.
    """
    left, right = (value if isinstance(value, dict) else encode(value) for value in (a, b))
    return list(_compare(left, right, ""))


def _compare(a: Json, b: Json, path: str) -> Iterator[str]:
    if isinstance(a, dict) and isinstance(b, dict) and a.get("type") == b.get("type"):
        for name in dict.fromkeys([*a, *b]):
            if not (path == "" and name == "sources"):
                yield from _compare(a.get(name), b.get(name), f"{path}.{name}")
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for position, (left, right) in enumerate(zip(a, b, strict=True)):
            yield from _compare(left, right, f"{path}.{position}")
    elif a != b or type(a) is not type(b):
        yield f"{path.lstrip('.')}: {shown(a)} -> {shown(b)}"
