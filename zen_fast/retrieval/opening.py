"""From an index on disk to what a retriever is made of."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zen_fast.embedder import ZenEmbedder
from zen_fast.errors import InvalidArgumentError, InvalidTypeError
from zen_fast.retrieval.errors import IndexFolderError
from zen_fast.retrieval.index_folder import read_manifest
from zen_fast.retrieval.indexes import Indexes, is_fingerprint_of, load_fingerprint
from zen_fast.retrieval.settings import RetrieverSettings

Opened = tuple[Indexes, RetrieverSettings, ZenEmbedder | None]


def open_index(folder: Path, embedder: ZenEmbedder | None) -> Opened:
    """What is in `folder`; arguments and errors are those of `ZenRetriever.load`."""
    manifest = read_manifest(folder)
    try:
        return _open(folder, manifest, embedder)
    except IndexFolderError:
        # Another process may have replaced the index since its manifest was read.
        replacement = read_manifest(folder)
        if replacement["data"] == manifest["data"]:
            raise
    return _open(folder, replacement, embedder)


def require_embedder_type(embedder: object, accepted: tuple[type, ...] = (ZenEmbedder,)) -> None:
    """Raises InvalidTypeError for what is of none of the accepted types."""
    if not isinstance(embedder, accepted):
        name = ", or its folder or hub id" if str in accepted else ""
        raise InvalidTypeError(f"embedder is a {type(embedder).__name__}; pass a ZenEmbedder{name}")


def _open(folder: Path, manifest: Mapping[str, Any], embedder: ZenEmbedder | None) -> Opened:
    with _damage_named(folder):
        saved = manifest["settings"]
        settings = RetrieverSettings(**{**saved, "weights": tuple(saved["weights"])})
    data = folder / manifest["data"]
    if not settings.has_vectors:
        _require_none(embedder, folder)
        with _damage_named(folder):
            return Indexes.load(data, settings, "cosine"), settings, None
    if embedder is None:
        embedder = _saved_embedder(folder, manifest)
    require_embedder_type(embedder)
    with _damage_named(folder):
        fingerprint, made_with = load_fingerprint(data), dict(manifest["embedder"])
        indexes = Indexes.load(data, settings, embedder.similarity)
    if not is_fingerprint_of(embedder, fingerprint):
        raise IndexFolderError(
            f"{folder} was made with another model than {embedder.model}: with "
            f"{made_with.get('model')}, {made_with.get('dimensions')} dimensions; load that one, "
            "or index the corpus again"
        )
    return indexes, settings, embedder


def _require_none(embedder: ZenEmbedder | None, folder: Path) -> None:
    if embedder is not None:
        raise InvalidArgumentError(
            f"{folder} holds an index by BM25 alone, without vectors, which takes no embedder: "
            "leave the embedder out, or delete that index and make it with one"
        )


def _saved_embedder(folder: Path, manifest: Mapping[str, Any]) -> ZenEmbedder:
    """The embedder that the index was made with, loaded from where it was."""
    with _damage_named(folder):
        settings = inspect.signature(ZenEmbedder.from_pretrained).bind(**manifest["embedder"])
    return ZenEmbedder.from_pretrained(*settings.args, **settings.kwargs)


@contextmanager
def _damage_named(folder: Path) -> Iterator[None]:
    """Whatever is raised inside says that files are missing, cut off, or not as they were saved."""
    try:
        yield
    except (OSError, EOFError, ValueError, LookupError, TypeError, RuntimeError) as error:
        raise IndexFolderError(
            f"{folder} cannot be read ({type(error).__name__}: {error}): build the index again"
        ) from error
