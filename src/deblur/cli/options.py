"""How command lines are read, what their help pages show, and what a wrong one is told: rules before those of tyro."""

import inspect
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import is_dataclass, replace
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import docstring_parser
import tyro
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

RULES = ConstructorRegistry()
NUMBERS: dict[Any, str] = {int: "a whole number", float: "a number"}

PARAMETER = re.compile(r"\A\w+(?= )|(?<= \()\w+(?=\)\.\Z)")
"""Where a message names the parameter that it is about."""


def parse(command: Any, prog: str, arguments: Sequence[str], **how: Any) -> Any:
    """Call a command, or make an object, as a command line says; ``prog --help`` is its help page."""
    how = {"description": flowing(docstring_parser.parse(command.__doc__ or "").description or ""), **how}
    return tyro.cli(command, prog=prog, args=arguments, registry=RULES, **how)


def with_dashes(sentence: str, command: Any) -> str:
    """What is said about a parameter as the command line calls it: ``threads is 0`` -> ``--threads is 0``.

    It is the first word, or the last one in brackets: ``Or allow it (large).`` -> ``Or allow it (--large).``
    """
    names = set(_names(command))
    return PARAMETER.sub(lambda found: f"--{found[0].replace('_', '-')}" if found[0] in names else found[0], sentence)


def _names(command: Any) -> Iterator[str]:
    """The options of a command, and those of its groups."""
    for name, hint in get_type_hints(command, include_extras=True).items():
        kind, marks = _parts(hint)
        if is_dataclass(kind):
            yield from _names(kind)
        elif tyro.conf.Positional not in marks:
            yield name


def flowing(text: str) -> str:
    """A docstring without the line breaks inside its paragraphs; lists keep theirs."""
    return re.sub(r"(?<!\n)\n(?!\n|[*-] ) *", " ", inspect.cleandoc(text))


@RULES.struct_rule
def _options(info: StructTypeInfo) -> StructConstructorSpec | None:
    """The options of a command, or of a group of settings, as their docstrings tell them."""
    if not (inspect.isfunction(info.type) or is_dataclass(info.type)):
        return None
    kind: Any = info.type
    told = [docstring_parser.parse_from_object(each) for each in getattr(kind, "__mro__", (kind, object))[-2::-1]]
    texts = {param.arg_name: flowing(param.description or "") for each in told for param in each.params}
    hints = get_type_hints(kind, include_extras=True)
    return StructConstructorSpec(
        kind,
        tuple(
            StructFieldSpec(name, _shown(name, hints[name], default), default, texts.get(name))
            for name, default in _defaults(info).items()
        ),
    )


def _defaults(info: StructTypeInfo) -> dict[str, Any]:
    parameters = inspect.signature(info.type).parameters
    if is_dataclass(info.default):
        return {name: getattr(info.default, name) for name in parameters}
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    return {name: tyro.MISSING_NONPROP if each is inspect.Parameter.empty else each for name, each in defaults.items()}


def _shown(name: str, hint: Any, default: Any) -> Any:
    """An option's type, with the word that stands for its value, and what is told of its default: of none, nothing."""
    kind, marks = _parts(hint)
    several = [each for each in (kind, *get_args(kind)) if get_origin(each) in (tuple, Sequence)]
    positional = tyro.conf.Positional in marks
    word = name.upper() if positional else get_args(several[0])[0].__name__.upper() if several else None
    word = f"{word} ..." if several else word
    word = f"[{word}]" if positional and default is not tyro.MISSING_NONPROP else word
    off = "" if tyro.conf.FlagCreatePairsOff in marks else "(default: off)"
    told = {"None": "", "": "", "False": off, "True": "(default: on)"}
    own = tyro.conf.arg(metavar=word, help_behavior_hint=lambda text: told.get(text, f"(default: {text})"))
    return Annotated[(kind, own, *marks)]


def _parts(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type and its marks."""
    return (hint.__origin__, hint.__metadata__) if get_origin(hint) is Annotated else (hint, ())


@RULES.primitive_rule
def _number(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    if info.type not in NUMBERS:
        return None

    def read(words: list[str]) -> Any:
        try:
            return info.type(words[0])
        except ValueError:
            raise ValueError(f"{words[0]} is not {NUMBERS[info.type]}.") from None

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=info.type.__name__.upper(),
        instance_from_str=read,
        is_instance=lambda value: isinstance(value, (int, info.type)),
        str_from_instance=lambda value: [str(value)],
    )


@RULES.primitive_rule
def _union(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """Of an option that may be None, only its value is written; None is what it is without one."""
    if info.type_origin not in (Union, UnionType):
        return None
    kinds = [kind for kind in get_args(info.type) if kind is not NoneType]
    specs = [ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(kind, info.markers)) for kind in kinds]
    found = [spec for spec in specs if isinstance(spec, PrimitiveConstructorSpec) and spec.nargs == 1]
    if len(found) < len(kinds):
        return None

    def read(words: list[str]) -> Any:
        if len(found) == 1:
            return found[0].instance_from_str(words)
        for spec in found:
            if not spec.choices or words[0] in spec.choices:
                with suppress(ValueError):
                    return spec.instance_from_str(words)
        allowed = [
            ", ".join(spec.choices or [NUMBERS.get(kind, spec.metavar)])
            for kind, spec in zip(kinds, found, strict=True)
        ]
        raise ValueError(f"{words[0]} is none of {', '.join(allowed)}.")

    def written(value: Any) -> list[str]:
        return next((spec.str_from_instance(value) for spec in found if spec.is_instance(value)), ["None"])

    return replace(
        found[0],
        metavar="|".join(spec.metavar for spec in found),
        instance_from_str=read,
        is_instance=lambda value: value is None or any(spec.is_instance(value) for spec in found),
        str_from_instance=written,
        choices=found[0].choices if len(found) == 1 else None,
    )
