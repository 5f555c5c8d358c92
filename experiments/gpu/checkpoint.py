"""Random weights of a shape, written as fast as a file takes bytes: 15 GB of an 8B shape in seconds.

One block of normal numbers is written over and over, each tensor from another place in it; building the model in torch
and saving it would take minutes.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import torch

from experiments.throughput.shapes import WORK, Shape, config_of

#: Qwen3-8B's layers; the head is tied, so that a decoded token reads what it reads there: every matrix once.
EIGHT_B = Shape("8b", 4096, 36, 32, 8, 128, 12_288, 151_936, kv_cache_memory=2 << 30)
#: Numbers of the block, and how far apart two tensors begin in it.
BLOCK, STRIDE = 1 << 24, 1_000_003
SPREAD = 0.02


@contextmanager
def checkpoint(shape: Shape) -> Iterator[Path]:
    """A folder with config.json and model.safetensors in bfloat16, gone at the end; in memory where there is room."""
    with tempfile.TemporaryDirectory(dir=_room_for(2 * shape.num_parameters), prefix=f"{shape.name}-") as folder:
        config = config_of(shape)
        config.architectures, config.dtype = ["Qwen3ForCausalLM"], torch.bfloat16
        config.save_pretrained(folder)
        with (Path(folder) / "model.safetensors").open("wb") as file:
            _write(file, tensors(shape))
        yield Path(folder)


def tensors(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Names and shapes as Qwen3ForCausalLM saves them."""
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (shape.vocab, shape.hidden)}
    for index in range(shape.layers):
        layer = f"model.layers.{index}"
        found |= {
            f"{layer}.input_layernorm.weight": (shape.hidden,),
            f"{layer}.self_attn.q_proj.weight": (queries, shape.hidden),
            f"{layer}.self_attn.k_proj.weight": (keys, shape.hidden),
            f"{layer}.self_attn.v_proj.weight": (keys, shape.hidden),
            f"{layer}.self_attn.o_proj.weight": (shape.hidden, queries),
            f"{layer}.self_attn.q_norm.weight": (shape.head_dim,),
            f"{layer}.self_attn.k_norm.weight": (shape.head_dim,),
            f"{layer}.post_attention_layernorm.weight": (shape.hidden,),
            f"{layer}.mlp.gate_proj.weight": (shape.intermediate, shape.hidden),
            f"{layer}.mlp.up_proj.weight": (shape.intermediate, shape.hidden),
            f"{layer}.mlp.down_proj.weight": (shape.hidden, shape.intermediate),
        }
    return found | {"model.norm.weight": (shape.hidden,)}


def _room_for(num_bytes: int) -> Path:
    """/dev/shm, or scratch/ where a container gives it little."""
    memory = Path("/dev/shm")
    if memory.is_dir() and shutil.disk_usage(memory).free > 1.2 * num_bytes:
        return memory
    WORK.mkdir(exist_ok=True)
    return WORK


def _write(file: BinaryIO, shapes: dict[str, tuple[int, ...]]) -> None:
    """The format: length of the header, the header, the data without a gap (huggingface.co/docs/safetensors)."""
    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    file.write(len(text).to_bytes(8, "little") + text)
    block = torch.randn(BLOCK, generator=torch.Generator().manual_seed(0)).mul_(SPREAD).to(torch.bfloat16)
    for place, shape in enumerate(shapes.values()):
        if len(shape) == 1:
            file.write(_bytes(torch.ones(shape, dtype=torch.bfloat16)))
        else:
            _repeat(file, block, place * STRIDE % BLOCK, math.prod(shape))


def _repeat(file: BinaryIO, block: torch.Tensor, start: int, count: int) -> None:
    """`count` numbers of the block from `start` on, going round."""
    while count:
        part = block[start : start + count]
        file.write(_bytes(part))
        start, count = 0, count - len(part)


def _bytes(tensor: torch.Tensor) -> bytes:
    return tensor.view(torch.uint8).numpy().tobytes()
