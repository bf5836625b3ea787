"""Reading `hal.yaml`: bytes from outside become plain data and line numbers, or one `ConfigError`.

The file is data, never code: only plain scalars, lists and mappings are accepted. Tags, aliases, deep nesting and
large files are refused, so that no file can make reading it slow.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import attrs
import yaml

from hal.config.kinds import shown
from hal.interface.errors import ConfigError

LARGEST_FILE = 64 * 1024
DEEPEST_NESTING = 8

KeyPath = tuple[str | int, ...]


@attrs.frozen
class Document:
    """What a file says: nested plain data, the line of every key and list item, and the keys given twice."""

    label: str
    data: Any
    lines: dict[KeyPath, int]
    duplicates: list[tuple[KeyPath, int, int]]

    def line(self, path: KeyPath) -> int:
        """The line of the key at `path`, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read(path: Path, label: str) -> Document:
    """The document in the file at `path`, which messages call `label`; `ConfigError` where it cannot be used."""
    return parse(_bytes(path, label), label)


def parse(content: bytes, label: str) -> Document:
    """The document in `content`; `ConfigError` naming the line where it is not plain, small, valid YAML."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{label}:{line}: not UTF-8 text: allowed is YAML in UTF-8") from None
    try:
        node = yaml.compose(text, Loader=_PlainLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(f"{label}:{mark.line + 1 if mark else 1}: not usable YAML: {problem}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            f"{label}:{line}: not usable YAML: it holds the control character {error.character!r}"
        ) from None
    except (ValueError, OverflowError):  # from PyYAML's scanner, on impossible escapes and version numbers
        raise ConfigError(f"{label}:1: not usable YAML: it holds an escape or a number that is out of range") from None
    document = Document(label, None, {}, [])
    return attrs.evolve(document, data=None if node is None else _plain(node, (), document))


def _bytes(path: Path, label: str) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for its writer
            raise ConfigError(f"{label}: is not a file: a configuration is a regular file of YAML")
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise ConfigError(f"{label}: there is no such file") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(f"{label}: cannot be read: {reason}") from None
    if len(content) > LARGEST_FILE:
        raise ConfigError(f"{label}: is larger than {LARGEST_FILE} bytes, which no configuration needs")
    return content


class _PlainLoader(yaml.SafeLoader):
    """SafeLoader without aliases and tags, and with a limit on nesting; used for composing alone."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs leave it untyped
        if isinstance(event, yaml.AliasEvent):
            self._refuse("aliases (*name) are not allowed", event)
        if getattr(event, "tag", None) is not None:
            self._refuse("tags (!name) are not allowed", event)
        self._depth += 1
        if self._depth > DEEPEST_NESTING:
            self._refuse(f"nested more than {DEEPEST_NESTING} deep", event)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def _refuse(self, problem: str, event: yaml.Event) -> None:
        mark: Any = event.start_mark
        raise yaml.composer.ComposerError(None, None, problem, mark)


def _plain(node: yaml.Node, path: KeyPath, document: Document) -> Any:
    document.lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError(f"{document.label}:{line}: not usable YAML: a key is a single word")
            key_path = (*path, key_node.value)
            if key_node.value in mapping:
                document.duplicates.append((key_path, document.lines[key_path], line))
                continue
            document.lines[key_path] = line
            mapping[key_node.value] = _plain(value_node, key_path, document)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*path, index), document) for index, item in enumerate(node.value)]
    return _scalar(node)


_SCALARS = yaml.constructor.SafeConstructor()
_CONSTRUCTORS: dict[str, Any] = {
    "tag:yaml.org,2002:null": _SCALARS.construct_yaml_null,
    "tag:yaml.org,2002:bool": _SCALARS.construct_yaml_bool,
    "tag:yaml.org,2002:int": _SCALARS.construct_yaml_int,
    "tag:yaml.org,2002:float": _SCALARS.construct_yaml_float,
}


def _scalar(node: yaml.Node) -> Any:
    construct = _CONSTRUCTORS.get(node.tag)
    if construct is None:
        return node.value
    try:
        return construct(node)
    except (ValueError, OverflowError):  # a number Python cannot hold stays text, which no setting of numbers accepts
        return node.value


def quoted(path: KeyPath) -> str:
    """A key path as messages write it: `algorithms.all_reduce[1].max_bytes`."""
    written = ""
    for part in path:
        if isinstance(part, int):
            written += f"[{part}]"
            continue
        word = part if part.isidentifier() and len(part) <= 60 else shown(part)
        written += f".{word}" if written else word
    return written
