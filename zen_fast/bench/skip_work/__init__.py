"""`zen-fast bench --skip-work`: what ways of not scoring save, and cost."""
