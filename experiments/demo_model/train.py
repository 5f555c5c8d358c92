"""The training loop: resumable, seeded, and it sleeps while a file named PAUSE lies in the work folder."""

import json
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from corpus import Diet, batch
from mixture import (
    FIFTH_HELPING,
    FOURTH_HELPING,
    INDUCTION,
    PROMISED,
    SECOND_HELPING,
    SEVENTH_HELPING,
    SIXTH_HELPING,
    THIRD_HELPING,
)
from model import Llama, Shape
from muon import Muon
from tokenizers import Tokenizer

SEED = 20
_SAVE_EVERY_S = 150


@dataclass(frozen=True)
class Phase:
    """So many steps of so many sequences."""

    steps: int
    sequences: int
    diet: Diet


# Short sequences first, where a step is cheap; long ones at the end, while the rate falls.
PHASES = (
    Phase(1104, 16, Diet(256)),
    Phase(300, 16, Diet(256, 0.5, INDUCTION)),
    Phase(229, 16, Diet(256, 0.08, INDUCTION)),
    Phase(500, 16, Diet(256, 0.3, PROMISED)),
    Phase(214, 8, Diet(512, 0.3, PROMISED)),
    Phase(553, 16, Diet(256, 0.2, PROMISED)),
    Phase(920, 8, Diet(512, 0.3, PROMISED)),
    Phase(100, 4, Diet(1024, 0.3, PROMISED)),
    Phase(200, 2, Diet(2048, 0.3, PROMISED)),
    Phase(1500, 8, Diet(512, 0.65, SECOND_HELPING)),
    Phase(60, 4, Diet(1024, 0.5, SECOND_HELPING)),
    Phase(60, 2, Diet(2048, 0.5, SECOND_HELPING)),
    Phase(300, 16, Diet(256, 0.8, THIRD_HELPING)),
    Phase(260, 8, Diet(512, 0.8, THIRD_HELPING)),
    Phase(1500, 16, Diet(256, 0.65, FOURTH_HELPING)),
    Phase(800, 8, Diet(512, 0.65, FOURTH_HELPING)),
    Phase(60, 4, Diet(1024, 0.5, FOURTH_HELPING)),
    Phase(60, 2, Diet(2048, 0.5, FOURTH_HELPING)),
    Phase(300, 16, Diet(256, 0.75, FIFTH_HELPING)),
    Phase(600, 8, Diet(512, 0.75, FIFTH_HELPING)),
    Phase(400, 8, Diet(512, 0.75, SIXTH_HELPING)),
    Phase(260, 8, Diet(512, 0.75, SEVENTH_HELPING)),
)
TOTAL = sum(phase.steps for phase in PHASES)
# The factor on the learning rates at some steps; a line from one to the next.
RATES = (
    *((-1, 0.0), (60, 1.0), (1633, 1.0), (2347, 0.42), (2700, 0.42), (3034, 0.3087), (4120, 0.02)),
    *((4160, 0.45), (4900, 0.45), (5740, 0.02)),
    *((5770, 0.4), (5950, 0.4), (6300, 0.02)),
    *((6340, 0.5), (7400, 0.4), (8720, 0.0)),
    *((8760, 0.45), (9000, 0.45), (9620, 0.0)),
    *((9640, 0.3), (9720, 0.3), (10020, 0.0)),
    *((10030, 0.25), (10100, 0.25), (TOTAL, 0.0)),
)


def phase_at(step: int) -> Phase:
    """The phase that a step belongs to."""
    for phase in PHASES:
        if step < phase.steps:
            return phase
        step -= phase.steps
    raise ValueError("the step lies behind the last phase")


def rate_at(step: int) -> float:
    """The factor on the learning rates."""
    for (start, before), (stop, after) in pairwise(RATES):
        if step <= stop:
            return before + (after - before) * (step - start) / (stop - start)
    return RATES[-1][1]


