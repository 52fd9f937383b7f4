"""Training a cross-encoder: `zen-fast train --help`."""
