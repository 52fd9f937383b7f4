"""Retrieval: the fast first stage that brings a reranker its candidates."""

from zen_fast.retrieval.candidate import Candidate
from zen_fast.retrieval.errors import CorpusError, IndexFolderError
from zen_fast.retrieval.pipeline import TwoStagePipeline, TwoStageResult
from zen_fast.retrieval.retriever import ZenRetriever
from zen_fast.retrieval.settings import Mode

__all__ = [
    "Candidate",
    "CorpusError",
    "IndexFolderError",
    "Mode",
    "TwoStagePipeline",
    "TwoStageResult",
    "ZenRetriever",
]