class Run:
    """A model in training, with its optimisers and its place in the plan."""

    def __init__(self, shape: Shape) -> None:
        torch.manual_seed(SEED)
        self.model = Llama(shape)
        self.step, self.seconds, self.tokens = 0, 0.0, 0
        matrices = [p for name, p in self.model.named_parameters() if p.ndim == 2 and "layers" in name]
        others = [p for name, p in self.model.named_parameters() if p.ndim < 2 or "layers" not in name]
        self.optimisers: list[tuple[torch.optim.Optimizer, float]] = [
            (Muon(matrices, 0.02), 0.02),
            (torch.optim.AdamW(others, lr=2e-3, betas=(0.9, 0.98), weight_decay=0.0), 2e-3),
        ]

    def state(self) -> dict[str, Any]:
        """Everything a checkpoint holds."""
        counts = {"step": self.step, "seconds": self.seconds, "tokens": self.tokens}
        return {"model": self.model.state_dict(), "optimisers": [o.state_dict() for o, _ in self.optimisers], **counts}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.model.load_state_dict(state["model"])
        for (optimiser, _), saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.step, self.seconds, self.tokens = state["step"], state["seconds"], state["tokens"]

    def advance(self, tokenizer: Tokenizer) -> float:
        """One step; its loss."""
        phase = phase_at(self.step)
        data = batch(tokenizer, SEED, self.step, phase.sequences, phase.diet)
        with torch.autocast("cpu", torch.bfloat16):
            loss = self.model.loss(data.tokens, data.targets, data.weights)
        loss.backward()
        for optimiser, rate in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate * rate_at(self.step)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self.step += 1
        self.tokens += data.tokens.numel()
        return loss.item()


def save(run: Run, path: Path) -> None:
    """Write a checkpoint so that a crash in the middle leaves the old one whole."""
    partial = path.with_suffix(".partial")
    torch.save(run.state(), partial)
    partial.rename(path)


#: The shipped weights are a mean of those after this step and the last, the last weighing so much: the last stretch
#: won tools back and lost some sorting, and the mean keeps both (Wortsman et al., arXiv 2203.05482).
MEAN_WITH_STEP, LATER_SHARE = 10_020, 0.46


def mean_weights(run: Run, work: Path) -> Llama:
    """The model at the end, averaged with itself at MEAN_WITH_STEP."""
    earlier = torch.load(work / f"checkpoint_{MEAN_WITH_STEP}.pt", weights_only=True)["model"]
    later = run.model.state_dict()
    mean = Llama(run.model.shape)
    mean.load_state_dict({name: earlier[name].lerp(later[name], LATER_SHARE) for name in later})
    return mean


def wait_while_paused(work: Path) -> None:
    """Sleep as long as the file PAUSE exists."""
    while (work / "PAUSE").exists():
        time.sleep(1)


def train(tokenizer: Tokenizer, shape: Shape, work: Path) -> Run:
    """Train to the end of the plan, from the checkpoint in `work` if there is one."""
    run, path = Run(shape), work / "checkpoint.pt"
    if path.exists():
        run.load(torch.load(path, weights_only=True))
    saved, smooth = time.monotonic(), 0.0
    while run.step < TOTAL:
        wait_while_paused(work)
        started = time.monotonic()
        loss = run.advance(tokenizer)
        run.seconds += time.monotonic() - started
        smooth = loss if smooth == 0.0 else 0.95 * smooth + 0.05 * loss
        if run.step % 20 == 0:
            rate = run.tokens / run.seconds
            print(
                json.dumps(
                    {
                        "step": run.step,
                        "loss": round(smooth, 4),
                        "tokens": run.tokens,
                        "seconds": round(run.seconds),
                        "tokens_per_s": round(rate),
                    }
                ),
                flush=True,
            )
        if run.step == MEAN_WITH_STEP:
            save(run, work / f"checkpoint_{MEAN_WITH_STEP}.pt")
        if time.monotonic() - saved > _SAVE_EVERY_S or run.step == TOTAL:
            save(run, path)
            saved = time.monotonic()
    return run
