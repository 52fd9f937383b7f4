"""A recipe: everything that decides what a training run makes, in one JSON file."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from zen_fast.train.errors import RecipeError

RECIPES_FOLDER = Path(__file__).parent / "recipes"

Loss = Literal["listwise", "pointwise"]
AttentionPattern = Literal["full", "query_independent"]

# What the optimizer does is no matter of the work folder, which runs may share.
_TRAINING_FIELDS = (
    "name",
    "start_share",
    "reader_cosine_weight",
    "frozen_layers",
    "loss",
    "num_steps",
    "lists_per_step",
    "learning_rate",
    "head_learning_rate",
    "weight_decay",
    "warmup_steps",
    "decay_steps",
    "max_grad_norm",
    "dev_every",
    "checkpoint_every",
)
# These may even change between sessions of one run.
_SESSION_FIELDS = (
    "start_share",
    "num_steps",
    "decay_steps",
    "dev_every",
    "checkpoint_every",
)
# What the distilled encoder depends on: students that differ in anything else can share it.
_DISTILLATION_FIELDS = (
    "seed",
    "sources",
    "layers",
    "feed_forward_size",
    "vocabulary_size",
    "general_weight",
    "passage_words",
    "title_share",
    "keyword_share",
    "teacher_precision",
    "distillation_steps",
    "distillation_texts",
    "distillation_learning_rate",
)
# A student that is made is fitted to these; a model that is fine-tuned reads them in training only.
_FITTED_FIELDS = (
    "max_query_length",
    "max_length",
    "hard_weight",
    "pointwise_weight",
    "cosine_midpoint",
    "cosine_scale",
)


@dataclass(frozen=True)
class Source:
    """One training collection and how many candidate lists it gives."""

    collection: str
    """Folder name under the data directory."""
    num_documents: int
    """Documents taken, whole titles at a time; 0 takes all."""
    num_questions: int
    """Lists whose query is a judged query of the split."""
    num_cloze: int
    """Lists whose query is a sentence of a document (inverse cloze)."""
    num_dev_queries: int = 0
    """Queries held out of training to watch the model."""
    split: str = "train"
    passage_words: tuple[int, ...] = ()
    """In place of the recipe's, where not empty."""
    title_share: float | None = None
    """In place of the recipe's."""
    unjudged_margin: float | None = None
    """A passage that the teacher's cosine puts above the relevant one by more is an answer that
    nobody judged, and left out; None leaves none out."""
    judged: bool = True
    """Where False, nothing is known of the candidates but what the teacher says: a sentence of a
    relevant document may have little to do with the query."""
    reader: str | None = None
    """A cross-encoder whose logits of these lists' candidates stand in the teacher's place: an
    embedded model, a folder or a hub id."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of one training run; `load_recipe` reads them, the JSON names them."""

    name: str
    seed: int
    sources: tuple[Source, ...]
    # where training begins: a model that is there, or a student made of layers of the base model
    start: str | None = None
    """Cross-encoder to fine-tune: an embedded model, a folder or a hub id."""
    start_share: float = 0.0
    """How far, from 0 to 1, the fine-tuned weights are moved back towards it in the end."""
    attention_pattern: AttentionPattern = "full"
    """Of a student that is made; a query-independent one can share a query among its documents."""
    layers: tuple[int, ...] = ()
    """Layers of the base model that are kept, in order."""
    feed_forward_size: int = 0
    """Neurons that are kept of each of their feed-forward parts; 0 keeps all."""
    vocabulary_size: int = 0
    general_weight: float = 0.0
    """Of general English beside the training texts, when the vocabulary is chosen."""
    distillation_steps: int = 0
    distillation_texts: int = 0
    """Queries and documents per step, half of each."""
    distillation_learning_rate: float = 0.0
    # candidate lists
    passage_words: tuple[int, ...]
    """Lengths that documents are cut into, in words, drawn evenly per passage."""
    title_share: float
    """Share of the passages that begin with their document's title."""
    num_siblings: int
    """Candidates per list from the relevant document itself, those with the fewest words of the
    query first; random ones where it is too short."""
    num_bm25: int
    """Candidates per list from the `mining_depth` passages that BM25 ranks first."""
    num_dense: int
    """Candidates per list from the `mining_depth` nearest to the query by the teacher's cosine."""
    num_wordless: int
    """The same among the passages that share next to no word with the query."""
    num_random: int
    """Candidates per list drawn at random."""
    mining_depth: int
    keyword_share: float
    """Share of queries reduced to their content words."""
    max_query_length: int
    max_length: int
    teacher_precision: str = "fp32"
    """Of the models that rate candidates, on a CPU: "fp32" or "int8"."""
    reader_cosine_weight: float = 0.0
    """How much of the log odds that the teacher's cosine gives is added to the logits of a source's
    reader where nothing is judged."""
    # loss
    loss: Loss = "listwise"
    hard_weight: float
    cosine_temperature: float
    bm25_temperature: float
    pointwise_weight: float
    cosine_midpoint: float
    cosine_scale: float
    embedding_weight: float
    """Of the distance between each segment's mean before the last layer and the embedding that the
    teacher gives its text; 0 leaves the model to the lists alone."""
    # optimizer
    frozen_layers: int = 0
    """First layers that stay as they are, and the embeddings with them."""
    num_steps: int
    lists_per_step: int
    learning_rate: float
    head_learning_rate: float
    weight_decay: float
    warmup_steps: int
    decay_steps: int
    max_grad_norm: float
    dev_candidates: int
    dev_every: int
    checkpoint_every: int

    @property
    def num_candidates(self) -> int:
        """Candidates per list, the relevant one included."""
        return 1 + sum(self._other_candidates)

    @property
    def has_readers(self) -> bool:
        """Whether a source names one; then all do."""
        return any(source.reader is not None for source in self.sources)

    def preparing(self) -> dict[str, Any]:
        """The fields that decide what a work folder holds, in their JSON form."""
        fitted = _FITTED_FIELDS if self.start is not None else ()
        return self._without((*_TRAINING_FIELDS, *fitted))

    def distilling(self) -> dict[str, Any]:
        """The fields that decide what a student's encoder learns, in their JSON form."""
        fields = self._without(())
        return {name: fields[name] for name in _DISTILLATION_FIELDS}

    def of_run(self) -> dict[str, Any]:
        """The fields that stay the same in all sessions of one run, in their JSON form."""
        return self._without(_SESSION_FIELDS)

    def _without(self, names: tuple[str, ...]) -> dict[str, Any]:
        fields: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return {name: value for name, value in fields.items() if name not in names}

    @property
    def _other_candidates(self) -> tuple[int, ...]:
        return (
            self.num_siblings,
            self.num_bm25,
            self.num_dense,
            self.num_wordless,
            self.num_random,
        )


