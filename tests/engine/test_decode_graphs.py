"""Decoding by graphs, as far as it can be seen without a GPU: the resident rows are those of the step, whatever changes
between two steps, and a replayed step gives the bits of one that was built anew."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aphrodite_engine.kv_cache import BLOCK_SIZE
from aphrodite_engine.llm import LLM
from aphrodite_engine.params import SamplingParams
from aphrodite_engine.request import Request, Sequence
from aphrodite_engine.running.batch import BatchEntry, build_batch
from aphrodite_engine.running.decode_graphs import sizes
from aphrodite_engine.running.decode_state import DecodeState
from aphrodite_engine.scheduler import Chunk
from tests.engine.inside import CPU, engine_of, replay_steps

ROWS, LONGEST = 5, 100


def test_the_sizes_leave_few_rows_to_nobody() -> None:
    assert sizes(1) == [1]
    assert sizes(5) == [1, 2, 4, 5]
    assert sizes(8) == [1, 2, 4, 8]
    assert sizes(30) == [1, 2, 4, 8, 16, 24, 30]
    assert (len(sizes(256)), sizes(256)[-2:]) == (35, [248, 256])


# ---- the resident rows


@dataclass
class Rows:
    """Sequences that decode, the state that holds them, and the tokens that the last step drew."""

    state: DecodeState = field(default_factory=lambda: DecodeState(ROWS, LONGEST, BLOCK_SIZE, CPU))
    sequences: list[Sequence] = field(default_factory=list)
    drawn: dict[Sequence, int] = field(default_factory=dict)
    made: int = 0

    def come(self, length: int) -> None:
        self.made += 1
        request = Request(
            request_id=str(self.made), prompt_token_ids=tuple(range(length)), params=SamplingParams(), seed=0, arrival=0
        )
        sequence = Sequence(request, 0, b"")
        sequence.block_table = self._blocks(sequence, 0)
        self.sequences.append(sequence)

    def step(self, ahead: bool) -> None:
        """Place all, look at every tensor, and draw; `ahead` leaves the tokens of the last step on the device."""
        rows = {sequence: row for row, sequence in enumerate(self.drawn)}
        front = torch.tensor(list(self.drawn.values()), dtype=torch.int64) if self.drawn else None
        if not ahead:
            self.read()
        chunks = [self._chunk(sequence, rows.get(sequence) if ahead else None) for sequence in self.sequences]
        self.state.place(chunks, front if ahead else None)
        self._check()
        self.read()
        self.drawn = {s: 1000 * self.made + len(s.token_ids) for s in self.sequences if len(s.token_ids) < LONGEST - 1}
        self.sequences = list(self.drawn)

    def read(self) -> None:
        for sequence, token_id in self.drawn.items():
            sequence.append(token_id)
        self.drawn = {}

    def _chunk(self, sequence: Sequence, unread: int | None) -> Chunk:
        start = len(sequence.token_ids) - (unread is None)
        sequence.block_table += self._blocks(sequence, len(sequence.block_table), start + 1)
        return Chunk(sequence, start, 1, start, True, unread)

    def _blocks(self, sequence: Sequence, first: int, tokens: int | None = None) -> list[int]:
        count = -(-(tokens or len(sequence.token_ids)) // BLOCK_SIZE)
        return [100 * self.made + index for index in range(first, count)]

    def _check(self) -> None:
        """The tensors are those that the step would be built of, and the rows beyond are nobody's."""
        known = {s: [*s.token_ids, *([self.drawn[s]] if s in self.drawn else [])] for s in self.sequences}
        entries = [BatchEntry(ids[-1:], len(ids) - 1, sequence.block_table, 0, (0,)) for sequence, ids in known.items()]
        built, found = build_batch(entries, BLOCK_SIZE, CPU), self.state.batch(ROWS)
        count = len(entries)
        for name in ("token_ids", "positions", "slots", "context_len", "logit_rows"):
            assert torch.equal(getattr(found, name)[:count], getattr(built, name)), name
        assert torch.equal(found.query_start[: count + 1], built.query_start)
        for row, entry in enumerate(entries):
            assert found.block_tables[row, : len(entry.block_table)].tolist() == list(entry.block_table)
        assert found.slots[count:].tolist() == [-1] * (ROWS - count)
        assert found.positions[count:].tolist() == [0] * (ROWS - count)


@st.composite
def changes(draw: st.DrawFn) -> list[tuple[str, int]]:
    kinds = st.sampled_from(["step", "step", "ahead", "ahead", "ahead", "come", "go", "swap", "move"])
    return draw(st.lists(st.tuples(kinds, st.integers(1, LONGEST - 2)), min_size=5, max_size=40))


