"""Every tolerance of the tests, in one table; changed only in a commit of its own."""

PARITY_PER_SPREAD = 1e-4
"""Largest |logit - stock logit| over the standard deviation of the stock logits, both in fp32."""

BATCH_PER_SPREAD = 3e-5
"""Largest change of a logit when its sequence is batched otherwise, over the same deviation."""

INT8_PER_SPREAD = 1e-3
"""Largest difference of most int8 logits between backends, over the same deviation."""

INT8_ROUNDING_FLIP_PER_SPREAD = 0.1
"""The same for the few where an activation lies on the edge between two bytes."""

ROUNDED_ATTENTION_PER_SPREAD = 2e-3
"""Largest difference of fp32 logits whose attention is rounded to 16 bits, over that deviation:
some numbers lie on the edge between two."""

FP8_PER_SPREAD = 1e-3
"""Largest difference of most fp8 logits between backends, over the same deviation."""

FP8_ROUNDING_FLIP_PER_SPREAD = 0.1
"""The same for the few where an activation lies between two fp8 values."""

FP8_TIMES_EMULATIONS_ERROR = 1.5
"""Root mean square error of fp8 logits on a GPU against fp32 ones, over that of exact sums."""

TIMES_PYTORCHS_ERROR = 3.0
"""Largest error of logits in 16 bits against fp32, over that of the stock model in 16 bits."""

EMBEDDING_COSINE = 0.99999
"""Smallest cosine of an fp32 embedding and the stock model's."""

INT8_EMBEDDING_COSINE = 0.97
"""The same in int8."""

INT8_BACKENDS_COSINE = 0.999
"""Smallest cosine of two backends' int8 embeddings."""
