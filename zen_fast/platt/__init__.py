"""Platt scaling: a reranker's logits as the log odds that a document answers."""
