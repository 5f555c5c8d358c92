"""Settings of one engine: what the caller chose, checked once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from aphrodite_engine.errors import ParameterError
from aphrodite_engine.models.base import Determinism, ModelConfig, Quantization

DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
#: Each row of a graph holds logits of its own: 152k words take 0.6 MB.
MOST_GRAPH_ROWS = 512
#: Tokens of a step by kind of device: enough to keep its arithmetic busy, and no more, since a stream waits for a step.
STEP_TOKENS = {"cpu": 512, "cuda": 2048}


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Everything about an engine but its weights.

    Attributes:
        dtype: "auto" is the model's own on a GPU and float32 on the CPU.
        device: "auto" is cuda where there is one, else cpu.
        max_model_len: longest sequence in tokens, prompt and output together; None is as long as fits.
        gpu_memory_utilization: share of the GPU's memory the engine may use, (0, 1].
        kv_cache_memory: bytes for the KV cache; None is planned from what is free (loading.plan).
        reserved_memory: bytes to leave alone, for what else runs on the device.
        max_num_batched_tokens: token budget of one step, prefill chunks and decodes together; None is 512 on the CPU
            and 2,048 on a GPU.
        max_num_seqs: most sequences that run at once.
        seed: requests without a seed of their own get one derived from it; None draws from the system.
        quantization: "int8" holds the weights of matrices as 8-bit integers with a scale a row (models of the fast
            path); None as `dtype` says.
        enforce_eager: launch the kernels of every step one by one. Otherwise, on a GPU, a model of the fast path
            decodes by replaying CUDA graphs.
        run_ahead: launch a step before the tokens of the one in front of it are read, where no draw needs them on the
            host; None does so on a GPU. Tokens are the same either way.
    """

    dtype: str = "auto"
    device: str = "auto"
    max_model_len: int | None = None
    download_dir: str | Path | None = None
    revision: str | None = None
    offline: bool | None = None
    trust_remote_code: bool = False
    seed: int | None = None
    gpu_memory_utilization: float = 0.9
    kv_cache_memory: int | None = None
    reserved_memory: int = 0
    max_num_batched_tokens: int | None = None
    max_num_seqs: int = 256
    enable_prefix_caching: bool = True
    determinism: Determinism = "strict"
    quantization: Quantization | None = None
    enforce_eager: bool = False
    run_ahead: bool | None = None

    def __post_init__(self) -> None:
        if self.dtype not in ("auto", *DTYPES):
            raise ParameterError("dtype", self.dtype, f"auto, {', '.join(DTYPES)}")
        if self.determinism not in ("strict", "fast"):
            raise ParameterError("determinism", self.determinism, "'strict' or 'fast'")
        if self.quantization not in (None, "int8"):
            raise ParameterError("quantization", self.quantization, "'int8', or None for weights as dtype says")
        share = self.gpu_memory_utilization
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0.0 < share <= 1.0:
            raise ParameterError("gpu_memory_utilization", share, "a number above 0 up to 1")
        for name in ("trust_remote_code", "enable_prefix_caching", "enforce_eager"):
            _of_type(name, getattr(self, name), bool, "True or False")
        for name in ("offline", "run_ahead"):
            if getattr(self, name) is not None:
                _of_type(name, getattr(self, name), bool, "True, False or None")
        if self.revision is not None:
            _of_type("revision", self.revision, str, "a branch, tag or commit")
        if self.download_dir is not None:
            _of_type("download_dir", self.download_dir, (str, Path), "the path of a folder")
        self.torch_device()
        for name, low in (("max_num_seqs", 1), ("reserved_memory", 0)):
            _at_least(name, getattr(self, name), low)
        for name, low in (("max_model_len", 2), ("kv_cache_memory", 1), ("max_num_batched_tokens", 1), ("seed", 0)):
            if getattr(self, name) is not None:
                _at_least(name, getattr(self, name), low)

    def torch_device(self) -> torch.device:
        """The device asked for, or the best there is; one that is absent is refused."""
        _of_type("device", self.device, str, "auto, cpu, cuda or cuda:N")
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            device = torch.device(self.device)
        except RuntimeError as error:
            raise ParameterError("device", self.device, "auto, cpu, cuda or cuda:N") from error
        if device.type not in ("cpu", "cuda") or (device.type == "cuda" and not torch.cuda.is_available()):
            raise ParameterError("device", self.device, "cpu, or cuda where torch sees a GPU")
        return device

    @property
    def step_tokens(self) -> int:
        """What `max_num_batched_tokens` comes to on this device."""
        return self.max_num_batched_tokens or STEP_TOKENS[self.torch_device().type]

    @property
    def runs_ahead(self) -> bool:
        """What `run_ahead` comes to on this device."""
        return self.torch_device().type == "cuda" if self.run_ahead is None else self.run_ahead

    @property
    def graph_rows(self) -> int:
        """Sequences of the largest step that is replayed; larger ones keep a GPU busy as they are."""
        return min(self.max_num_seqs, MOST_GRAPH_ROWS)

    def uses_graphs(self, model: ModelConfig) -> bool:
        """Whether a model decodes by CUDA graphs. Those of the universal path are transformers' code, which may read
        from the device on its way."""
        return self.torch_device().type == "cuda" and model.path == "fast" and not self.enforce_eager

    def torch_dtype(self, model_dtype: torch.dtype) -> torch.dtype:
        """The dtype of weights, activations and KV."""
        if self.dtype != "auto":
            return DTYPES[self.dtype]
        if self.torch_device().type == "cpu" or model_dtype not in DTYPES.values():
            return torch.float32
        return model_dtype


def _of_type(name: str, value: object, kind: type | tuple[type, ...], expected: str) -> None:
    if not isinstance(value, kind):
        raise ParameterError(name, value, expected)


def _at_least(name: str, value: object, low: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise ParameterError(name, value, f"an integer of at least {low}")
