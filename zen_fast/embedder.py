"""The embedder: a bi-encoder on the packed engine, texts to vectors."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zen_fast.arguments import positive_count
from zen_fast.checkpoint.embedding import Similarity, load_embedding_checkpoint
from zen_fast.documents import optional_text, query_list, query_text
from zen_fast.encoder import Encoder
from zen_fast.engine import Engine
from zen_fast.errors import InvalidArgumentError
from zen_fast.placement import CPU_PRECISIONS, make_backend
from zen_fast.quantization import at_precision
from zen_fast.spec import EncoderSpec
from zen_fast.tokenization.pair_layout import learn_text_layout
from zen_fast.tokenization.stock_tokenizer import load_stock_tokenizer

Embeddings = NDArray[np.float32]

_SMALLEST_LENGTH = 1e-12
"""An embedding shorter than this is left as it is, which keeps zeros finite."""


class ZenEmbedder:
    """Embeds texts with a bi-encoder (Reimers and Gurevych, EMNLP 2019); safe under threads.

    Make one with `from_pretrained`. The forward pass is the reranker's: the same packed batches,
    kernels and int8; only the head differs, which pools and does not classify.
    """

    def __init__(
        self,
        model: str,
        engine: Engine,
        *,
        dimensions: int,
        normalize: bool,
        similarity: Similarity,
        precision: str = "auto",
        query_prompt: str = "",
        document_prompt: str = "",
        default_prompt: str = "",
        revision: str | None = None,
    ) -> None:
        self._model = model
        self._engine = engine
        self._dimensions = dimensions
        self._normalize = normalize
        self._similarity: Similarity = similarity
        self._precision = precision
        self._query_prompt = query_prompt
        self._document_prompt = document_prompt
        self._default_prompt = default_prompt
        self._revision = revision

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path,
        *,
        device: str = "auto",
        precision: str = "auto",
        backend: str = "auto",
        max_length: int | None = None,
        dimensions: int | None = None,
        normalize: bool | None = None,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
        num_threads: int | None = None,
        revision: str | None = None,
        token: str | None = None,
    ) -> ZenEmbedder:
        """Load a bi-encoder that sentence-transformers saved, or a bare encoder (mean-pooled).

        Args:
            model: a local folder or a hub id.
            device, precision, backend, num_threads: as for `ZenReranker.from_pretrained`; one
                device.
            max_length: longest text in tokens, special tokens included; None for what model and
                tokenizer allow. Longer texts are truncated.
            dimensions: columns kept of an embedding, for models trained that way (Matryoshka,
                Kusupati et al., NeurIPS 2022, arXiv 2205.13147); None for the model's own.
            normalize: scale embeddings to length 1, after that cut; None for what the model does.
            query_prompt, document_prompt: put before each text; None for the model's own.
            revision: branch, tag or commit on the hub.
            token: access token of the hub, for private models.

        Raises:
            ModelNotFoundError: there is no such model.
            CheckpointError: its files do not form a bi-encoder.
            UnsupportedModelError: its architecture or one of its settings is not supported.
            UnsupportedDeviceError: device or precision cannot be had here.
            InvalidArgumentError, InvalidTypeError: an argument is not accepted.
        """
        if num_threads is not None:
            num_threads = positive_count("num_threads", num_threads)
        for name, prompt in (("query_prompt", query_prompt), ("document_prompt", document_prompt)):
            optional_text(prompt, name)
        make = make_backend(backend, device, precision, num_threads)
        loaded = load_embedding_checkpoint(model, revision=revision, token=token)
        body, spec = loaded.body, loaded.body.spec
        stock = load_stock_tokenizer(body.folder, body.config, body.tokenizer_config)
        if max_length is not None:
            max_length = positive_count("max_length", max_length)
        elif loaded.max_length is not None:
            max_length = min(loaded.max_length, spec.max_length)
        tokenizer = stock.pair_tokenizer(
            longest_supported=spec.max_length,
            max_length=max_length,
            layout=learn_text_layout(stock.tokenizer),
        )
        width = spec.head.num_labels
        running, token_budget = make(Encoder(spec, at_precision(body.weights, spec, precision)))
        return cls(
            str(model),
            Engine(running, tokenizer, spec, token_budget),
            dimensions=_checked_dimensions(dimensions, loaded.dimensions, width),
            normalize=loaded.normalize if normalize is None else normalize,
            similarity=loaded.similarity,
            precision=precision,
            query_prompt=loaded.query_prompt if query_prompt is None else query_prompt,
            document_prompt=loaded.document_prompt if document_prompt is None else document_prompt,
            default_prompt=loaded.default_prompt,
            revision=revision,
        )

    @property
    def model(self) -> str:
        """What was passed to `from_pretrained`."""
        return self._model

    @property
    def spec(self) -> EncoderSpec:
        """The encoder's numbers and choices."""
        return self._engine.spec

    @property
    def dimensions(self) -> int:
        """Columns of an embedding."""
        return self._dimensions

    @property
    def similarity(self) -> Similarity:
        """What compares two embeddings: "cosine" or "dot"."""
        return self._similarity

    @property
    def max_length(self) -> int | None:
        """Longest text in tokens, special tokens included; longer ones are truncated."""
        return self._engine.tokenizer.max_length

    @property
    def backend(self) -> str:
        """The backend in use."""
        return self._engine.backend.name

    def settings(self) -> dict[str, Any]:
        """Arguments with which `from_pretrained` makes the same embeddings, as JSON can hold them.

        A precision that only some devices have is left to "auto".
        """
        is_folder = Path(self._model).is_dir()
        return {
            "model": str(Path(self._model).resolve()) if is_folder else self._model,
            "precision": self._precision if self._precision in CPU_PRECISIONS else "auto",
            "max_length": self.max_length,
            "dimensions": self._dimensions,
            "normalize": self._normalize,
            "query_prompt": self._query_prompt,
            "document_prompt": self._document_prompt,
            "revision": self._revision,
        }

    def __repr__(self) -> str:
        return (
            f"ZenEmbedder({self._model!r}, architecture={self.spec.architecture!r}, "
            f"dimensions={self._dimensions}, pooling={self.spec.head.pooling!r}, "
            f"max_length={self.max_length}, backend={self.backend!r})"
        )

    def encode(
        self, texts: Iterable[str], *, prompt: str | None = None, show_progress: bool | None = None
    ) -> Embeddings:
        """Embed texts, each by itself.

        Args:
            texts: a list of strings.
            prompt: put before each text; None for the model's default prompt.
            show_progress: None shows a bar on a terminal when the work takes long.

        Returns:
            (num_texts, dimensions) fp32, in input order.

        Raises:
            InvalidTypeError: `texts` is no list, or one of them or the prompt is no string.
            OutOfDeviceMemoryError: a GPU has no room for half the batch that it should have.
        """
        prompt = self._default_prompt if prompt is None else query_text(prompt, "prompt")
        whole = [prompt + text for text in query_list(texts, "texts")]
        vectors = self._engine.logits([""] * len(whole), whole, show_progress)
        vectors = np.ascontiguousarray(vectors[:, : self._dimensions])
        if self._normalize:
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors /= np.maximum(lengths, _SMALLEST_LENGTH)
        return vectors

    def encode_queries(
        self, queries: Iterable[str], *, show_progress: bool | None = None
    ) -> Embeddings:
        """`encode` with the model's prompt for queries."""
        return self.encode(queries, prompt=self._query_prompt, show_progress=show_progress)

    def encode_documents(
        self, documents: Iterable[str], *, show_progress: bool | None = None
    ) -> Embeddings:
        """`encode` with the model's prompt for documents."""
        return self.encode(documents, prompt=self._document_prompt, show_progress=show_progress)


def _checked_dimensions(asked: int | None, saved: int | None, width: int) -> int:
    """Columns to keep of `width`: as the call asks, else as the model's settings say, else all."""
    chosen = saved if asked is None else asked
    if chosen is None:
        return width
    if positive_count("dimensions", chosen) > width:
        raise InvalidArgumentError(
            f"dimensions={chosen}: this model's embeddings have {width} columns; pass at most "
            "that, or None for the model's own"
        )
    return int(chosen)
