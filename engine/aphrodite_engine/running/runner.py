"""Runs one step on the device: chunks in, drawn tokens out."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Chunks

import torch

from aphrodite_engine.inside.hidden_states import ByLayer, Capture
from aphrodite_engine.inside.lens import read_states
from aphrodite_engine.loading.parked import ParkedTensors
from aphrodite_engine.models.base import Decoder, KVTensors
from aphrodite_engine.models.taps import Taps
from aphrodite_engine.running.batch import Batch, BatchEntry, build_batch, take_over
from aphrodite_engine.running.decode_graphs import DecodeGraphs
from aphrodite_engine.running.flight import ChunkResult, Draws, Flight
from aphrodite_engine.sampling.logprobs import TopLogprobs, top_logprobs
from aphrodite_engine.sampling.on_device import can_stay_on_device, draw_on_device
from aphrodite_engine.sampling.pipeline import sample
from aphrodite_engine.sampling.row import SamplerRow
from aphrodite_engine.scheduler import Chunk

Furnish = Callable[[], tuple[KVTensors, DecodeGraphs | None]]

#: Rows of prompt logits held at once: 152k words x 64 rows in float32 are 39 MB.
PROMPT_LOGPROB_ROWS = 64


class Runner:
    """A model, its cache and the sampler.

    Args:
        furnish: allocates the KV cache, and makes the graphs for steps in which all decode; without graphs these, too,
            run kernel by kernel.
        draws_on_device: leave tokens on the device, until they are read, where the sampler can.
    """

    def __init__(
        self, model: Decoder, device: torch.device, furnish: Furnish, *, draws_on_device: bool = False
    ) -> None:
        self.model, self.device, self._furnish = model, device, furnish
        self.kv, self.graphs = furnish()
        self._draws_on_device = draws_on_device
        self._parked: ParkedTensors | None = None

    @property
    def is_furnished(self) -> bool:
        """Whether a step can run."""
        return bool(self.kv.layers)

    def sleep(self) -> None:
        """Free the cache and the graphs. From a GPU the weights go to the host.

        Raises:
            RuntimeError: the host has no memory for them; nothing has changed.
        """
        if self.device.type == "cuda":
            self._parked = ParkedTensors(self.model.tensors())
        self.release()

    def wake(self) -> None:
        """Undo sleep().

        Raises:
            torch.OutOfMemoryError: the device has not enough memory left; it sleeps on.
        """
        if self._parked is not None:
            self._parked.restore()
            self._parked = None
        try:
            self.kv, self.graphs = self._furnish()
        except RuntimeError:
            self.sleep()
            raise

    def release(self) -> None:
        """Let go of the cache and the graphs, once nothing runs on them."""
        if self.device.type == "cuda":
            # Not the whole device: that would spoil a capture of another engine's.
            torch.cuda.current_stream(self.device).synchronize()
        self.kv, self.graphs = KVTensors(self.kv.block_size, ()), None

    def launch(self, chunks: Chunks[Chunk], eos_token_ids: tuple[int, ...], front: Draws | None = None) -> Flight:
        """Compute the chunks together. A chunk's result does not depend on the others (in strict determinism).

        Args:
            front: what the step in front of it drew; chunks with an `unread` token take it from there.
        """
        results = [ChunkResult(chunk) for chunk in chunks]
        if self.graphs is not None and len(chunks) <= self.graphs.num_rows and all(map(_decodes, chunks)):
            logits = self.graphs.logits(chunks, front and front.tokens)
            return Flight(chunks, results, results, self._draw(logits, results, eos_token_ids))
        batch = build_batch([_entry(chunk) for chunk in chunks], self.kv.block_size, self.device)
        if front is not None:
            take_over(front.tokens, batch.token_ids, chunks)
        taps = _taps(chunks, self.device)
        hidden = self.model.forward(batch, self.kv, taps)
        drawing = [result for result in results if _draws(result.chunk)]
        draws = self._draw(self.model.logits(_wanted(hidden, batch)), drawing, eos_token_ids) if drawing else None
        self._report(results, hidden, taps)
        return Flight(chunks, results, drawing, draws)

    def _draw(self, logits: torch.Tensor, drawing: list[ChunkResult], eos_token_ids: tuple[int, ...]) -> Draws | None:
        """A token for each; None where all are known to the host at once."""
        rows = [_sampler_row(result.chunk, eos_token_ids) for result in drawing]
        if self._draws_on_device and can_stay_on_device(rows):
            return Draws(draw_on_device(logits, rows))
        for result, drawn in zip(drawing, sample(logits, rows), strict=True):
            result.drawn = drawn
        return None

    def _report(self, results: list[ChunkResult], hidden: torch.Tensor, taps: Taps | None) -> None:
        """What requests ask for besides tokens."""
        first_row = 0
        for result in results:
            rows = hidden[first_row : first_row + result.chunk.length]
            request = result.chunk.sequence.request
            if request.capture is not None:
                assert taps is not None
                result.captured = self._captured(taps, first_row, rows, request.capture)
            elif request.pooling is not None:
                result.hidden = rows.float()
            elif request.params.prompt_logprobs is not None:
                result.prompt_logprobs = self._prompt_logprobs(rows, result.chunk, request.params.prompt_logprobs)
            first_row += result.chunk.length

    def _captured(self, taps: Taps, first_row: int, hidden: torch.Tensor, capture: Capture) -> ByLayer:
        """Each layer's states with the final ones as one more layer, or what the lens reads from each layer's."""
        states = {layer: taps.states.pop((layer, first_row)) for layer in capture.layers}
        if capture.lens is not None:
            return {layer: read_states(self.model, part, capture.lens) for layer, part in states.items()}
        final = {self.model.config.num_layers: hidden.float()}
        return {layer: (part.cpu().numpy(),) for layer, part in (states | final).items()}

    def _prompt_logprobs(self, hidden: torch.Tensor, chunk: Chunk, count: int) -> list[TopLogprobs]:
        """Row p speaks of prompt token p + 1, so the prompt's last row has nothing to say."""
        sequence = chunk.sequence
        stop = min(chunk.start + chunk.length, sequence.prompt_len - 1)
        found: list[TopLogprobs] = []
        for start in range(chunk.start, stop, PROMPT_LOGPROB_ROWS):
            end = min(start + PROMPT_LOGPROB_ROWS, stop)
            logits = self.model.logits(hidden[start - chunk.start : end - chunk.start])
            found += top_logprobs(logits, sequence.token_ids[start + 1 : end + 1], [count] * (end - start))
        return found


