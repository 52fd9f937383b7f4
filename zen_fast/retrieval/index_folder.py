"""An index on disk: a manifest that names the folder of its data, replaced in one step."""

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from zen_fast import __version__
from zen_fast.retrieval.errors import IndexFolderError

MANIFEST = "index.json"
FORMAT = 1
TEXTS_DIGEST = "texts_sha256"
"""Entry of a manifest: `texts_digest` of the documents; an index of early days has none."""

_OF_A_SAVE = re.compile(r"data-[0-9a-f]{32}|\.data-[0-9a-f]{32}\.json")
"""Names of a save's data, and of its manifest before that takes the old one's place."""


def require_index_folder(folder: Path) -> None:
    """Make sure, before what takes hours, that an index can be written there.

    A folder may hold an index, or what a killed save left behind.

    Raises:
        IndexFolderError: it holds something else, or a file is in the way.
    """
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise IndexFolderError(f"{nearest} is no folder; give a new one, or that of an index")
    if nearest != folder or (folder / MANIFEST).is_file():
        return
    if len(_data_of_saves(folder)) < len(list(folder.iterdir())):
        raise IndexFolderError(f"{folder} holds something that is no index; give a new folder")


def write_index(folder: Path, content: Mapping[str, Any], write: Callable[[Path], None]) -> None:
    """Write an index, whole or not at all; an index that is there is replaced.

    One process at a time may write into a folder; any number may read.

    Args:
        content: what the manifest says.
        write: writes the data into the folder that it is given.

    Raises:
        IndexFolderError: see `require_index_folder`.
    """
    require_index_folder(folder)
    replaced = _data_of_saves(folder)
    name = f"data-{uuid.uuid4().hex}"
    manifest = {"format": FORMAT, "zen_fast": __version__, "data": name, **content}
    unfinished = folder / f".{name}.json"
    try:
        (folder / name).mkdir(parents=True)
        write(folder / name)
        unfinished.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        unfinished.replace(folder / MANIFEST)
    except BaseException:
        _remove((folder / name, unfinished))
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        raise
    _remove(replaced)  # whoever has it mapped keeps it


def read_manifest(folder: Path) -> dict[str, Any]:
    """What the manifest says; the data are in `folder / manifest["data"]`.

    Raises:
        IndexFolderError: there is no index, or one that another release wrote.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise IndexFolderError(f"{folder} holds no index: there is no {MANIFEST}")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        found, _ = manifest["format"], folder / manifest["data"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IndexFolderError(f"{path} is no index's manifest: {error}") from error
    if found != FORMAT:
        raise IndexFolderError(
            f"{folder} has format {found!r}, written by zen_fast {manifest.get('zen_fast')}; this "
            f"release reads format {FORMAT}: build the index again"
        )
    return dict(manifest)


def _data_of_saves(folder: Path) -> list[Path]:
    """What saves made beside the manifest: the index's data, and leftovers of killed ones."""
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if _OF_A_SAVE.fullmatch(path.name)]


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