@given(changes())
@settings(max_examples=60)
def test_the_resident_rows_are_those_of_the_step(script: list[tuple[str, int]]) -> None:
    rows = Rows()
    rows.come(3)
    for what, number in script:
        place = number % len(rows.sequences) if rows.sequences else 0
        if what == "come" and len(rows.sequences) < ROWS:
            rows.come(number)
        elif what == "go" and len(rows.sequences) > 1:
            rows.sequences.pop(place)
        elif what == "swap" and rows.sequences:
            rows.sequences.append(rows.sequences.pop(place))
        elif what == "move" and rows.sequences:  # pushed out and back: other blocks
            rows.sequences[place].block_table = [7 + block for block in rows.sequences[place].block_table]
        elif rows.sequences:
            rows.step(ahead=what == "ahead")


def test_a_step_with_the_same_rows_uploads_new_blocks_only(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, uploads = Rows(), []
    rows.come(10)
    rows.come(20)
    rows.step(ahead=False)
    tensor = torch.tensor
    monkeypatch.setattr(torch, "tensor", lambda values, **more: uploads.append(values) or tensor(values, **more))
    for _ in range(20):
        front = tensor(list(rows.drawn.values()))
        chunks = [rows._chunk(sequence, row) for row, sequence in enumerate(rows.sequences)]
        rows.state.place(chunks, front)
        rows.read()
        rows.drawn = dict.fromkeys(rows.sequences, 1)
    assert len(uploads) == 4, "places and blocks, where one sequence reached position 16 and one 32"


# ---- whole engines


@pytest.mark.parametrize("settings", [{}, {"quantization": "int8"}, {"max_num_batched_tokens": 12}], ids=str)
def test_replayed_steps_give_the_bits_of_steps_built_anew(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    """Batches that cross sizes as sequences end; requests that report, obey and remember among those that do not."""
    prompts = [[row] * (5 * row + 1) for row in range(11)]
    kinds: list[dict[str, Any]] = [{}, {"logprobs": 3}, {"repetition_penalty": 1.2}, {"top_p": 0.9}, {"temperature": 0}]
    params = [SamplingParams(seed=row, max_tokens=3 + 2 * row, ignore_eos=True, **kinds[row % 5]) for row in range(11)]
    with LLM(tiny_folder, max_num_seqs=11, enable_prefix_caching=False, **settings) as llm:
        expected = [result.outputs for result in llm.generate(prompts, params)]
        graphs = replay_steps(monkeypatch, llm)
        assert [result.outputs for result in llm.generate(prompts, params)] == expected
        assert {1, 2, 4} < set(graphs.captured) <= {1, 2, 4, 8, 11}, "each when it was needed"
        assert graphs.captured[0] == 11, "the largest comes first"


def test_a_step_of_more_rows_than_the_largest_graph_runs_as_it_is(tiny: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    params = [SamplingParams(max_tokens=4 + 3 * row, seed=row, ignore_eos=True) for row in range(6)]
    expected = [result.outputs for result in tiny.generate(["ab"] * 6, params)]
    graphs = replay_steps(monkeypatch, tiny, num_rows=3)
    assert [result.outputs for result in tiny.generate(["ab"] * 6, params)] == expected
    assert graphs.captured == (3, 2, 1)


def test_steps_that_reach_into_layers_or_see_prompts_are_not_replayed(
    tiny: LLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    greedy = SamplingParams(max_tokens=6, temperature=0.0, ignore_eos=True, seed=1)
    plain = tiny.generate("ab", greedy)[0].outputs
    vector = 3 * torch.randn(64, generator=torch.Generator().manual_seed(1)).numpy()
    with tiny.steer(0, vector):
        steered = tiny.generate("ab", greedy)[0].outputs
    graphs = replay_steps(monkeypatch, tiny)
    with tiny.steer(0, vector):
        assert tiny.generate("ab", greedy)[0].outputs == steered != plain
    tiny.generate("ab", greedy.with_fields(prompt_logprobs=1))
    tiny.embed("a")
    assert graphs.captured == ()
    assert tiny.generate("ab", greedy)[0].outputs == plain
    assert 1 in graphs.captured


def test_the_cached_last_token_of_a_prompt_is_not_stored_again(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is one token that draws, but others may be reading its block: it is computed by a step built anew."""
    short = SamplingParams(max_tokens=1, seed=2)
    with LLM(tiny_folder) as llm:
        expected = llm.generate([[5] * 16], short)[0].outputs
        graphs = replay_steps(monkeypatch, llm)
        again = llm.generate([[5] * 16], short)[0]
        assert (again.outputs, again.num_cached_tokens) == (expected, 15)
        assert graphs.captured == ()
        assert engine_of(llm).runner.graphs is graphs


@pytest.mark.slow
def test_the_kernels_of_a_gpu_take_rows_that_are_nobodys(tiny_folder: Path) -> None:
    """In Triton's interpreter. Of the four rows of the largest step one is nobody's, later two of them."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.engine.interpreted_decode", str(tiny_folder)], capture_output=True, text=True,
        check=False, env=os.environ | {"TRITON_INTERPRET": "1", "APHRODITE_KERNELS": "triton"},
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (eager, no_sizes), *replayed = map(json.loads, done.stdout.splitlines())
    assert no_sizes == []
    assert replayed == [[eager, [4, 2, 1]]] * 2
