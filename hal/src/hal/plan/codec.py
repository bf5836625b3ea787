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
import types
import typing
from typing import Any

from hal.interface.dtypes import ReduceOp
from hal.plan.document import (
    Decoder,
    Problem,
    choice,
    expected,
    optional,
    parsed,
    record,
    sequence,
    shown,
    text,
    truth,
    whole_number,
)
from hal.plan.memo import once_per_plan
from hal.plan.model import SCHEMA_VERSION, BufferKind, ChannelKind, Instruction, Loop, Plan
from hal.plan.validate import validate

SCHEMA_NAME = "hal-plan"
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
        return plan_of(parsed(text))
    except Problem as problem:
        raise problem.error() from None


def plan_of(document: Any, *, validated: bool = True) -> Plan:
    """The plan in a document that `hal.plan.document.parsed` has read; `Problem` or `PlanError` as `loads`."""
    plan: Plan = _read_document(document)
    if validated:
        validate(plan)
    return plan


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
    if value is None or type(value) in (bool, int, str):
        return value
    if isinstance(value, ReduceOp):
        return value.label
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, tuple):
        return [_encoded(item) for item in value]
    kind = _NAMES.get(type(value))
    fields = {} if kind is None else {"do": kind}
    known = _DEFAULTS.get(type(value))
    if known is None:
        known = _DEFAULTS[type(value)] = [(field.name, field.default) for field in _json_fields(type(value))]
    for name, default in known:
        item = getattr(value, name)
        if default is dataclasses.MISSING or item != default:
            fields[name] = _encoded(item)
    return fields


_DEFAULTS: dict[type[Any], list[tuple[str, Any]]] = {}
"""The names and defaults of the JSON fields of each class that was encoded."""


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


def _object(cls: type[Any], instructions: Decoder) -> Decoder:
    hints = typing.get_type_hints(cls)
    decoders = {field.name: _decoder(hints[field.name], instructions) for field in _json_fields(cls)}
    required = [f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING]
    return record(cls, decoders, required)


def _instruction(kind: str, decoders: dict[str, Decoder]) -> Decoder:
    choose = choice(kind, decoders)

    def decode(value: Any) -> Any:
        if type(value) is not dict:
            raise expected("an object", value)
        if "do" not in value:
            raise Problem("key 'do' is missing")
        try:
            decoder = choose(value["do"])
        except Problem as problem:
            problem.path.append(".do")
            raise
        return decoder({key: item for key, item in value.items() if key != "do"})

    return decode


_SCALARS: dict[Any, Decoder] = {
    int: whole_number,
    bool: truth,
    str: text,
    BufferKind: choice("buffer", {kind.value: kind for kind in BufferKind}),
    ChannelKind: choice("kind of channel", {kind.value: kind for kind in ChannelKind}),
    ReduceOp: choice("reduction", {op.label: op for op in ReduceOp}),
}


def _decoder(hint: Any, instructions: Decoder) -> Decoder:
    """What reads a field of this type; `instructions` is what reads an instruction there."""
    if hint == Instruction:
        return instructions
    if hint in _SCALARS:
        return _SCALARS[hint]
    if typing.get_origin(hint) is tuple:
        return sequence(_decoder(typing.get_args(hint)[0], instructions))
    if isinstance(hint, types.UnionType):
        (inner,) = (part for part in typing.get_args(hint) if part is not types.NoneType)
        return optional(_decoder(inner, instructions))
    return _object(hint, instructions)


def _plan_decoder() -> Decoder:
    def nothing(value: Any) -> Any:
        raise expected("no instruction", value)

    simple = {name: _object(cls, nothing) for name, cls in INSTRUCTIONS.items() if cls is not Loop}
    in_loop = _instruction("instruction of a loop", simple)
    return _object(Plan, _instruction("instruction", simple | {_NAMES[Loop]: _object(Loop, in_loop)}))


_read_plan = _plan_decoder()


def _read_document(document: Any) -> Any:
    if type(document) is not dict:
        raise expected("an object", document)
    schema = document.get("schema")
    if type(schema) is not dict or schema.keys() != {"name", "version"} or schema["name"] != SCHEMA_NAME:
        wanted = json.dumps({"name": SCHEMA_NAME, "version": SCHEMA_VERSION})
        raise Problem(f"schema: no plan of HAL, whose schema is {wanted}")
    version = schema["version"]
    if type(version) is not int or not 1 <= version <= SCHEMA_VERSION:
        newest = f"versions 1 to {SCHEMA_VERSION}" if SCHEMA_VERSION > 1 else "version 1"
        raise Problem(f"schema.version: this reader knows {newest}, not {shown(version)}")
    return _read_plan({key: item for key, item in document.items() if key != "schema"})
