"""What can be wrong with a corpus, or with an index on disk."""

from __future__ import annotations

from zen_fast.errors import ZenError


class CorpusError(ZenError, ValueError):
    """A corpus cannot be indexed: it is empty, repeats an id, or has a malformed line."""


class IndexFolderError(ZenError):
    """A folder holds no index, a damaged one, or one of another release or another model."""
