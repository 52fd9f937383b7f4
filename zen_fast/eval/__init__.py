"""`zen-fast eval`: ranking quality on judged collections, precisions side by side."""
