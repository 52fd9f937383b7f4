"""A recipe: everything that decides what a training run makes, in one JSON file."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zen_fast.train.errors import RecipeError

RECIPES_FOLDER = Path(__file__).parent / "recipes"


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


@dataclass(frozen=True)
class Recipe:
    """Settings of one training run; `load_recipe` reads them, the JSON names them."""

    name: str
    seed: int
    sources: tuple[Source, ...]
    # student
    layers: tuple[int, ...]
    """Layers of the base model that are kept, in order."""
    vocabulary_size: int
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
    # the student's start
    distillation_steps: int
    distillation_texts: int
    """Queries and documents per step, half of each."""
    distillation_learning_rate: float
    # loss
    hard_weight: float
    cosine_temperature: float
    bm25_temperature: float
    pointwise_weight: float
    cosine_midpoint: float
    cosine_scale: float
    embedding_weight: float
    """Of the distance between the middle of the student and the teacher's embeddings."""
    # optimizer
    num_steps: int
    lists_per_step: int
    pairs_per_forward: int
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
    def _other_candidates(self) -> tuple[int, ...]:
        return (
            self.num_siblings,
            self.num_bm25,
            self.num_dense,
            self.num_wordless,
            self.num_random,
        )


def load_recipe(name_or_path: str) -> Recipe:
    """Read a recipe by name ("zen-mini") or by path to a JSON file.

    Raises:
        RecipeError: no such recipe, or a field is missing, unknown or of the wrong kind.
    """
    path = Path(name_or_path)
    if not path.is_file():
        path = RECIPES_FOLDER / f"{name_or_path}.json"
    if not path.is_file():
        shipped = sorted(file.stem for file in RECIPES_FOLDER.glob("*.json"))
        raise RecipeError(
            f"no recipe {name_or_path!r}: give a path to a JSON file or one of {shipped}"
        )
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise RecipeError(f"{path} is not JSON: {error}") from error
    return recipe_from_dict(fields)


def recipe_from_dict(fields: dict[str, Any]) -> Recipe:
    """Build a recipe from its JSON form and check it.

    Raises:
        RecipeError: a field is missing, unknown or out of range.
    """
    try:
        sources = tuple(Source(**source) for source in fields.get("sources", []))
        lists = {"layers": tuple(fields["layers"]), "passage_words": tuple(fields["passage_words"])}
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
        "layers must not be empty": bool(recipe.layers),
        "num_siblings, num_bm25, num_dense, num_wordless and num_random must not be negative, "
        "nor all 0": (min(recipe._other_candidates) >= 0 and recipe.num_candidates > 1),
        "passage_words must be positive": min(recipe.passage_words, default=0) > 0,
        "max_length must exceed max_query_length + 3": (
            recipe.max_length > recipe.max_query_length + 3
        ),
        "warmup_steps + decay_steps must not exceed num_steps": (
            recipe.warmup_steps + recipe.decay_steps <= recipe.num_steps
        ),
        "hard_weight must lie in [0, 1]": 0.0 <= recipe.hard_weight <= 1.0,
    }
    broken = [text for text, holds in requirements.items() if not holds]
    if broken:
        raise RecipeError(f"recipe {recipe.name!r}: " + "; ".join(broken))
