"""The models of random weights and the requests that every phase measures on."""

from __future__ import annotations

import json
import random
from pathlib import Path

from benchmarks.gpu_gate.context import Context
from zen_fast.bench.models import open_model
from zen_fast.bench.random_model import SHAPES, write_random_model
from zen_fast.bench.workloads import cut_text
from zen_fast.candidates import Request
from zen_fast.standard_library import standard_library_collection
from zen_fast.tokenization import PairTokenizer

_SEED = 0


def write_inputs(context: Context) -> None:
    """A checkpoint for each shape, and one request for each shape and workload."""
    collection = standard_library_collection()
    texts = [document.full for document in collection.documents.values()]
    for shape in context.scale.shapes:
        folder = context.model_folder(shape)
        folder.mkdir(parents=True, exist_ok=True)
        write_random_model(folder, SHAPES[shape], texts, _SEED)
        tokenizer = open_model(folder, shape, random_weights=True).tokenizer
        for workload in context.scale.workloads:
            (request,) = cut_text(
                workload,
                collection,
                tokenizer,
                1,
                context.scale.num_documents,
                random.Random(_SEED),
            ).requests
            fields = {"query": request.query, "documents": request.documents}
            _path(folder, workload).write_text(json.dumps(fields), encoding="utf-8")


def read_request(context: Context, shape: str, workload: str) -> Request:
    """What `write_inputs` wrote."""
    path = _path(context.model_folder(shape), workload)
    fields = json.loads(path.read_text(encoding="utf-8"))
    documents = tuple(fields["documents"])
    return Request(workload, fields["query"], tuple(map(str, range(len(documents)))), documents)


def pair_lengths(tokenizer: PairTokenizer, request: Request) -> list[int]:
    """Tokens of each pair of the request."""
    pairs = tokenizer.encode_pairs([request.query] * len(request.documents), request.documents)
    return [len(pair) for pair in pairs]


def _path(folder: Path, workload: str) -> Path:
    return folder / f"request-{workload}.json"
