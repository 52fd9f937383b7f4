"""Lines of users' files with their numbers, which every complaint about a line names."""

from __future__ import annotations

import contextlib
import gzip
import json
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from zen_fast.errors import ZenError

STDIN = "-"

_JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
_GZIP_SUFFIX = ".gz"
_TABLE_SUFFIXES = (".csv", ".tsv", ".parquet", ".xlsx")
_HOW = "a name in .jsonl, or --format jsonl where there is that option; --format text overrides"


def is_json(path: str | Path) -> bool:
    """Whether a file's name says that its lines are JSON: .jsonl, .ndjson, .json; also with .gz."""
    return Path(path).name.lower().removesuffix(_GZIP_SUFFIX).endswith(_JSON_SUFFIXES)


def require_plain_text(path: str | Path, first_line: str, error: type[ZenError]) -> None:
    """Refuse what would be taken for plain text by its name, and is a table or JSON.

    Args:
        error: what is raised.
    """
    name = "stdin" if path == STDIN else str(path)
    if Path(path).suffix.lower() in _TABLE_SUFFIXES:
        raise error(f"{name} is a table, which is not read: convert it to JSON lines ({_HOW})")
    if _is_json_object(first_line):
        raise error(f"{name} looks like JSON lines: say so ({_HOW})")


def _is_json_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def numbered_lines(path: str | Path, error: type[ZenError]) -> Iterator[tuple[int, str]]:
    """The lines of a file that are not blank, each with its number from 1 and without its end.

    The file is UTF-8, perhaps with a byte order mark, and gzip where its name ends in .gz.

    Args:
        path: the text "-" for stdin.
        error: what is raised where the file cannot be read or a line is not UTF-8; the message
            names file and line.
    """
    name = "stdin" if path == STDIN else str(path)
    try:
        with _opened(path) as stream:
            for number, raw in enumerate(stream, start=1):
                line = _decoded(raw, number, name, error).rstrip("\r\n")
                if line.strip():
                    yield number, line
    except (OSError, EOFError, zlib.error) as failure:
        reason = getattr(failure, "strerror", None) or failure
        raise error(f"cannot read {name}: {reason}") from failure


def _opened(path: str | Path) -> contextlib.AbstractContextManager[IO[bytes]]:
    if path == STDIN:
        return contextlib.nullcontext(sys.stdin.buffer)
    if Path(path).suffix.lower() == _GZIP_SUFFIX:
        return cast("IO[bytes]", gzip.open(path, "rb"))
    return Path(path).open("rb")


def _decoded(raw: bytes, number: int, name: str, error: type[ZenError]) -> str:
    try:
        return raw.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as failure:
        raise error(
            f"{name}, line {number} is not UTF-8 at byte {failure.start}; convert the file first"
        ) from failure
