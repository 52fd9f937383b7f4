"""The reranker: the public face of the engine."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zen_fast.activation import ScoreActivation, Scores
from zen_fast.arguments import deadline_seconds, positive_count, share_to_find
from zen_fast.assembling import Choices, Parts, assemble
from zen_fast.documents import (
    Document,
    RankedDocument,
    as_list,
    document_texts,
    query_list,
    query_text,
)
from zen_fast.encoded import PairScores
from zen_fast.engine import Engine
from zen_fast.engine_group import EngineGroup
from zen_fast.errors import InvalidArgumentError
from zen_fast.interpolation import FirstStage
from zen_fast.pace import Pace
from zen_fast.prefix_cache import PrefixCacheStatistics
from zen_fast.prompts.template import PromptTemplate
from zen_fast.ranking import Ranking, Work, best_first, ranking, ranking_keys
from zen_fast.score_cache import ScoreCacheStatistics, ScoreStore
from zen_fast.sentence_transformers_interface import SentenceTransformersInterface
from zen_fast.spec import EncoderSpec
from zen_fast.tokenization import (
    DEFAULT_WINDOW_OVERLAP,
    LongDocuments,
    TokenCacheStatistics,
    Truncation,
)
from zen_fast.waves import Deadline, EveryCandidate, Plan, Waves, WaveScores

DEFAULT_TOKEN_CACHE_MB = 32.0
DEFAULT_PREFIX_CACHE_MB = 256.0
DEFAULT_SCORE_CACHE_MB = 64.0


class ZenReranker(SentenceTransformersInterface):
    """Scores documents for a query with a cross-encoder; safe to call from many threads.

    Make one with `from_pretrained`. `predict` and `rank` are those of sentence-transformers.
    """

    def __init__(self, model: str | Path, choices: Choices, parts: Parts) -> None:
        self._model = model
        self._choices = choices
        self._scorer = parts.scorer
        self._engine = parts.scorer.engine
        self._activation = parts.activation
        self._prompts = dict(parts.settings.prompts)
        self._default_prompt = parts.settings.default_prompt
        self._early_stop = parts.early_stop
        self._devices = parts.devices
        self._pace = Pace()

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
        template: str | PromptTemplate | None = None,
        num_threads: int | None = None,
        activation: object = None,
        token_cache_mb: float = DEFAULT_TOKEN_CACHE_MB,
        prefix_cache_mb: float = DEFAULT_PREFIX_CACHE_MB,
        score_cache: str | ScoreStore | None = None,
        score_cache_mb: float = DEFAULT_SCORE_CACHE_MB,
        score_cache_ttl_s: float | None = None,
        long_documents: LongDocuments = "truncate",
        window_overlap: float = DEFAULT_WINDOW_OVERLAP,
        max_windows: int | None = None,
        calibration: str | Path | None = None,
        revision: str | None = None,
        token: str | None = None,
    ) -> ZenReranker:
        """Load a cross-encoder.

        Args:
            model: "zen-mini" or "zen-mini-twin" (ship with the package), a local folder, or a hub
                id.
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
                never cut the query. Of a prompt only the document is, and under "longest_first" a
                query beyond the share that its template grants.
            template: the prompt that a language model reads: a name in
                `zen_fast.prompts.TEMPLATES`, a text with {query} and {document}, or a
                PromptTemplate; None for what the checkpoint says.
            num_threads: threads of the cpu backend; None for every usable core.
            activation: from logits to scores, see `activation_from`; None for what
                sentence-transformers would choose.
            token_cache_mb: memory for texts that were tokenized before, in MB; 0 remembers none.
            prefix_cache_mb: memory for what a causal language model makes of the tokens that its
                prompts begin with (instruction and query), or a query-independent encoder of the
                query, in MB: computed once instead of for every document, without changing a
                score. 0 shares nothing; other models never do.
            score_cache: where scores are remembered: "memory", "disk:FOLDER" for the processes of
                one machine, "redis://HOST:PORT/DATABASE" for several machines, or a store of your
                own; None remembers none.
            score_cache_mb: bound on that memory or folder.
            score_cache_ttl_s: seconds after which a score is forgotten; None for never.
            long_documents: "truncate" to `max_length`, or "chunk": read in overlapping windows, of
                which the best gives the score.
            window_overlap: share of a window that the next one repeats at least.
            max_windows: windows read of a long document, those that share most of the query's
                words; None for all.
            calibration: what `zen-fast calibrate` wrote, for `early_stop`, loaded at once; None
                for the one beside the checkpoint, loaded by the first call that needs it.
            revision: branch, tag or commit on the hub.
            token: access token of the hub, for private models.

        Raises:
            ModelNotFoundError: there is no such model.
            CheckpointError: its files do not form a reranker.
            UnsupportedModelError: its architecture or one of its settings is not supported.
            UnsupportedDeviceError: device or precision cannot be had here.
            InvalidArgumentError, InvalidTypeError: an argument is not accepted.
        """
        choices = Choices(
            device=device,
            precision=precision,
            backend=backend,
            max_length=max_length,
            truncation=truncation,
            template=template,
            long_documents=long_documents,
            window_overlap=window_overlap,
            max_windows=max_windows,
            num_threads=num_threads,
            activation=activation,
            token_cache_mb=token_cache_mb,
            prefix_cache_mb=prefix_cache_mb,
            score_cache=score_cache,
            score_cache_mb=score_cache_mb,
            score_cache_ttl_s=score_cache_ttl_s,
            calibration=calibration,
            revision=revision,
            token=token,
        )
        return cls(model, choices, assemble(model, choices))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as what it was loaded with: another process loads its own."""
        return _load, (type(self), self._model, self._choices)

    @property
    def model(self) -> str:
        """What was passed to `from_pretrained`."""
        return str(self._model)

    @property
    def engine(self) -> Engine | EngineGroup:
        """What runs the model: texts to logits, without cache or activation."""
        return self._engine

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
    def precision(self) -> str:
        """What the layers' projections are computed in: "fp32", "int8", …"""
        return self._engine.backend.precision

    @property
    def activation(self) -> ScoreActivation:
        """From logits to scores."""
        return self._activation

    def seconds_by_op(self) -> dict[str, float]:
        """Where the time went since loading: op → seconds, as if all threads had shared each op."""
        return self._engine.seconds_by_op()

    def score_cache_statistics(self) -> ScoreCacheStatistics | None:
        """Hits, misses and size of the score cache; None where there is none."""
        cache = self._scorer.cache
        return None if cache is None else cache.statistics()

    def token_cache_statistics(self) -> TokenCacheStatistics:
        """Hits, misses and size of the token cache."""
        return self._engine.tokenizer.cache_statistics()

    def prefix_cache_statistics(self) -> PrefixCacheStatistics:
        """Tokens computed and saved, and size, of what prompts begin with."""
        return self._engine.prefix_cache_statistics()

    def __repr__(self) -> str:
        return (
            f"ZenReranker({self.model!r}, architecture={self.spec.architecture!r}, "
            f"num_layers={self.spec.num_layers}, hidden_size={self.spec.hidden_size}, "
            f"num_labels={self.num_labels}, max_length={self.max_length}, "
            f"backend={self.backend!r}, precision={self.precision!r}, "
            f"activation={self._activation.name!r})"
        )

    def score(
        self,
        query: str,
        documents: Iterable[Document],
        *,
        instruction: str | None = None,
        show_progress: bool | None = None,
    ) -> Scores:
        """Score of each document for `query`, in input order.

        Args:
            query: a text.
            documents: texts, or mappings whose `text` is scored.
            instruction: what relevance means, for a model whose prompt has a place for it; None for
                the model's own.
            show_progress: None shows a bar on a terminal when the work takes long.

        Returns:
            (num_documents,) fp32, or (num_documents, num_labels) for models with several labels.

        Raises:
            InvalidArgumentError: the model takes no instruction, or needs one.
            InvalidTypeError: the query is no text, or one of the documents is none.
            OutOfDeviceMemoryError: a GPU has no room for half the batch that it should have.
        """
        query = query_text(query)
        texts = document_texts(as_list(documents, "documents", "documents"))
        pair_scores = self._scores(
            [query] * len(texts),
            texts,
            self._default_prompt,
            instruction=instruction,
            show_progress=show_progress,
        )
        scores = self._activation(pair_scores.logits)
        return scores[:, 0] if self.num_labels == 1 else scores

    def rerank(
        self,
        query: str,
        candidates: Iterable[Document],
        k: int | None = 10,
        *,
        instruction: str | None = None,
        early_stop: float | None = None,
        deadline_ms: float | None = None,
        first_stage_weight: float = 0.0,
    ) -> Ranking:
        """The `k` best of `candidates` for `query`, best first; all of them for None.

        The order is that of the logits, which tell apart what a saturated sigmoid does not; ties
        keep their input order, and a score that is NaN comes last.

        Args:
            candidates: in first-stage order, the most promising first, where `early_stop` or
                `deadline_ms` is given.
            instruction: see `score`.
            early_stop: stop scoring where this share of the exact top k, on average over queries,
                is expected to be found; between 0 and 1. It needs a model that is calibrated
                (`zen-fast calibrate`; zen-mini is), and scores everything where it cannot know.
            deadline_ms: milliseconds after which to return with what is scored. They begin once
                `early_stop`'s calibration is loaded, which the first call with it waits for.
            first_stage_weight: share of the first stage in the order, from 0 to 1: documents are
                ranked by a weighted sum of both scores, each in deviations from its mean over the
                candidates, which are mappings with the first stage's as `score`. The scores that
                are returned stay the model's.

        Returns:
            A list whose `work` says what was scored and why no more. Candidates without a score
            follow the scored ones in first-stage order, with a score of NaN.

        Raises:
            InvalidArgumentError: `k` or `deadline_ms` is not positive, `early_stop` is no share,
                the model has several labels, or it takes no instruction, or needs one;
                `first_stage_weight` is no share, or given beside either of the two, which leave
                candidates without a score.
            CheckpointError: `early_stop` is asked for, and the calibration is of another model.
            InvalidTypeError: the query is no text, one of the candidates is none, or has no `score`
                to be weighed.
        """
        share = share_to_find(early_stop)
        if share is not None:
            self._early_stop.load()
        started = time.perf_counter()
        query = query_text(query)
        documents = as_list(candidates, "candidates", "documents")
        texts = document_texts(documents, "candidates")
        self._check_ranking(k)
        seconds = deadline_seconds(deadline_ms)
        first_stage = FirstStage.of(documents, first_stage_weight)
        if first_stage is not None and not (share is None and seconds is None):
            raise _unscored_beside_weight()
        if not texts or (share is None and seconds is None):
            scores = self._scores(
                [query] * len(texts), texts, self._default_prompt, instruction=instruction
            )
            return self._ranked(documents, scores, k, first_stage)
        query, instruction = self.prompted(query, instruction)
        plan, why = self._plan(len(texts), k, share)
        deadline = None if seconds is None else Deadline(seconds, started, self._pace)
        with self._scorer.one_engine(len(texts)) as engine:
            waves = Waves(self._scorer, engine, query, instruction, texts, plan, deadline).run()
        return self._partly_ranked(documents, waves, plan.probe_layers, why, k)

    def prompted(self, query: str, instruction: str | None = None) -> tuple[str, str | None]:
        """Query and instruction as the engine takes them: with the checkpoint's default prompt."""
        (query,), instruction = self._prompted([query], self._default_prompt, instruction)
        return query, instruction

    def _plan(self, num_candidates: int, k: int | None, share: float | None) -> tuple[Plan, str]:
        """How to go through the candidates, and why not with fewer of them."""
        why = ""
        if share is not None:
            search, why = self._early_stop.plan(num_candidates, k, share)
            if search is not None:
                return search, why
        return EveryCandidate(num_candidates), why

    def batch_rerank(
        self,
        queries: Sequence[str],
        candidate_lists: Sequence[Iterable[Document]],
        batch_size: int = 32,
        k: int | None = 10,
        *,
        instruction: str | None = None,
        early_stop: float | None = None,
        first_stage_weight: float = 0.0,
    ) -> list[Ranking]:
        """`rerank` for many queries, each with its own candidates.

        Args:
            batch_size: queries whose candidates are scheduled together; bounds memory, and does not
                change any score.
            instruction: for all of the queries; see `score`.
            early_stop: for each of the queries; see `rerank`. They are scored one after the other.
            first_stage_weight: see `rerank`.

        Raises:
            InvalidArgumentError: the lists differ in length, `k` or `batch_size` is not positive,
                `early_stop` is no share, the model has several labels, or it takes no instruction,
                or needs one; `first_stage_weight` is no share, or given beside `early_stop`.
            InvalidTypeError: a query is no text, one of the candidates is none, or has no `score`
                to be weighed.
        """
        queries = query_list(queries)
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
        batch_size = positive_count("batch_size", batch_size)
        self._check_ranking(k)
        texts = [
            document_texts(documents, f"candidate_lists[{index}]")
            for index, documents in enumerate(lists)
        ]
        first_stages = [
            FirstStage.of(documents, first_stage_weight, f"candidate_lists[{index}]")
            for index, documents in enumerate(lists)
        ]
        if early_stop is not None:
            if any(each is not None for each in first_stages):
                raise _unscored_beside_weight()
            return [
                self.rerank(query, list_, k, instruction=instruction, early_stop=early_stop)
                for query, list_ in zip(queries, lists, strict=True)
            ]
        rankings: list[Ranking] = []
        for start in range(0, len(queries), batch_size):
            group = range(start, min(start + batch_size, len(queries)))
            scores = self._scores(
                [queries[index] for index in group for _ in texts[index]],
                [text for index in group for text in texts[index]],
                self._default_prompt,
                instruction=instruction,
            )
            first = 0
            for index in group:
                last = first + len(lists[index])
                part = scores.part(first, last)
                rankings.append(self._ranked(lists[index], part, k, first_stages[index]))
                first = last
        return rankings

    def _ranked(
        self,
        documents: Sequence[Document],
        pair_scores: PairScores,
        k: int | None,
        first_stage: FirstStage | None,
    ) -> Ranking:
        activated = self._activation(pair_scores.logits)[:, 0]
        keys = ranking_keys(pair_scores.logits[:, 0], activated, self._activation)
        order = best_first(keys if first_stage is None else first_stage.mixed_with(keys))[:k]
        work = Work(len(documents), len(documents), pair_scores.num_cached)
        return Ranking(_lines(documents, pair_scores, activated, order), work)

    def _partly_ranked(
        self,
        documents: Sequence[Document],
        waves: WaveScores,
        probe_layers: int,
        why: str,
        k: int | None,
    ) -> Ranking:
        scored, unscored = np.flatnonzero(waves.is_scored), np.flatnonzero(~waves.is_scored)
        logits = waves.scores.logits
        activated = np.full(len(documents), np.nan, dtype=np.float32)
        activated[scored] = self._activation(logits[scored])[:, 0]
        best = scored[ranking(logits[scored, 0], activated[scored], self._activation)]
        order = np.concatenate((best, unscored))[:k]
        work = Work(
            len(documents),
            len(scored),
            waves.num_cached,
            waves.num_given_up,
            probe_layers if waves.num_given_up else None,
            waves.stopped,
            why,
        )
        return Ranking(_lines(documents, waves.scores, activated, order), work)

    def _check_ranking(self, k: int | None) -> None:
        if k is not None:
            positive_count("k", k)
        if self.num_labels != 1:
            raise InvalidArgumentError(
                f"a ranking needs a model with one label; {self.model} has {self.num_labels}: "
                "use score, and choose a label"
            )


def _load(kind: type[ZenReranker], model: str | Path, choices: Choices) -> ZenReranker:
    return kind(model, choices, assemble(model, choices))


def _unscored_beside_weight() -> InvalidArgumentError:
    return InvalidArgumentError(
        "first_stage_weight needs every candidate's score, which early_stop and deadline_ms do "
        "without; leave one of them out"
    )


def _lines(
    documents: Sequence[Document],
    pair_scores: PairScores,
    activated: Scores,
    order: NDArray[np.intp],
) -> list[RankedDocument]:
    """The documents of `order`, each with its score and its best window."""
    spans = pair_scores.spans
    return [
        RankedDocument(
            i,
            float(activated[i]),
            documents[i],
            None
            if spans is None or np.isnan(activated[i])
            else (int(spans[i, 0]), int(spans[i, 1])),
        )
        for i in order.tolist()
    ]