def load_recipe(name_or_path: str, **changes: Any) -> Recipe:
    """Read a recipe by name ("zen-mini") or by path to a JSON file.

    A file that says `"extends": NAME` has only the fields that differ from that recipe's.

    Args:
        changes: fields that replace the file's.

    Raises:
        RecipeError: no such recipe, or a field is missing, unknown or of the wrong kind.
    """
    return recipe_from_dict({**_read_fields(name_or_path), **changes})


def _read_fields(name_or_path: str) -> dict[str, Any]:
    path = Path(name_or_path)
    if not path.is_file():
        path = RECIPES_FOLDER / f"{name_or_path}.json"
    if not path.is_file():
        shipped = sorted(file.stem for file in RECIPES_FOLDER.glob("*.json"))
        raise RecipeError(
            f"no recipe {name_or_path!r}: give a path to a JSON file or one of {shipped}"
        )
    try:
        fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise RecipeError(f"{path} is not JSON: {error}") from error
    extended = fields.pop("extends", None)
    if extended is None:
        return fields
    if extended in (path.stem, str(path)):
        raise RecipeError(f"{path} extends itself")
    return {**_read_fields(extended), **fields}


def recipe_from_dict(fields: dict[str, Any]) -> Recipe:
    """Build a recipe from its JSON form and check it.

    Raises:
        RecipeError: a field is missing, unknown or out of range.
    """
    try:
        sources = tuple(
            Source(**{**source, "passage_words": tuple(source.get("passage_words", ()))})
            for source in fields.get("sources", [])
        )
        lists = {
            "layers": tuple(fields.get("layers", ())),
            "passage_words": tuple(fields["passage_words"]),
        }
        recipe = Recipe(**{**fields, **lists, "sources": sources})
    except (KeyError, TypeError) as error:
        known = [field.name for field in dataclasses.fields(Recipe)]
        raise RecipeError(f"recipe fields do not fit ({error}); the fields are {known}") from error
    _check(recipe)
    return recipe


def _check(recipe: Recipe) -> None:
    requirements = {
        "sources must name at least one collection": bool(recipe.sources),
        "one source at least must hold out num_dev_queries > 0, to watch the model": any(
            source.num_dev_queries > 0 for source in recipe.sources
        ),
        "either start or layers must be given, not both": (
            (recipe.start is not None) != bool(recipe.layers)
        ),
        "start_share must lie in [0, 1], and be 0 where no start is given": (
            0.0 <= recipe.start_share <= (0.0 if recipe.start is None else 1.0)
        ),
        f"loss must be one of {get_args(Loss)}": recipe.loss in get_args(Loss),
        f"attention_pattern must be one of {get_args(AttentionPattern)}, and the first of them "
        "where a start is given, which has its own": (
            recipe.attention_pattern in get_args(AttentionPattern)
            and (recipe.start is None or recipe.attention_pattern == "full")
        ),
        "num_siblings, num_bm25, num_dense, num_wordless and num_random must not be negative, "
        "nor all 0": (min(recipe._other_candidates) >= 0 and recipe.num_candidates > 1),
        "passage_words must be positive": (
            min(recipe.passage_words, default=0) > 0
            and all(words > 0 for source in recipe.sources for words in source.passage_words)
        ),
        "max_length must exceed max_query_length + 3": (
            recipe.max_length > recipe.max_query_length + 3
        ),
        "warmup_steps + decay_steps must not exceed num_steps": (
            recipe.warmup_steps + recipe.decay_steps <= recipe.num_steps
        ),
        "frozen_layers must not be negative": recipe.frozen_layers >= 0,
        "hard_weight must lie in [0, 1]": 0.0 <= recipe.hard_weight <= 1.0,
        "readers take a start": recipe.start is not None or not recipe.has_readers,
        "either all sources or none must have a reader": (
            not recipe.has_readers or all(source.reader is not None for source in recipe.sources)
        ),
        "a source that is not judged can hold out no num_dev_queries": all(
            source.judged or source.num_dev_queries == 0 for source in recipe.sources
        ),
        "pointwise loss takes judged sources, and no reader": (
            recipe.loss == "listwise"
            or (not recipe.has_readers and all(source.judged for source in recipe.sources))
        ),
    }
    broken = [text for text, holds in requirements.items() if not holds]
    if broken:
        raise RecipeError(f"recipe {recipe.name!r}: " + "; ".join(broken))
