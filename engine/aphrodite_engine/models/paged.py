"""Our paged attention as an implementation of transformers' attention interface.

The state of a step reaches the attention function through a `StepHolder` that the modules of one model share: not every
model hands keywords down to its attention (StableLM does not). Layers take their caches in the order in which they
call, so models that share or skip layers need no table of names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from aphrodite_engine.errors import UnsupportedModelError
from aphrodite_engine.models.base import KVLayerSpec, KVTensors
from aphrodite_engine.running.batch import Batch
from aphrodite_kernels.attention import attention
from aphrodite_kernels.kv_store import kv_store

ATTENTION = "aphrodite_paged"
#: Keywords that models hand to their attention and that change nothing here: the mask and the positions are the
#: batch's, nothing is cached by transformers, and only hidden states are asked for.
_NEUTRAL = frozenset(
    ("cache_position", "position_ids", "position_embeddings", "use_cache", "output_attentions", "output_hidden_states",
     "output_router_logits", "return_dict", "logits_to_keep", "is_causal")
)  # fmt: skip


@dataclass
class PagedStep:
    """One forward pass over a batch: which layer comes next, and where its cache is."""

    batch: Batch
    kv: KVTensors
    num_layers_run: int = 0

    def attend(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        scale: float,
        window: int | None,
        softcap: float | None,
    ) -> torch.Tensor:
        """(T, Hq, D), (T, Hkv, D), (T, Hkv, D) -> (T, Hq * D), storing k and v in the layer's cache."""
        batch, (k_cache, v_cache) = self.batch, self.kv.layers[self.num_layers_run]
        self.num_layers_run += 1
        # A StrictMode around the model must not look into our own ops.
        with torch._C.DisableTorchFunction():
            kv_store(k, v, k_cache, v_cache, batch.slots)
            return attention(
                q, k_cache, v_cache, batch.block_tables, batch.query_start, batch.context_len, scale, window, softcap
            )


@dataclass
class ShapeProbe:
    """Stands for a step on the meta device: records what each attention layer would store."""

    kv_layers: list[KVLayerSpec] = field(default_factory=list)

    def attend(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        scale: float,
        window: int | None,
        softcap: float | None,
    ) -> torch.Tensor:
        """Record the layer's shape; the result has the right shape and no values."""
        if k.shape != v.shape or k.shape[-1] != q.shape[-1] or k.shape[-1] % 8 or k.shape[-1] > 256:
            sizes = f"query {q.shape[-1]}, key {k.shape[-1]}, value {v.shape[-1]}"
            raise UnsupportedModelError(f"heads of size {sizes}; ours are equal, a multiple of 8, at most 256")
        self.kv_layers.append(KVLayerSpec(k.shape[1], k.shape[2]))
        return q.flatten(1)


@dataclass
class StepHolder:
    """Where the attention modules of one model find the step under way."""

    step: PagedStep | ShapeProbe | None = None

    def attach(self, model: torch.nn.Module) -> None:
        """Let every module of the model look here."""
        for module in model.modules():
            module.step_holder = self  # type: ignore[assignment]


def paged_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    dropout: float = 0.0,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention function: (1, H, T, D) query, key and value -> (1, T, H, D).

    Raises:
        UnsupportedModelError: the model asks for something that our attention does not do (a mask of its own, sinks,
            biases, head masks, attention in both directions).
    """
    unknown = [name for name, given in others.items() if given is not None and name not in _NEUTRAL]
    if unknown:
        raise UnsupportedModelError(f"its attention asks for {', '.join(sorted(unknown))}")
    if attention_mask is not None:
        raise UnsupportedModelError("it makes an attention mask of its own")
    if others.get("is_causal") is False or not getattr(module, "is_causal", True):
        raise UnsupportedModelError("its attention looks in both directions")
    holder: StepHolder = module.step_holder  # type: ignore[assignment]
    assert holder.step is not None, "attention outside of a step"
    scale = query.shape[-1] ** -0.5 if scaling is None else float(scaling)
    rows = [states.squeeze(0).transpose(0, 1) for states in (query, key, value)]
    q, k, v = (heads.contiguous() for heads in rows)
    attended = holder.step.attend(q, k, v, scale, sliding_window or None, softcap or None)
    return attended.view(1, q.shape[0], q.shape[1], q.shape[2]), None
