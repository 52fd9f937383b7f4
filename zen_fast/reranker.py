"""The reranker: the public face of the engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path

from zen_fast.activation import ScoreActivation, Scores, activation_from, default_activation
from zen_fast.checkpoint import load_checkpoint
from zen_fast.documents import (
    Document,
    RankedDocument,
    as_list,
    document_texts,
    query_list,
    query_text,
)
from zen_fast.encoder import Encoder
from zen_fast.engine import Engine
from zen_fast.engine_group import EngineGroup
from zen_fast.errors import InvalidArgumentError, InvalidTypeError
from zen_fast.placement import MakeBackend, make_backend, split_devices
from zen_fast.quantization import at_precision
from zen_fast.ranking import ranking
from zen_fast.sentence_transformers_interface import SentenceTransformersInterface
from zen_fast.sentence_transformers_settings import read_settings
from zen_fast.spec import EncoderSpec
from zen_fast.tokenization import PairTokenizer, TokenCacheStatistics, Truncation
from zen_fast.tokenization.stock_tokenizer import load_stock_tokenizer

DEFAULT_TOKEN_CACHE_MB = 32.0


class ZenReranker(SentenceTransformersInterface):
    """Scores documents for a query with a cross-encoder; safe to call from many threads.

    Make one with `from_pretrained`. `predict` and `rank` are those of sentence-transformers.
    """

    def __init__(
        self,
        model: str,
        engine: Engine | EngineGroup,
        activation: ScoreActivation,
        prompts: Mapping[str, str] | None = None,
        default_prompt: str = "",
    ) -> None:
        self._model = model
        self._engine = engine
        self._activation = activation
        self._prompts = dict(prompts or {})
        self._default_prompt = default_prompt

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = "zen-mini",
        *,
        device: str = "auto",
        precision: str = "auto",
        backend: str = "auto",
        max_length: int | None = None,
        truncation: Truncation = "longest_first",
        num_threads: int | None = None,
        activation: object = None,
        token_cache_mb: float = DEFAULT_TOKEN_CACHE_MB,
        revision: str | None = None,
        token: str | None = None,
    ) -> ZenReranker:
        """Load a cross-encoder.

        Args:
            model: "zen-mini" (ships with the package), a local folder, or a hub id.
            device: "cpu", "cuda" or "cuda:N"; "auto" is the CPU, a GPU has to be asked for.
                "cuda:0,1" puts the model on each of these GPUs and spreads whole queries over them.
            precision: "fp32", "int8" (projections in 8 bits), on a GPU also "fp16", "bf16" and
                "fp8" (projections in 8-bit floating point, from compute capability 8.9 on), or
                "auto": as stored on the CPU, fp16 and bf16 widened to fp32; on a GPU fp16, or int8
                where the checkpoint is.
            backend: "auto", "cpu" (own kernels), "triton" (own kernels on a GPU) or "reference"
                (plain PyTorch, slow).
            max_length: longest (query, document) pair in tokens, special tokens included; None for
                what tokenizer and model allow.
            truncation: which text of a longer pair is cut: "longest_first", or "only_second" to
                never cut the query.
            num_threads: threads of the cpu backend; None for every usable core.
            activation: from logits to scores, see `activation_from`; None for what
                sentence-transformers would choose.
            token_cache_mb: memory for texts that were tokenized before, in MB; 0 remembers none.
            revision: branch, tag or commit on the hub.
            token: access token of the hub, for private models.

        Raises:
            ModelNotFoundError: there is no such model.
            CheckpointError: its files do not form a reranker.
            UnsupportedModelError: its architecture or one of its settings is not supported.
            UnsupportedDeviceError: device or precision cannot be had here.
            InvalidArgumentError, InvalidTypeError: an argument is not accepted.
        """
        cache_bytes = _cache_bytes(token_cache_mb)
        if max_length is not None:
            max_length = _positive("max_length", max_length)
        if num_threads is not None:
            num_threads = _positive("num_threads", num_threads)
        chosen = None if activation is None else activation_from(activation)
        makers = [
            make_backend(backend, each, precision, num_threads) for each in split_devices(device)
        ]
        checkpoint = load_checkpoint(model, revision=revision, token=token)
        spec = checkpoint.spec
        stock = load_stock_tokenizer(
            checkpoint.folder, checkpoint.config, checkpoint.tokenizer_config
        )
        settings = read_settings(checkpoint.folder)
        if max_length is None:
            max_length = settings.pair_length(spec.max_length)
        tokenizer = stock.pair_tokenizer(
            longest_supported=spec.max_length,
            max_length=max_length,
            truncation=truncation,
            cache_bytes=cache_bytes,
        )
        encoder = Encoder(spec, at_precision(checkpoint.weights, precision))
        engine = _engine(makers, encoder, tokenizer)
        if chosen is None:
            chosen = default_activation(
                str(model), settings.activation_path, checkpoint.config, spec.head.num_labels
            )
        return cls(str(model), engine, chosen, settings.prompts, settings.default_prompt)

    @property
    def model(self) -> str:
        """What was passed to `from_pretrained`."""
        return self._model

    @property
    def spec(self) -> EncoderSpec:
        """The encoder's numbers and choices."""
        return self._engine.spec

    @property
    def num_labels(self) -> int:
        """Scores per pair."""
        return self._engine.spec.head.num_labels

    @property
    def max_length(self) -> int | None:
        """Longest pair in tokens, special tokens included; longer ones are truncated."""
        return self._engine.tokenizer.max_length

    @property
    def backend(self) -> str:
        """The backend in use."""
        return self._engine.backend.name

    @property
    def activation(self) -> ScoreActivation:
        """From logits to scores."""
        return self._activation

    def seconds_by_op(self) -> dict[str, float]:
        """Where the time went since loading: op → seconds, as if all threads had shared each op."""
        return self._engine.seconds_by_op()

    def token_cache_statistics(self) -> TokenCacheStatistics:
        """Hits, misses and size of the token cache."""
        return self._engine.tokenizer.cache_statistics()

    def __repr__(self) -> str:
        return (
            f"ZenReranker({self._model!r}, architecture={self.spec.architecture!r}, "
            f"num_layers={self.spec.num_layers}, hidden_size={self.spec.hidden_size}, "
            f"num_labels={self.num_labels}, max_length={self.max_length}, "
            f"backend={self.backend!r}, activation={self._activation.name!r})"
        )

    def score(
        self,
        query: str,
        documents: Iterable[Document],
        *,
        show_progress: bool | None = None,
    ) -> Scores:
        """Score of each document for `query`, in input order.

        Args:
            query: a text.
            documents: texts, or mappings whose `text` is scored.
            show_progress: None shows a bar on a terminal when the work takes long.

        Returns:
            (num_documents,) fp32, or (num_documents, num_labels) for models with several labels.

        Raises:
            InvalidTypeError: the query is no text, or one of the documents is none.
            OutOfDeviceMemoryError: a GPU has no room for half the batch that it should have.
        """
        query = query_text(query)
        texts = document_texts(as_list(documents, "documents", "documents"))
        query = self._default_prompt + query
        logits = self._engine.logits([query] * len(texts), texts, show_progress)
        scores = self._activation(logits)
        return scores[:, 0] if self.num_labels == 1 else scores

    def rerank(
        self, query: str, candidates: Iterable[Document], k: int | None = 10
    ) -> list[RankedDocument]:
        """The `k` best of `candidates` for `query`, best first; all of them for None.

        The order is that of the logits, which tell apart what a saturated sigmoid does not; ties
        keep their input order, and a score that is NaN comes last.

        Raises:
            InvalidArgumentError: `k` is not positive, or the model has several labels.
            InvalidTypeError: the query is no text, or one of the candidates is none.
        """
        query = query_text(query)
        documents = as_list(candidates, "candidates", "documents")
        texts = document_texts(documents, "candidates")
        self._check_ranking(k)
        query = self._default_prompt + query
        logits = self._engine.logits([query] * len(texts), texts)
        return self._ranked(documents, logits, k)

    def batch_rerank(
        self,
        queries: Sequence[str],
        candidate_lists: Sequence[Iterable[Document]],
        batch_size: int = 32,
        k: int | None = 10,
    ) -> list[list[RankedDocument]]:
        """`rerank` for many queries, each with its own candidates.

        Args:
            batch_size: queries whose candidates are scheduled together; bounds memory, and does not
                change any score.

        Raises:
            InvalidArgumentError: the lists differ in length, `k` or `batch_size` is not positive,
                or the model has several labels.
            InvalidTypeError: a query is no text, or one of the candidates is none.
        """
        queries = [self._default_prompt + query for query in query_list(queries)]
        lists = [
            as_list(candidates, f"candidate_lists[{index}]", "documents")
            for index, candidates in enumerate(
                as_list(candidate_lists, "candidate_lists", "lists of documents")
            )
        ]
        if len(queries) != len(lists):
            raise InvalidArgumentError(
                f"there are {len(queries)} queries but {len(lists)} candidate_lists; pass one list "
                "for each query"
            )
        batch_size = _positive("batch_size", batch_size)
        self._check_ranking(k)
        texts = [
            document_texts(documents, f"candidate_lists[{index}]")
            for index, documents in enumerate(lists)
        ]
        rankings: list[list[RankedDocument]] = []
        for start in range(0, len(queries), batch_size):
            group = range(start, min(start + batch_size, len(queries)))
            logits = self._engine.logits(
                [queries[index] for index in group for _ in texts[index]],
                [text for index in group for text in texts[index]],
            )
            first = 0
            for index in group:
                last = first + len(lists[index])
                rankings.append(self._ranked(lists[index], logits[first:last], k))
                first = last
        return rankings

    def _ranked(
        self, documents: Sequence[Document], logits: Scores, k: int | None
    ) -> list[RankedDocument]:
        scores = self._activation(logits)[:, 0]
        order = ranking(logits[:, 0], scores, self._activation)[:k].tolist()
        return [RankedDocument(i, float(scores[i]), documents[i]) for i in order]

    def _check_ranking(self, k: int | None) -> None:
        if k is not None:
            _positive("k", k)
        if self.num_labels != 1:
            raise InvalidArgumentError(
                f"a ranking needs a model with one label; {self._model} has {self.num_labels}: "
                "use score, and choose a label"
            )


def _engine(
    makers: Sequence[MakeBackend], encoder: Encoder, tokenizer: PairTokenizer
) -> Engine | EngineGroup:
    """An engine for each device; several act as one."""
    engines = []
    for make in makers:
        running, token_budget = make(encoder)
        engines.append(Engine(running, tokenizer, encoder.spec, token_budget))
    return engines[0] if len(engines) == 1 else EngineGroup(engines)


def _positive(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InvalidTypeError(f"{name} is a {type(value).__name__}; pass a whole number")
    if value < 1:
        raise InvalidArgumentError(f"{name}={value}: it must be at least 1")
    return int(value)


def _cache_bytes(token_cache_mb: object) -> int:
    if isinstance(token_cache_mb, bool) or not isinstance(token_cache_mb, Real):
        raise InvalidTypeError(
            f"token_cache_mb is a {type(token_cache_mb).__name__}; pass a number of megabytes"
        )
    megabytes = float(token_cache_mb)
    if not 0 <= megabytes < float("inf"):
        raise InvalidArgumentError(f"token_cache_mb={megabytes}: it must be finite and at least 0")
    return int(megabytes * 1e6)
