"""An index on disk: a manifest that names the folder of its data, replaced in one step."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from zen_fast import __version__
from zen_fast.retrieval.errors import IndexFolderError

MANIFEST = "index.json"
FORMAT = 1


def write_index(folder: Path, content: Mapping[str, Any], write: Callable[[Path], None]) -> None:
    """Write an index, whole or not at all; an index that is there is replaced.

    Args:
        content: what the manifest says.
        write: writes the data into the folder that it is given.

    Raises:
        IndexFolderError: the folder holds something else.
    """
    if folder.exists() and not folder.is_dir():
        raise IndexFolderError(f"{folder} is no folder; give a new one, or that of an index")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MANIFEST).is_file():
        raise IndexFolderError(f"{folder} holds something that is no index; give a new folder")
    replaced = _data_folder(folder)
    name = f"data-{uuid.uuid4().hex}"
    manifest = {"format": FORMAT, "zen_fast": __version__, "data": name, **content}
    unfinished = folder / f".{name}.json"
    try:
        (folder / name).mkdir(parents=True)
        write(folder / name)
        unfinished.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        unfinished.replace(folder / MANIFEST)
    except BaseException:
        shutil.rmtree(folder / name, ignore_errors=True)
        unfinished.unlink(missing_ok=True)
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        raise
    if replaced is not None:
        shutil.rmtree(replaced, ignore_errors=True)  # whoever has it mapped keeps it


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
        found, data = manifest["format"], folder / manifest["data"]
    except (ValueError, KeyError, TypeError) as error:
        raise IndexFolderError(f"{path} is no index's manifest: {error}") from error
    if found != FORMAT:
        raise IndexFolderError(
            f"{folder} has format {found!r}, written by zen_fast {manifest.get('zen_fast')}; this "
            f"release reads format {FORMAT}: build the index again"
        )
    if not data.is_dir():
        raise IndexFolderError(f"{folder} has lost its data folder {data.name}; build it again")
    return dict(manifest)


def _data_folder(folder: Path) -> Path | None:
    """Data of the index that is there, of whatever format."""
    try:
        return folder / str(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["data"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
