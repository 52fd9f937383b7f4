"""A query-independent twin of a BERT cross-encoder, distilled from it.

`reading` is the stock model under the twin's attention pattern, `lists` are the unjudged candidates
that it learns from, `distilling` is the loop, `__main__` the command.
"""
