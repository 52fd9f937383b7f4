"""A toy base model, a toy collection and zen-mini's recipe at toy size, to train in seconds."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from zen_fast.train.recipe import Recipe, Source, load_recipe

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.?"
_ANIMALS = ("otter", "heron", "badger", "weasel", "falcon", "salmon", "beaver", "lizard")
_WORDS = (
    *_ANIMALS,
    "lives",
    "where",
    "does",
    "near",
    "water",
    "number",
    "in",
    "the",
    "and",
    "eats",
)


def toy_tokenizer() -> Tokenizer:
    """WordPiece over letters and a few words."""
    pieces = [*_SPECIAL, *_LETTERS, *(f"##{letter}" for letter in _LETTERS), *_WORDS]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(list(_SPECIAL))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return tokenizer


def write_base(folder: Path) -> None:
    """A random three-layer bi-encoder with that tokenizer."""
    tokenizer = toy_tokenizer()
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=40,
        max_position_embeddings=128,
    )
    BertModel(config).save_pretrained(folder)


def write_collections(folder: Path) -> None:
    """One collection "toy" with a train split of 24 questions."""
    toy = folder / "toy"
    (toy / "qrels").mkdir(parents=True)
    documents, queries, judgements = [], [], ["query-id\tcorpus-id\tscore"]
    for index in range(24):
        animal = _ANIMALS[index % len(_ANIMALS)]
        text = (
            f"The {animal} number {index} lives near the water and the trees. "
            f"In the night the {animal} eats {index} fishes and sleeps. "
            f"People say that the {animal} has seen the number {index} before."
        )
        documents.append({"_id": f"d{index}", "title": f"{animal} {index}", "text": text})
        queries.append({"_id": f"q{index}", "text": f"Where does the {animal} {index} live?"})
        judgements.append(f"q{index}\td{index}\t1")
    for name, rows in (("corpus", documents), ("queries", queries)):
        (toy / f"{name}.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    (toy / "qrels" / "train.tsv").write_text("\n".join(judgements) + "\n")


def toy_recipe() -> Recipe:
    """zen-mini's recipe at toy size."""
    return dataclasses.replace(
        load_recipe("zen-mini"),
        sources=(Source("toy", 0, num_questions=16, num_cloze=6, num_dev_queries=4),),
        layers=(0, 2),
        feed_forward_size=36,
        vocabulary_size=90,
        passage_words=(8, 16),
        num_siblings=1,
        num_bm25=1,
        num_dense=1,
        num_wordless=1,
        num_random=1,
        max_query_length=16,
        max_length=48,
        distillation_steps=4,
        distillation_texts=8,
        num_steps=8,
        lists_per_step=3,
        warmup_steps=2,
        decay_steps=3,
        dev_every=4,
        checkpoint_every=4,
    )