def _wanted(hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
    """The rows whose logits are asked for: all of them where every chunk is one token."""
    return hidden if len(batch.logit_rows) == len(hidden) else hidden.index_select(0, batch.logit_rows)


def _draws(chunk: Chunk) -> bool:
    return chunk.samples and chunk.sequence.request.draws


def _decodes(chunk: Chunk) -> bool:
    """Whether a chunk is one token that is to be stored, of which nothing is wanted but the next one.

    The last token of a prompt that is cached as a whole is stored already.
    """
    request, is_new = chunk.sequence.request, chunk.first_stored <= chunk.start
    drawn = chunk.length == 1 and _draws(chunk) and is_new
    return drawn and not request.is_tapped and request.params.prompt_logprobs is None


def _taps(chunks: Chunks[Chunk], device: torch.device) -> Taps | None:
    """What the chunks' requests do behind layers; None where none does anything."""
    if not any(chunk.sequence.request.is_tapped for chunk in chunks):
        return None
    taps, first_row = Taps(), 0
    for chunk in chunks:
        request, stop = chunk.sequence.request, first_row + chunk.length
        for push in request.steering.pushes:
            vector = torch.from_numpy(push.vector).to(device)
            for rows in push.rows(chunk.start, chunk.length):
                taps.add(push.layer, slice(first_row + rows.start, first_row + rows.stop), vector)
        for layer in request.capture.layers if request.capture else ():
            taps.keep(layer, slice(first_row, stop))
        first_row = stop
    return taps


def _entry(chunk: Chunk) -> BatchEntry:
    sequence = chunk.sequence
    return BatchEntry(
        token_ids=(0,) if chunk.unread is not None else sequence.token_ids[chunk.start : chunk.start + chunk.length],
        start=chunk.start,
        block_table=sequence.block_table,
        first_stored=chunk.first_stored,
        logit_offsets=(chunk.length - 1,) if _draws(chunk) else (),
    )


def _sampler_row(chunk: Chunk, eos_token_ids: tuple[int, ...]) -> SamplerRow:
    """Of the token behind the chunk; the host may not know the chunk's own."""
    sequence, position = chunk.sequence, chunk.start + chunk.length
    request, redraws = sequence.request, sequence.redraws
    return SamplerRow(
        params=request.params,
        seed=request.seed,
        sequence_index=sequence.draw_index,
        position=position,
        token_ids=sequence.token_ids,
        num_output=position - sequence.prompt_len,
        banned_until_min=(*eos_token_ids, *request.params.stop_token_ids),
        history=sequence.history,
        suffixes=sequence.suffixes,
        breakers=request.breakers,
        bad_words=request.bad_words,
        feedback=sequence.feedback,
        grammar=sequence.grammar,
        forced=sequence.forced,
        taken_back=redraws.bans(position) if redraws else (),
        attempt=redraws.draws(position) if redraws else 0,
        ask=request.ask,
    )
