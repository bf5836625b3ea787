"""The JSON form of plans, and their digests.

The form follows the dataclasses of `hal.plan.model` field by field: an instruction is an object whose `do` names it,
and a field at its default is left out. What is read is data from outside: whatever it holds, the reader returns a
valid plan or raises one `PlanError`, within time and memory in proportion to the document.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
import stat
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hal.interface.dtypes import ReduceOp
from hal.interface.errors import PlanError, unknown_name
from hal.plan.memo import once_per_plan
from hal.plan.model import SCHEMA_VERSION, BufferKind, ChannelKind, Instruction, Loop, Plan
from hal.plan.validate import validate

SCHEMA_NAME = "hal-plan"
LARGEST_DOCUMENT = 64 << 20
"""Bytes."""
MOST_VALUES = 8 << 20
"""Values (numbers, texts, lists, objects, keys) in a document: they take far more memory than their text."""
LARGEST_NUMBER = 1 << 40

INSTRUCTIONS: dict[str, type[Any]] = {cls.__name__.lower(): cls for cls in typing.get_args(Instruction)}
"""The instructions by the name that `do` gives."""
_NAMES = {cls: name for name, cls in INSTRUCTIONS.items()}


def dumps(plan: Plan) -> str:
    """The plan as JSON, one line for each instruction. `loads` of it is an equal plan."""
    document = encode(plan)
    ranks = ",\n".join(_rank_text(rank) for rank in document.pop("ranks"))
    head = "".join(f"{_compact(key)}: {_compact(value)},\n" for key, value in document.items())
    return f'{{\n{head}"ranks": [\n{ranks}\n]\n}}\n'


def loads(text: str | bytes) -> Plan:
    """The valid plan that a JSON document holds.

    `PlanError` where it is no JSON of the schema, naming the place in it (`ranks[2].blocks[0][3].dst[1].index`), what
    is there and what is allowed; or where the plan is not valid (`hal.plan.validate`).
    """
    try:
        plan: Plan = _read_document(_parsed(text))
    except _Problem as problem:
        place = "".join(reversed(problem.path)).removeprefix(".")
        raise PlanError(f"{place}: {problem.message}" if place else problem.message) from None
    validate(plan)
    return plan


def save(plan: Plan, path: str | Path) -> None:
    """Write the plan to a file."""
    Path(path).write_text(dumps(plan), encoding="utf-8")


def load(path: str | Path) -> Plan:
    """The plan in a file; `PlanError` naming the file where it cannot be read or holds no valid plan."""
    try:
        # opening a pipe would wait for its writer
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise PlanError(f"{path}: is not a regular file")
        with Path(path).open("rb") as file:
            content = file.read(LARGEST_DOCUMENT + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, PlanError):
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise PlanError(f"{path}: cannot be read: {reason}") from None
    try:
        return loads(content)
    except PlanError as error:
        raise PlanError(f"{path}: {error.message}") from None


@once_per_plan
def digest(plan: Plan) -> str:
    """64 hexadecimal digits (SHA-256) that equal plans share and different ones do not. The description has no part.

    Computed once for each plan object.
    """
    canonical = json.dumps(encode(dataclasses.replace(plan, description="")), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def encode(plan: Plan) -> dict[str, Any]:
    """The plan as the nested dictionaries and lists that its JSON document holds."""
    return {"schema": {"name": SCHEMA_NAME, "version": SCHEMA_VERSION}, **_encoded(plan)}


def _encoded(value: Any) -> Any:
    if isinstance(value, ReduceOp):
        return value.label
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, tuple):
        return [_encoded(item) for item in value]
    if not dataclasses.is_dataclass(value):
        return value
    kind = _NAMES.get(type(value))
    fields = {} if kind is None else {"do": kind}
    for field in _json_fields(type(value)):
        item = getattr(value, field.name)
        if field.default is dataclasses.MISSING or item != field.default:
            fields[field.name] = _encoded(item)
    return fields


def _json_fields(cls: type[Any]) -> list[dataclasses.Field[Any]]:
    """The fields of a dataclass that its JSON form has."""
    return [field for field in dataclasses.fields(cls) if field.metadata.get("json", True)]


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _rank_text(rank: dict[str, Any]) -> str:
    blocks = ",\n".join(
        "[\n" + ",\n".join(f"  {_compact(instruction)}" for instruction in block) + "\n ]"
        for block in rank.pop("blocks")
    )
    head = _compact(rank)[:-1]
    return f' {head}, "blocks": [{blocks}]}}'


class _Problem(Exception):  # noqa: N818 -- never leaves this module
    """What is wrong with a value; on its way out each level adds its part of the path."""

    def __init__(self, message: str) -> None:
        self.message = message
        self.path: list[str] = []


@dataclasses.dataclass
class _Repeated:
    """In place of an object that has a key twice, so that the message can say where."""

    key: str


def _parsed(text: str | bytes) -> Any:
    if len(text) > LARGEST_DOCUMENT:
        raise _Problem(f"a plan of more than {LARGEST_DOCUMENT} bytes is not read")
    try:
        text = text if isinstance(text, str) else text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _Problem(f"not UTF-8 text: byte {error.start} is {error.object[error.start]:#04x}") from None
    if sum(map(text.count, ",:[{")) > MOST_VALUES:
        raise _Problem(f"a plan of more than {MOST_VALUES} values is not read")
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise _Problem(f"not JSON: line {error.lineno}, column {error.colno}: {error.msg}") from None
    except ValueError:
        raise _Problem("not usable JSON: a number has too many digits") from None
    except RecursionError:
        raise _Problem("not usable JSON: nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any] | _Repeated:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    seen: set[str] = set()
    return next(_Repeated(key) for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]


def _short(name: str) -> str:
    return name if len(name) <= 60 else name[:60] + "…"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return repr(_short(value))
    if isinstance(value, int) and abs(value) > 1 << 64:
        return "a number of more than 64 bits"
    return json.dumps(value)


def _expected(what: str, value: Any) -> _Problem:
    if isinstance(value, _Repeated):
        return _Problem(f"key {_short(value.key)!r} appears twice")
    return _Problem(f"expected {what}, not {_shown(value)}")


Decoder = Callable[[Any], Any]


def _whole_number(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= LARGEST_NUMBER:
        raise _expected(f"a whole number from 0 to {LARGEST_NUMBER}", value)
    return value


def _truth(value: Any) -> bool:
    if type(value) is not bool:
        raise _expected("true or false", value)
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise _expected("a text", value)
    return value


def _choice(kind: str, options: dict[str, Any]) -> Decoder:
    def decode(value: Any) -> Any:
        found = options.get(value) if type(value) is str else None
        if found is None:
            if type(value) is not str:
                raise _expected(f"one of {', '.join(options)}", value)
            raise _Problem(unknown_name(kind, _short(value), options))
        return found

    return decode


def _optional(inner: Decoder) -> Decoder:
    return lambda value: None if value is None else inner(value)


def _sequence(inner: Decoder) -> Decoder:
    def decode(value: Any) -> tuple[Any, ...]:
        if type(value) is not list:
            raise _expected("a list", value)
        items: list[Any] = []
        try:
            for item in value:
                items.append(inner(item))  # noqa: PERF401 -- its length is the index of the item that fails
        except _Problem as problem:
            problem.path.append(f"[{len(items)}]")
            raise
        return tuple(items)

    return decode


def _object(cls: type[Any], instructions: Decoder) -> Decoder:
    hints = typing.get_type_hints(cls)
    decoders = {field.name: _decoder(hints[field.name], instructions) for field in _json_fields(cls)}
    required = [f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING]

    def decode(value: Any) -> Any:
        if type(value) is not dict:
            raise _expected("an object", value)
        fields = {}
        for key, item in value.items():
            decoder = decoders.get(key)
            if decoder is None:
                raise _Problem(unknown_name("key", _short(key), decoders))
            try:
                fields[key] = decoder(item)
            except _Problem as problem:
                problem.path.append(f".{key}")
                raise
        for key in required:
            if key not in fields:
                raise _Problem(f"key {key!r} is missing")
        return cls(**fields)

    return decode


def _instruction(kind: str, decoders: dict[str, Decoder]) -> Decoder:
    choose = _choice(kind, decoders)

    def decode(value: Any) -> Any:
        if type(value) is not dict:
            raise _expected("an object", value)
        if "do" not in value:
            raise _Problem("key 'do' is missing")
        try:
            decoder = choose(value["do"])
        except _Problem as problem:
            problem.path.append(".do")
            raise
        return decoder({key: item for key, item in value.items() if key != "do"})

    return decode


_SCALARS: dict[Any, Decoder] = {
    int: _whole_number,
    bool: _truth,
    str: _text,
    BufferKind: _choice("buffer", {kind.value: kind for kind in BufferKind}),
    ChannelKind: _choice("kind of channel", {kind.value: kind for kind in ChannelKind}),
    ReduceOp: _choice("reduction", {op.label: op for op in ReduceOp}),
}


def _decoder(hint: Any, instructions: Decoder) -> Decoder:
    """What reads a field of this type; `instructions` is what reads an instruction there."""
    if hint == Instruction:
        return instructions
    if hint in _SCALARS:
        return _SCALARS[hint]
    if typing.get_origin(hint) is tuple:
        return _sequence(_decoder(typing.get_args(hint)[0], instructions))
    if isinstance(hint, types.UnionType):
        (inner,) = (part for part in typing.get_args(hint) if part is not types.NoneType)
        return _optional(_decoder(inner, instructions))
    return _object(hint, instructions)


def _plan_decoder() -> Decoder:
    def nothing(value: Any) -> Any:
        raise _expected("no instruction", value)

    simple = {name: _object(cls, nothing) for name, cls in INSTRUCTIONS.items() if cls is not Loop}
    in_loop = _instruction("instruction of a loop", simple)
    return _object(Plan, _instruction("instruction", simple | {_NAMES[Loop]: _object(Loop, in_loop)}))


_read_plan = _plan_decoder()


def _read_document(document: Any) -> Any:
    if type(document) is not dict:
        raise _expected("an object", document)
    schema = document.get("schema")
    if type(schema) is not dict or schema.keys() != {"name", "version"} or schema["name"] != SCHEMA_NAME:
        wanted = json.dumps({"name": SCHEMA_NAME, "version": SCHEMA_VERSION})
        raise _Problem(f"schema: no plan of HAL, whose schema is {wanted}")
    version = schema["version"]
    if type(version) is not int or not 1 <= version <= SCHEMA_VERSION:
        newest = f"versions 1 to {SCHEMA_VERSION}" if SCHEMA_VERSION > 1 else "version 1"
        raise _Problem(f"schema.version: this reader knows {newest}, not {_shown(version)}")
    return _read_plan({key: item for key, item in document.items() if key != "schema"})
