"""A checkpoint's safetensors files, mapped into memory tensor by tensor, and written likewise."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from zen_fast.checkpoint.json_file import read_json
from zen_fast.errors import CheckpointError
from zen_fast.weights import Array

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"

_HEADER_LENGTH_BYTES = 8
_BF16 = np.dtype(np.uint16)  # numpy has no bfloat16: the upper half of a float32
_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": _BF16,
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I8": np.dtype(np.int8),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}


@dataclass(frozen=True)
class StoredTensor:
    """One tensor as it lies in a file."""

    path: Path
    dtype: str
    """safetensors' name: F32, F16, BF16 …"""
    shape: tuple[int, ...]
    stored: Array
    """View of the mapped file; bfloat16 as the uint16 of its bits."""

    def fp32(self) -> Array:
        """The values as contiguous fp32; a view of the file where it stores just that."""
        if self.dtype == "BF16":
            return (self.stored.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return np.require(self.stored, np.float32, ("C", "ALIGNED"))

    def with_values(self, values: Array) -> StoredTensor:
        """Others of the same shape in its place, rounded to its kind of numbers."""
        values = values.astype(np.float32).reshape(self.shape)
        if self.dtype == "BF16":
            bits = values.view(np.uint32)
            to_even = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
            stored = ((bits + to_even) >> np.uint32(16)).astype(_BF16)
        else:
            stored = values.astype(self.stored.dtype)
        return replace(self, stored=stored)

    def rows(self, rows: slice) -> StoredTensor:
        """Some of the rows."""
        stored = self.stored[rows]
        return StoredTensor(self.path, self.dtype, stored.shape, stored)

    def fp32_or_fp16(self) -> Array:
        """The values without widening fp16: a view of the file for fp16 and fp32."""
        if self.dtype == "F16":
            return np.require(self.stored, np.float16, ("C", "ALIGNED"))
        return self.fp32()


class TensorFiles(Mapping[str, StoredTensor]):
    """All tensors of a checkpoint, from one file or from the shards that an index names."""

    def __init__(self, folder: Path) -> None:
        self.paths = _weight_files(folder)
        self._tensors: dict[str, StoredTensor] = {}
        for path in self.paths:
            self._tensors.update(_read(path))

    def __getitem__(self, name: str) -> StoredTensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def write_tensors(path: Path, tensors: Mapping[str, StoredTensor]) -> None:
    """Write one safetensors file, wide numbers first, so that each tensor is aligned."""
    tensors = dict(sorted(tensors.items(), key=lambda item: -item[1].stored.itemsize))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.stored.nbytes
        entry = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": (begin, end)}
        header[name] = entry
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % _HEADER_LENGTH_BYTES)
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(_HEADER_LENGTH_BYTES, "little"))
        file.write(encoded)
        for tensor in tensors.values():
            file.write(np.ascontiguousarray(tensor.stored).data)


def _weight_files(folder: Path) -> list[Path]:
    if (folder / WEIGHTS_FILE).is_file():
        return [folder / WEIGHTS_FILE]
    index_path = folder / INDEX_FILE
    if not index_path.is_file():
        found = sorted(path.name for path in folder.glob("*.bin"))
        raise CheckpointError(
            f"{folder} has neither {WEIGHTS_FILE} nor {INDEX_FILE}"
            + (f", only {', '.join(found)}, a pickle that is never loaded" if found else "")
            + "; save the model again with save_pretrained(folder, safe_serialization=True)"
        )
    weight_map = read_json(index_path).get("weight_map")
    if not isinstance(weight_map, dict):
        raise CheckpointError(f"{index_path} has no weight_map")
    shards = sorted(set(weight_map.values()))
    missing = [name for name in shards if not (folder / name).is_file()]
    if missing:
        raise CheckpointError(f"{index_path} names files that are missing: {', '.join(missing)}")
    return [folder / name for name in shards]


def _read(path: Path) -> dict[str, StoredTensor]:
    """Map a file and lay an array over each tensor (https://github.com/huggingface/safetensors)."""
    # Copy-on-write: nothing writes, but torch warns of arrays that are not writeable.
    mapped = np.memmap(path, dtype=np.uint8, mode="c") if path.stat().st_size else b""
    header, data = _split(path, mapped)
    return {
        _current_name(name): _view(path, name, entry, data)
        for name, entry in header.items()
        if name != "__metadata__"
    }


def _current_name(name: str) -> str:
    """The name with what TensorFlow checkpoints once called a LayerNorm's weight and bias."""
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace(
        "LayerNorm.beta", "LayerNorm.bias"
    )


def _split(path: Path, mapped: Any) -> tuple[dict[str, Any], Array]:
    header_end = _HEADER_LENGTH_BYTES + int.from_bytes(mapped[:_HEADER_LENGTH_BYTES], "little")
    if header_end > len(mapped) or len(mapped) < _HEADER_LENGTH_BYTES:
        raise CheckpointError(f"{path} is cut short or no safetensors file; download it again")
    try:
        header = json.loads(bytes(mapped[_HEADER_LENGTH_BYTES:header_end]))
    except ValueError as error:
        raise CheckpointError(f"{path} is no safetensors file: {error}") from error
    if not isinstance(header, dict):
        raise CheckpointError(f"{path} is no safetensors file: its header is no object")
    # A plain ndarray over the same memory: views of a memmap are slow to make.
    return header, np.asarray(mapped)[header_end:]


def _view(path: Path, name: str, entry: dict[str, Any], data: Array) -> StoredTensor:
    try:
        dtype_name, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is no safetensors file: its header is malformed") from error
    dtype = _DTYPES.get(dtype_name)
    if dtype is None:
        raise CheckpointError(
            f"tensor {name} of {path} is stored as {dtype_name}; accepted: {', '.join(_DTYPES)}"
        )
    if not 0 <= begin <= end <= len(data) or end - begin != math.prod(shape) * dtype.itemsize:
        raise CheckpointError(f"tensor {name} of {path} is cut short; download the file again")
    return StoredTensor(path, dtype_name, tuple(shape), data[begin:end].view(dtype).reshape(shape))
