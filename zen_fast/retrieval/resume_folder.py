"""What an interrupted encoding goes on from: finished shards, kept until the index is written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class ResumeFolder:
    """A folder of finished shards, which may hold other things too."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._shards: list[Path] = []

    @classmethod
    def beside(cls, index: Path) -> ResumeFolder:
        """The one of an index: my-index.partial for my-index."""
        return cls(index.with_name(f"{index.name}.partial"))

    def shard(self, key: str, encode: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """The shard as it was kept, or as `encode` makes it, which is kept.

        Args:
            key: names all that decides the shard.
        """
        self._path.mkdir(parents=True, exist_ok=True)
        path = self._path / f"{key}.npy"
        self._shards.append(path)
        if path.is_file():
            kept: NDArray[Any] = np.load(path)
            return kept
        shard = encode()
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")
        with unfinished.open("wb") as file:
            np.save(file, shard)
        unfinished.replace(path)
        return shard

    def clear(self) -> None:
        """Delete the shards that were asked for here, and the folder if it holds nothing else."""
        for path in self._shards:
            path.unlink(missing_ok=True)
            for unfinished in self._path.glob(f"{path.stem}.*.tmp"):  # of a run that was killed
                unfinished.unlink(missing_ok=True)
        if self._shards:
            with contextlib.suppress(OSError):  # it is not empty
                self._path.rmdir()
