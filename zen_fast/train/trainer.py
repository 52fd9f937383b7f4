"""The training loop: seeded, logged, and resumable at every checkpoint."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from transformers import BertForSequenceClassification

from zen_fast.train.candidate_lists import RatedLists
from zen_fast.train.errors import RecipeError, ResumeError
from zen_fast.train.list_table import NO_TEXT
from zen_fast.train.loss import Ratings, embedding_loss, list_loss
from zen_fast.train.quality import ndcg_at_10
from zen_fast.train.recipe import Recipe
from zen_fast.train.resuming import changed_fields, save_state
from zen_fast.train.student.distillation import Embeddings
from zen_fast.train.student.reading import read_logits, read_pairs
from zen_fast.train.token_table import Indices, TokenTable
from zen_fast.train.vocabulary import load_tokenizer

logger = logging.getLogger(__name__)

_REPORT_EVERY = 20
_DEV_LISTS_AT_ONCE = 32


class Trainer:
    """Trains the model of a prepared work folder.

    Runs of several recipes that prepare the same may share the folder: checkpoint and log bear the
    recipe's name.

    Raises:
        TrainingDataError: the folder's lists cannot be read.
        ResumeError: the checkpoint is of a run with other settings.
        RecipeError: more layers shall be frozen than the model has.
    """

    def __init__(self, recipe: Recipe, work: Path, device: str = "cpu") -> None:
        self.recipe = recipe
        self.step = 0
        self.log: list[dict[str, Any]] = []
        self._device = device
        self._checkpoint = work / f"{recipe.name}.checkpoint.pt"
        self._log_path = work / f"{recipe.name}.log.json"
        self.tokenizer = load_tokenizer(work / "start" / "tokenizer.json")
        self._train = RatedLists.read(work / "train.npz")
        reader = np.load(work / "reader.npy") if recipe.has_readers else None
        self._ratings = Ratings.of(self._train, device, reader)
        self._tokens = self._tokenized(self._train)
        self._epoch, self._epoch_order = -1, np.empty(0, np.int64)
        self._dev = RatedLists.read(work / "dev.npz")
        self._dev_tokens = self._tokenized(self._dev)
        self._embeddings: Embeddings | None = None
        self._reserved: list[int] = []
        if recipe.embedding_weight:
            self._embeddings = np.load(work / "embeddings.npy", mmap_mode="r")
            reserved = (work / "start" / "reserved.json").read_text(encoding="utf-8")
            self._reserved = json.loads(reserved)
        self._make_student(work / "start")
        if self._checkpoint.is_file():
            self._load_checkpoint()

    def run(self, stop_after: int | None = None) -> None:
        """Train to the recipe's last step, or for `stop_after` steps more, checkpointing."""
        last = self.recipe.num_steps
        if stop_after is not None:
            last = min(last, self.step + stop_after)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, TimeRemainingColumn()) as progress:
            bar = progress.add_task("training", total=self.recipe.num_steps, completed=self.step)
            # Kept where they are made: to read one is to wait for the GPU.
            losses: list[Tensor] = []
            started = time.perf_counter()
            while self.step < last:
                losses.append(self._train_step())
                dev = self._is_due(self.recipe.dev_every)
                checkpoint = self._is_due(self.recipe.checkpoint_every) or self.step == last
                if not (dev or checkpoint or self.step % _REPORT_EVERY == 0):
                    continue
                loss = self._record_losses(losses, started)
                progress.update(bar, completed=self.step, description=f"loss {loss:.3f}")
                if dev:
                    quality = self.dev_ndcg()
                    self._record("dev_ndcg_at_10", quality)
                    message = f"step {self.step}: loss {loss:.4f}, dev nDCG@10 {quality:.2f}"
                    progress.console.print(message)
                if checkpoint:
                    self._save_checkpoint()
                losses, started = [], time.perf_counter()

    def dev_ndcg(self) -> float:
        """nDCG@10 x 100 of the held-out lists."""
        return 100.0 * ndcg_at_10(self._dev_scores(), self._dev.grades)

    def _dev_scores(self) -> npt.NDArray[np.float32]:
        """(num_lists, num_candidates) logits of the held-out lists, -inf where there is none."""
        table = self._dev.table
        scores = np.full(table.documents.shape, -np.inf, np.float32)
        self.student.eval()
        with torch.inference_mode():
            for start in range(0, len(table), _DEV_LISTS_AT_ONCE):
                rows = slice(start, start + _DEV_LISTS_AT_ONCE)
                logits = read_logits(self.student, self._dev_tokens, *table.pairs(rows))
                scores[rows][table.documents[rows] != NO_TEXT] = logits.cpu().numpy()
        self.student.train()
        return scores

    def _is_due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.recipe.num_steps

    def _tokenized(self, lists: RatedLists) -> TokenTable:
        recipe = self.recipe
        return TokenTable(
            self.tokenizer,
            lists.table.texts,
            recipe.max_query_length,
            recipe.max_length,
            self._device,
        )

    def _make_student(self, folder: Path) -> None:
        torch.manual_seed(self.recipe.seed)
        start: Any = BertForSequenceClassification.from_pretrained(
            str(folder), dtype=torch.float32, attn_implementation="sdpa"
        )
        self.student = start.to(self._device).train()
        # Words that training never shows keep their place beside those it does. So do positions:
        # the last are in few batches, Adam's steps are as long for these, and the head that finds
        # a query's words in the document reads a word and its position as one sum.
        self.student.bert.embeddings.word_embeddings.requires_grad_(False)
        self.student.bert.embeddings.position_embeddings.requires_grad_(False)
        self._freeze_layers()
        self._parameters = [part for part in self.student.parameters() if part.requires_grad]
        self._optimizer = self._make_optimizer()

    def _freeze_layers(self) -> None:
        frozen, layers = self.recipe.frozen_layers, self.student.bert.encoder.layer
        if frozen > len(layers):
            raise RecipeError(
                f"recipe {self.recipe.name!r}: frozen_layers is {frozen}, but the model has "
                f"{len(layers)} layers; name as many at most"
            )
        if frozen:
            for part in (self.student.bert.embeddings, *layers[:frozen]):
                part.requires_grad_(False)

    def _lists_of_step(self, step: int) -> Indices:
        """The step's lists; a function of the seed and the step alone, so a resumed run agrees."""
        size = self.recipe.lists_per_step
        places = np.arange(step * size, (step + 1) * size)
        epochs, indices = np.divmod(places, len(self._train))
        chosen = [self._order(int(e))[i] for e, i in zip(epochs, indices, strict=True)]
        return np.array(chosen, np.int64)

    def _order(self, epoch: int) -> Indices:
        """The lists in the order of an epoch; the last one asked for is kept."""
        if epoch != self._epoch:
            rng = np.random.default_rng([self.recipe.seed, epoch])
            self._epoch, self._epoch_order = epoch, rng.permutation(len(self._train))
        return self._epoch_order

    def _train_step(self) -> Tensor:
        """Returns the loss of the ranking, on the device."""
        recipe = self.recipe
        lists = self._lists_of_step(self.step)
        ranking, rest = self._losses(lists, *self._train.table.pairs(lists))
        for group in self._optimizer.param_groups:
            group["lr"] = group["peak_lr"] * self._schedule(self.step)
        self._optimizer.zero_grad()
        (ranking + rest).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._parameters, recipe.max_grad_norm)
        self._optimizer.step()
        self.step += 1
        return ranking.detach()

    def _losses(
        self, lists: Indices, queries: Indices, documents: Indices
    ) -> tuple[Tensor, Tensor]:
        """Of the ranking, and of the middle of the student where that is held to the teacher's."""
        ratings = self._ratings[torch.from_numpy(lists).to(self._device, non_blocking=True)]
        shape = ratings.grades.shape
        if self._embeddings is None:
            logits = read_logits(self.student, self._tokens, queries, documents)
            return list_loss(logits.view(shape), ratings, self.recipe), logits.new_zeros(())
        output = read_pairs(self.student, self._tokens, queries, documents)
        wanted = self._embeddings[np.concatenate([queries, documents])].astype(np.float32)
        distance = embedding_loss(
            torch.cat([output.query_means, output.document_means]),
            torch.from_numpy(wanted).to(self._device),
            self._reserved,
        )
        ranking = list_loss(output.logits.view(shape), ratings, self.recipe)
        return ranking, self.recipe.embedding_weight * distance

    def _schedule(self, step: int) -> float:
        """Warm-up, constant, linear decay to zero: before the decay, any length is the same run."""
        recipe = self.recipe
        warm = min(1.0, (step + 1) / max(1, recipe.warmup_steps))
        return min(warm, (recipe.num_steps - step) / max(1, recipe.decay_steps))

    def _make_optimizer(self) -> torch.optim.AdamW:
        recipe = self.recipe
        body, plain, head = [], [], []
        for name, parameter in self.student.named_parameters():
            if not parameter.requires_grad:
                continue
            if name.startswith(("classifier", "bert.pooler")):
                head.append(parameter)
            elif parameter.ndim == 1 or "embeddings" in name:
                plain.append(parameter)
            else:
                body.append(parameter)
        groups = [
            {"params": body, "peak_lr": recipe.learning_rate, "weight_decay": recipe.weight_decay},
            {"params": plain, "peak_lr": recipe.learning_rate, "weight_decay": 0.0},
            {"params": head, "peak_lr": recipe.head_learning_rate, "weight_decay": 0.0},
        ]
        fused = self._device == "cuda"
        return torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=fused)

    def _record_losses(self, losses: list[Tensor], started: float) -> float:
        """Log the steps since the last report; returns their mean loss."""
        values = torch.stack(losses).tolist()
        seconds = (time.perf_counter() - started) / len(values)
        for step, value in enumerate(values, start=self.step - len(values) + 1):
            row = {"step": step, "loss": round(value, 4), "seconds": round(seconds, 4)}
            self.log.append(row)
        return float(np.mean(values))

    def _record(self, name: str, value: float) -> None:
        self.log.append({"step": self.step, name: round(value, 4)})

    def _save_checkpoint(self) -> None:
        state = {
            "recipe": json.dumps(self.recipe.of_run()),
            "step": self.step,
            "student": self.student.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "log": json.dumps(self.log),
        }
        save_state(self._checkpoint, state)
        report = {"recipe": asdict(self.recipe), "log": self.log}
        self._log_path.write_text(json.dumps(report), encoding="utf-8")

    def _load_checkpoint(self) -> None:
        state = torch.load(self._checkpoint, map_location="cpu", weights_only=True)
        changed = changed_fields(json.loads(state["recipe"]), self.recipe.of_run())
        if changed:
            raise ResumeError(
                f"{self._checkpoint} is of a run with other values of {changed}; remove it to "
                "start anew, or give the recipe another name"
            )
        self.student.load_state_dict(state["student"])
        self._optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        self.step = int(state["step"])
        self.log = json.loads(state["log"])
        logger.info("resumed at step %d", self.step)
