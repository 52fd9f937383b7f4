"""One short name for many texts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def texts_digest(texts: Iterable[str], context: bytes = b"") -> str:
    """SHA-256 of `context` and of the texts in their order, in hexadecimal digits.

    Args:
        context: what tells the texts apart from the same ones elsewhere; always of one length.
    """
    digest = hashlib.sha256(context)
    for text in texts:
        content = text.encode("utf-8", "surrogatepass")
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()
