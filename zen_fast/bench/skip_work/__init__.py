"""`python -m zen_fast.bench --skip-work`: what ways of not scoring save, and cost."""
