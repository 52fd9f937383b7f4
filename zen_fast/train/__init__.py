"""Training a cross-encoder: `python -m zen_fast.train --help`."""
