"""Scoring stops when the top k is settled: what it believes of a model, and how that is fitted."""

from zen_fast.early_stop.calibration import Allowance, Calibration, LayerProbe, RankModel
from zen_fast.early_stop.search import TopKSearch

__all__ = ["Allowance", "Calibration", "LayerProbe", "RankModel", "TopKSearch"]
