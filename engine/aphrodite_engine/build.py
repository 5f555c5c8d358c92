"""What equal tokens depend on besides the request: weights, versions, device and arithmetic."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Protocol

from aphrodite_engine.version import __version__


class Plan(Protocol):
    """What a MemoryPlan says of a model in memory; a client reads builds and needs no torch, which plans bring."""

    @property
    def device(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def quantization(self) -> str | None: ...


@dataclass(frozen=True)
class Build:
    """Of one loaded model: equal builds give equal tokens for equal requests (in strict determinism).

    Attributes:
        weights: digest of the model folder, see `aphrodite_engine.loading.weights_digest`.
        aphrodite, torch, transformers: versions.
        device: "cpu" with the instructions that torch uses, or the name of the GPU.
        dtype: of weights, activations and KV.
        quantization: how weights are held, None is as dtype says.
        determinism: "strict" or "fast".
    """

    weights: str
    aphrodite: str
    torch: str
    transformers: str
    device: str
    dtype: str
    quantization: str | None
    determinism: str

    @property
    def fingerprint(self) -> str:
        """All of it in one word."""
        facts = json.dumps(asdict(self), sort_keys=True)
        return "fp_" + hashlib.blake2b(facts.encode(), digest_size=6).hexdigest()


def build_of(weights: str, plan: Plan, determinism: str) -> Build:
    """Of a model in this process."""
    import torch

    kind = torch.cuda.get_device_name(plan.device) if plan.device.startswith("cuda") else _processor()
    versions = (__version__, str(torch.__version__), version("transformers"))
    return Build(weights, *versions, kind, plan.dtype, plan.quantization, determinism)


def _processor() -> str:
    """What of a processor decides how its sums are rounded: the instructions that there are."""
    import torch

    return f"cpu {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
