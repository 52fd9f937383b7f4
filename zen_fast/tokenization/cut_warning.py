"""Said once: texts are longer than the model reads."""

from __future__ import annotations

import logging
import threading

logger = logging.getLogger(__name__)


class CutWarning:
    """Warns of the first texts that are cut off, and never again; safe under threads.

    Args:
        texts: what they are, in the plural.
        place: what they had to fit beside or into.
        remedy: what reads more of them.
    """

    def __init__(self, texts: str, place: str, remedy: str) -> None:
        self._texts = texts
        self._place = place
        self._remedy = remedy
        # Taken by the first warning and never given back.
        self._right_to_warn = threading.Lock()

    def tell(self, num_cut: int, num_texts: int, max_length: int | None) -> None:
        """That `num_cut` of `num_texts` were cut off; nothing where it is 0."""
        if num_cut and self._right_to_warn.acquire(blocking=False):
            logger.warning(
                "%d of %d %s were cut off to fit into max_length=%s tokens%s; %s (this is said "
                "once)",
                num_cut,
                num_texts,
                self._texts,
                max_length,
                self._place,
                self._remedy,
            )
