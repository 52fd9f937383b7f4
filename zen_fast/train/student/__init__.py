"""The student: a cross-encoder that begins with what its two teachers know.

`making` goes through these, in this order:

1. `cutting`       some layers, neurons and embedding rows of the base model, a bi-encoder
2. `segments`      query and document, in one sequence, hardly see each other
3. `distillation`  each segment's mean points where the base model's embedding points
4. `word_match`    a head of the first layer marks the query's words that the document repeats
5. `cosine_layer`  one more layer multiplies the two means
6. `calibration`   the classifier weighs cosine and words as the training loss asks

The result is an ordinary BertForSequenceClassification; training goes on from there with every
weight, and `reading` is how.
"""
