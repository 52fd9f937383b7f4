"""Pairs of texts → pairs of ids, each text tokenized once."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer

from zen_fast.batching import Int32Array, TokenizedPair
from zen_fast.errors import InvalidArgumentError
from zen_fast.tokenization.cut_warning import CutWarning
from zen_fast.tokenization.pair_layout import PairLayout, Run, learn_layout
from zen_fast.tokenization.text_tokenizer import TextTokenizer
from zen_fast.tokenization.token_cache import TokenCacheStatistics, TokenizedText
from zen_fast.tokenization.truncation import (
    Truncation,
    TruncationSide,
    check_truncation,
    truncated_lengths,
)
from zen_fast.tokenization.windows import (
    DEFAULT_WINDOW_OVERLAP,
    LONG_DOCUMENTS,
    LongDocuments,
    Window,
    WindowSettings,
    query_beside_windows,
    shown_characters,
)


class PairTokenizer:
    """Tokenizes, truncates and assembles pairs exactly as the stock tokenizer would.

    Safe under threads; a text that UTF-8 cannot carry is repaired, see `TextTokenizer`. The first
    call that cuts documents off logs a warning, and so does the first that cuts queries.

    Args:
        tokenizer: becomes this object's own; its padding and truncation are switched off.
        max_length: longest pair in tokens, special tokens included; None for no limit.
        truncation: which text gives way where a pair is longer.
        truncation_side: which end of a text is cut off.
        long_documents: "chunk" keeps texts whole, for `encode_windows`.
        window_overlap: share of a window that the next one repeats at least.
        max_windows: most windows of one document, those that share most distinct tokens with the
            query; None for all of them.
        uses_token_types: False where the model is not told token types (all of them are 0).
        cache_bytes: bound on the memory that remembers tokenized texts; 0 remembers none.
        layout: where the special tokens are; None learns it from the tokenizer's pairs. With
            `learn_text_layout` a document beside an empty query is a text by itself.

    Raises:
        InvalidArgumentError: `max_length` leaves no room beside the special tokens, or another
            argument has a value that is not accepted.
        InvalidTypeError: `window_overlap` or `max_windows` is no number.
        UnsupportedModelError: the tokenizer's pairs are not prefix + query + middle + document +
            suffix.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        max_length: int | None,
        truncation: Truncation = "longest_first",
        truncation_side: TruncationSide = "right",
        long_documents: LongDocuments = "truncate",
        window_overlap: float = DEFAULT_WINDOW_OVERLAP,
        max_windows: int | None = None,
        uses_token_types: bool = True,
        cache_bytes: int = 0,
        layout: PairLayout | None = None,
    ) -> None:
        check_truncation(truncation)
        if long_documents not in LONG_DOCUMENTS:
            accepted = ", ".join(map(repr, LONG_DOCUMENTS))
            raise InvalidArgumentError(
                f"long_documents={long_documents!r}: accepted are {accepted}"
            )
        windows = WindowSettings(window_overlap, max_windows)
        tokenizer.no_padding()
        tokenizer.no_truncation()
        if layout is None:
            layout = learn_layout(tokenizer)
        self._layout: PairLayout = layout if uses_token_types else layout.without_types()
        if max_length is not None and max_length <= self._layout.num_special_tokens:
            raise InvalidArgumentError(
                f"max_length={max_length} leaves no room for text: this model puts "
                f"{self._layout.num_special_tokens} special tokens around a pair, so max_length "
                f"must be at least {self._layout.num_special_tokens + 1}"
            )
        self._max_length = max_length
        self._room = None if max_length is None else max_length - self._layout.num_special_tokens
        self._truncation: Truncation = truncation
        self._truncation_side: TruncationSide = truncation_side
        self._windows = windows if long_documents == "chunk" else None
        self._texts = TextTokenizer(
            tokenizer,
            max_kept=self._room,
            truncation_side=truncation_side,
            cache_bytes=cache_bytes,
            keeps_places=self._windows is not None,
        )
        self._document_warning = _document_warning(layout.has_query)
        self._query_warning = CutWarning(
            "queries", " beside their documents", 'truncation="only_second" never cuts one'
        )

    @property
    def max_length(self) -> int | None:
        """Longest pair in tokens, special tokens included."""
        return self._max_length

    @property
    def windows(self) -> WindowSettings | None:
        """How a long document is cut into windows; None where it is truncated."""
        return self._windows

    @property
    def truncation(self) -> Truncation:
        """Which text of a longer pair is cut."""
        return self._truncation

    @property
    def layout(self) -> PairLayout:
        """The special tokens around a pair."""
        return self._layout

    @property
    def max_token_type(self) -> int:
        """Largest token type id that any token of a pair can have."""
        return self._layout.max_token_type

    @property
    def takes_instruction(self) -> bool:
        """Pairs have no place for an instruction."""
        return False

    def cache_statistics(self) -> TokenCacheStatistics:
        """Hits, misses and size of the token cache."""
        return self._texts.cache_statistics()

    def encode_pairs(
        self, queries: Sequence[str], documents: Sequence[str], instruction: str | None = None
    ) -> list[TokenizedPair]:
        """Pair up `queries` and `documents` of equal length: one tokenized pair each, in order.

        Raises:
            InvalidArgumentError: there is an `instruction`, or truncation is "only_second" and a
                query leaves no room.
        """
        _refuse(instruction)
        texts = self._texts.encode((*queries, *documents))
        heads: dict[tuple[str, int], Run] = {}
        pairs: list[TokenizedPair] = []
        cut_queries: set[str] = set()
        num_cut = 0
        for query, document in zip(queries, documents, strict=True):
            query_text, document_text = texts[query], texts[document]
            num_query, num_document = query_text.num_tokens, document_text.num_tokens
            if self._room is not None:
                num_query, num_document = truncated_lengths(
                    num_query, num_document, self._room, self._truncation
                )
            num_cut += num_document < document_text.num_tokens
            if num_query < query_text.num_tokens:
                cut_queries.add(query)
            head = self._head(heads, query, query_text, num_query)
            pairs.append(self._layout.pair(head, self._cut(document_text.token_ids, num_document)))
        if self._windows is None:
            self._document_warning.tell(num_cut, len(documents), self._max_length)
        self._warn_of_queries(cut_queries, queries)
        return pairs

    def encode_windows(
        self, queries: Sequence[str], documents: Sequence[str], instruction: str | None = None
    ) -> list[list[Window]]:
        """Pair up `queries` and `documents` of equal length: the windows of each pair, in order.

        A document that fits beside its query is one window, with the ids of `encode_pairs`. Of
        another one the windows cover every token, unless `max_windows` leaves some out; they are
        cut between tokens, so that one may begin within a word. The query is not cut, except where
        it leaves windows less than a quarter of the room.

        Raises:
            InvalidArgumentError: there is an `instruction`, truncation is "only_second" and a query
                leaves that little room, or the tokenizer was not made with long_documents="chunk".
        """
        _refuse(instruction)
        if self._windows is None:
            raise InvalidArgumentError(
                "encode_windows needs a tokenizer that keeps documents whole: make it with "
                'long_documents="chunk"'
            )
        texts = self._texts.encode((*queries, *documents))
        heads: dict[tuple[str, int], Run] = {}
        windows: list[list[Window]] = []
        cut_queries: set[str] = set()
        for query, document in zip(queries, documents, strict=True):
            query_text, document_text = texts[query], texts[document]
            num_query, longest = query_text.num_tokens, document_text.num_tokens
            if self._room is not None:
                num_query = query_beside_windows(num_query, longest, self._room, self._truncation)
                longest = self._room - num_query
            if num_query < query_text.num_tokens:
                cut_queries.add(query)
            head = self._head(heads, query, query_text, num_query)
            slices = self._windows.choose(
                self._windows.cut(document_text.num_tokens, longest),
                document_text.token_ids,
                self._cut(query_text.token_ids, num_query),
            )
            windows.append([self._window(head, document, document_text, each) for each in slices])
        self._warn_of_queries(cut_queries, queries)
        return windows

    def _warn_of_queries(self, cut: set[str], queries: Sequence[str]) -> None:
        if cut:
            self._query_warning.tell(len(cut), len(set(queries)), self._max_length)

    def _window(
        self, head: Run, document: str, document_text: TokenizedText, window: slice
    ) -> Window:
        assert document_text.token_starts is not None
        return Window(
            self._layout.pair(head, document_text.token_ids[window]),
            shown_characters(document, document_text.token_starts, window),
        )

    def _head(
        self,
        known: dict[tuple[str, int], Run],
        query: str,
        query_text: TokenizedText,
        num_kept: int,
    ) -> Run:
        """Everything before the document, made once for all documents of a query."""
        head = known.get((query, num_kept))
        if head is None:
            head = self._layout.head(self._cut(query_text.token_ids, num_kept))
            known[query, num_kept] = head
        return head

    def _cut(self, token_ids: Int32Array, num_kept: int) -> Int32Array:
        if self._truncation_side == "left":
            return token_ids[len(token_ids) - num_kept :]
        return token_ids[:num_kept]


def _document_warning(has_query: bool) -> CutWarning:
    if has_query:
        remedy = 'long_documents="chunk" reads all of them, a larger max_length more of them'
        return CutWarning("documents", " beside their query", remedy)
    remedy = "where the model has more positions, a larger max_length reads more of them"
    return CutWarning("texts", "", remedy)


def _refuse(instruction: str | None) -> None:
    if instruction is not None:
        raise InvalidArgumentError(
            f"instruction={instruction!r}: this model reads a bare query and document, and was "
            "trained with no instruction; leave it out"
        )
