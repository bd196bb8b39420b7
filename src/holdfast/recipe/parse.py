"""From text to the value of a field, by the field's annotation."""

import re
import sys
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, is_dataclass, replace
from fractions import Fraction
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from holdfast.data import Augment, RandomCrop, Source, source
from holdfast.errors import InvalidInput, unknown
from holdfast.methods import METHODS, Method
from holdfast.models import Architecture, UserModel, architecture
from holdfast.recipe.shown import shown

_SWITCH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_KINDS = {
    bool: ("true or false", "true"),
    int: ("a whole number", "10"),
    float: ("a number", "0.1"),
    str: ("text", "x"),
}


@dataclass(frozen=True)
class Choice:
    """A class that was chosen by name; its fields are still to be filled."""

    kind: type


def parse(annotation: Any, text: str, path: str, current: Any) -> Any:
    """Read the value of a field; for a part that is chosen by name, a `Choice`.

    Args:
        annotation: the field's type: a number, text, Literal, tuple, dataclass, or a union of such.
        text: what was written.
        path: of the field, for messages.
        current: its value, an example for messages.

    Raises:
        InvalidInput: the text is no such value; the message has the value, the type and an example.
    """
    kinds = list(get_args(annotation)) if get_origin(annotation) in (Union, UnionType) else [annotation]
    if NoneType in kinds and text.lower() in ("none", "null", ""):
        return None
    kinds = [kind for kind in kinds if kind is not NoneType]
    words = [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
    if text in words:
        return text
    kinds = [kind for kind in kinds if get_origin(kind) is not Literal]
    if not kinds:
        raise unknown(f"value of {path}", text, words)
    if all(kind in _KINDS for kind in kinds):
        return _scalar(kinds, words, text, path, current)
    (kind,) = kinds
    if get_origin(kind) is tuple:
        return _items(get_args(kind), text, path, current)
    return _part(kind, text, path, current)


def _scalar(kinds: list[Any], words: list[str], text: str, path: str, current: Any) -> Any:
    for kind in kinds:
        try:
            return _SWITCH[text.lower()] if kind is bool else float(Fraction(text)) if kind is float else kind(text)
        except (KeyError, ValueError, ZeroDivisionError):
            continue
    wanted = " or ".join([*words, *(_KINDS[kind][0] for kind in kinds)])
    example = shown(current) if type(current) in kinds else _KINDS[kinds[0]][1]
    raise InvalidInput(f"{path} is {text!r}, but it is {wanted}, e.g. {path}={example}")


def _items(kinds: tuple[Any, ...], text: str, path: str, current: Any) -> tuple[Any, ...]:
    """A tuple, written with commas, in parentheses or not; "none" is the empty one."""
    texts = [item.strip() for item in text.strip("()[] ").split(",") if item.strip()]
    if len(texts) == 1 and texts[0].lower() == "none":
        texts = []
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(texts)
    if len(kinds) != len(texts):
        example = "" if current is MISSING else f", e.g. {path}={','.join(shown(item) for item in current)}"
        raise InvalidInput(f"{path} is {text!r}, {len(texts)} values, but it has {len(kinds)}{example}")
    items = (parse(kind, item, path, None) for kind, item in zip(kinds, texts, strict=True))
    return tuple(item.kind() if isinstance(item, Choice) else item for item in items)


def _part(kind: Any, text: str, path: str, current: Any) -> Any:
    if kind is Source:
        return source(text)
    if kind is Architecture:
        return _network(text, current)
    choices = _choices(kind)
    if not choices:
        raise InvalidInput(
            f"{path} cannot be set from text; write a recipe of your own: holdfast train my_file.py:recipe"
        )
    for name, choice in choices.items():
        if _plain(text) in (_plain(name), _plain(choice.__name__)):
            return Choice(choice)
    raise unknown(f"value of {path}", text, choices)


def _network(text: str, current: Any) -> Architecture:
    """The architecture of a name; statistics are the data's and stay, but a user's own network may have its own."""
    network = architecture(text)
    if isinstance(network, UserModel) or not isinstance(current, Architecture):
        return network
    return replace(network, mean=current.mean, std=current.std)


def _choices(kind: Any) -> dict[str, type[Any]]:
    """Concrete dataclasses that can stand where `kind` is asked for, by name."""
    if kind is Method:
        others = {snake(choice): choice for choice in _subclasses(Method) if choice not in METHODS.values()}
        return {**METHODS, **others}
    # Nothing inherits from a protocol or a callable's type, so its module's classes are taken: written for it.
    if kind == Augment:
        return _siblings(RandomCrop)
    if getattr(kind, "_is_protocol", False):
        return _siblings(kind)
    return {snake(choice): choice for choice in _subclasses(kind)} if isinstance(kind, type) else {}


def _subclasses(kind: type[Any]) -> Iterator[type[Any]]:
    if is_dataclass(kind) and not getattr(kind, "__abstractmethods__", None):
        yield kind
    for child in kind.__subclasses__():
        yield from _subclasses(child)


def _siblings(kind: type[Any]) -> dict[str, type[Any]]:
    """The dataclasses of the module of `kind`."""
    beside = (value for value in vars(sys.modules[kind.__module__]).values() if isinstance(value, type))
    return {snake(c): c for c in beside if is_dataclass(c) and c.__module__ == kind.__module__}


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def snake(kind: type) -> str:
    """The name of a class as it is typed: OneCycle is one_cycle, PGD is pgd."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind.__name__).lower()
