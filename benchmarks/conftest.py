"""A MiniLM-shaped model of random weights and one list of a hundred documents."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from zen_fast import ZenReranker
from zen_fast.bench.models import BenchModel, open_model
from zen_fast.bench.random_model import SHAPES, write_random_model
from zen_fast.bench.workloads import cut_text
from zen_fast.candidates import Request
from zen_fast.standard_library import standard_library_collection


@dataclass(frozen=True)
class Workbench:
    """What the suites measure on."""

    model: BenchModel
    reranker: ZenReranker
    request: Request


@pytest.fixture(scope="session")
def workbench(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    folder: Path = tmp_path_factory.mktemp("minilm-l6")
    collection = standard_library_collection()
    texts = [document.full for document in collection.documents.values()]
    write_random_model(folder, SHAPES["minilm-l6"], texts, seed=0)
    model = open_model(folder, "minilm-l6", random_weights=True)
    workload = cut_text("short", collection, model.tokenizer, 1, 100, random.Random(0))
    reranker = ZenReranker.from_pretrained(folder, activation="identity", token_cache_mb=0)
    return Workbench(model, reranker, workload.requests[0])
