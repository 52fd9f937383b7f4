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

from zen_fast.eval.metrics import ndcg_at_10
from zen_fast.train.examples import CandidateList, read_lists, texts_of
from zen_fast.train.loss import embedding_loss, list_loss
from zen_fast.train.pairs import Pair, PairEncoder
from zen_fast.train.recipe import Recipe
from zen_fast.train.student.reading import PairOutput, read_pairs
from zen_fast.train.vocabulary import load_tokenizer

logger = logging.getLogger(__name__)


class Trainer:
    """Trains the student of a prepared work folder."""

    def __init__(self, recipe: Recipe, work: Path, device: str = "cpu") -> None:
        self.recipe = recipe
        self.step = 0
        self.log: list[dict[str, Any]] = []
        self._checkpoint = work / "checkpoint.pt"
        self._log_path = work / "log.json"
        self._train = read_lists(work / "train.jsonl")
        self._dev = read_lists(work / "dev.jsonl")
        self._embeddings = np.load(work / "embeddings.npy", mmap_mode="r")
        self._embedding_rows = {text: row for row, text in enumerate(texts_of(self._train))}
        reserved = (work / "start" / "reserved.json").read_text(encoding="utf-8")
        self._reserved: list[int] = json.loads(reserved)
        self.tokenizer = load_tokenizer(work / "start" / "tokenizer.json")
        self._encoder = PairEncoder(
            self.tokenizer,
            recipe.max_query_length,
            recipe.max_length,
        )
        torch.manual_seed(recipe.seed)
        start: Any = BertForSequenceClassification.from_pretrained(str(work / "start"))
        self.student = start.to(device).train()
        # Words that training never shows keep their place beside those it does.
        self.student.bert.embeddings.word_embeddings.requires_grad_(False)
        self._optimizer = self._make_optimizer()
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
            recent: list[float] = []
            while self.step < last:
                started = time.perf_counter()
                recent = [*recent, self._train_step()][-20:]
                loss = sum(recent) / len(recent)
                self._record("loss", recent[-1], seconds=time.perf_counter() - started)
                progress.update(bar, completed=self.step, description=f"loss {loss:.3f}")
                if self.step % self.recipe.dev_every == 0 or self.step == self.recipe.num_steps:
                    quality = self.dev_ndcg()
                    self._record("dev_ndcg_at_10", quality)
                    message = f"step {self.step}: loss {loss:.4f}, dev nDCG@10 {quality:.2f}"
                    progress.console.print(message)
                if self.step % self.recipe.checkpoint_every == 0 or self.step == last:
                    self._save_checkpoint()

    def dev_ndcg(self) -> float:
        """nDCG@10 x 100 of the held-out lists."""
        judgements = {
            str(number): {str(place): grade for place, grade in enumerate(item.grades)}
            for number, item in enumerate(self._dev)
        }
        run = {
            str(number): {str(place): score for place, score in enumerate(logits.tolist())}
            for number, logits in enumerate(self._dev_logits())
        }
        return 100.0 * ndcg_at_10(judgements, run)

    def _dev_logits(self) -> list[Tensor]:
        """Logits of each held-out list, (num_candidates,) each."""
        self.student.eval()
        with torch.inference_mode():
            logits = [
                self._read(self._encoder.encode(item.query, item.documents)).logits.cpu()
                for item in self._dev
            ]
        self.student.train()
        return logits

    def _lists_of_step(self, step: int) -> list[CandidateList]:
        """The step's lists; a function of the seed and the step alone, so a resumed run agrees."""
        size = self.recipe.lists_per_step
        chosen = []
        for place in range(step * size, (step + 1) * size):
            epoch, index = divmod(place, len(self._train))
            order = np.random.default_rng([self.recipe.seed, epoch]).permutation(len(self._train))
            chosen.append(self._train[order[index]])
        return chosen

    def _train_step(self) -> float:
        recipe = self.recipe
        lists = self._lists_of_step(self.step)
        pairs = [
            pair for item in lists for pair in self._encoder.encode(item.query, item.documents)
        ]
        output = self._read(pairs)
        logits = output.logits.view(len(lists), recipe.num_candidates).cpu()
        ranking = list_loss(logits, lists, recipe)
        loss = ranking + recipe.embedding_weight * self._embedding_loss(lists, output)
        for group in self._optimizer.param_groups:
            group["lr"] = group["peak_lr"] * self._schedule(self.step)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), recipe.max_grad_norm)
        self._optimizer.step()
        self.step += 1
        return float(ranking.item())

    def _read(self, pairs: list[Pair]) -> PairOutput:
        return read_pairs(self.student, pairs, self.recipe.pairs_per_forward)

    def _embedding_loss(self, lists: list[CandidateList], output: PairOutput) -> Tensor:
        """How far the middle of the student is from the teacher's embeddings of both segments."""
        queries = [item.query for item in lists for _ in item.documents]
        documents = [text for item in lists for text in item.documents]
        return embedding_loss(
            torch.cat([output.query_means, output.document_means]).cpu(),
            torch.from_numpy(self._teacher_embeddings([*queries, *documents])),
            self._reserved,
        )

    def _teacher_embeddings(self, texts: list[str]) -> npt.NDArray[np.float32]:
        rows = [self._embedding_rows[text] for text in texts]
        embeddings: npt.NDArray[np.float32] = self._embeddings[rows].astype(np.float32)
        return embeddings

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
        return torch.optim.AdamW(groups, lr=recipe.learning_rate)

    def _record(self, name: str, value: float, **more: float) -> None:
        extra = {key: round(number, 3) for key, number in more.items()}
        self.log.append({"step": self.step, name: round(value, 4), **extra})

    def _save_checkpoint(self) -> None:
        state = {
            "step": self.step,
            "student": self.student.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "log": json.dumps(self.log),
        }
        partial = self._checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self._checkpoint)
        report = {"recipe": asdict(self.recipe), "log": self.log}
        self._log_path.write_text(json.dumps(report), encoding="utf-8")

    def _load_checkpoint(self) -> None:
        state = torch.load(self._checkpoint, map_location="cpu", weights_only=True)
        self.student.load_state_dict(state["student"])
        self._optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        self.step = int(state["step"])
        self.log = json.loads(state["log"])
        logger.info("resumed at step %d", self.step)
