"""Retrieval measured: a million documents, and a corpus through a bi-encoder."""
