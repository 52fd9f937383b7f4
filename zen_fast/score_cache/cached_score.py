"""One remembered score, and the bytes that stand for it in a store."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

VERSION = 1
"""First byte of every value; another layout must get another number."""

_HEADER = struct.Struct("<BHII")  # version, number of labels, span
_NO_SPAN = (0xFFFFFFFF, 0xFFFFFFFF)
_CHECKSUM = struct.Struct("<I")
_FP32 = np.dtype("<f4")


@dataclass(frozen=True, slots=True, eq=False)
class CachedScore:
    """What scoring a pair gave."""

    logits: NDArray[np.float32]
    """(num_labels,) fp32"""
    span: tuple[int, int] | None = None
    """First character of a long document's best window, and the one behind its last."""


def to_bytes(score: CachedScore) -> bytes:
    """Header, logits, and CRC-32 of both, little endian: equally long for all scores of a model."""
    content = _HEADER.pack(VERSION, len(score.logits), *(score.span or _NO_SPAN))
    content += score.logits.astype(_FP32, copy=False).tobytes()
    return content + _CHECKSUM.pack(zlib.crc32(content))


def from_bytes(value: bytes) -> CachedScore | None:
    """The score that `to_bytes` wrote; None for any other bytes. Its logits are read-only."""
    if len(value) < _HEADER.size:
        return None
    version, num_labels, start, stop = _HEADER.unpack_from(value)
    checksum_at = _HEADER.size + _FP32.itemsize * num_labels
    if version != VERSION or len(value) != checksum_at + _CHECKSUM.size:
        return None
    if zlib.crc32(value[:checksum_at]) != _CHECKSUM.unpack_from(value, checksum_at)[0]:
        return None
    logits = np.frombuffer(value, _FP32, num_labels, _HEADER.size)
    return CachedScore(logits, None if (start, stop) == _NO_SPAN else (start, stop))
