"""Weights from a model folder: safetensors only, every header checked before anything is allocated.

The headers are read here rather than by a library so that a lying file is refused with its name and the reason. Tensors
are then read with plain file reads into their final place: a mapped file would count twice against memory while it is
packed, and kill the process with SIGBUS if somebody truncated it meanwhile.

Format: https://huggingface.co/docs/safetensors/index#format
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from aphrodite_engine.errors import ModelError
from aphrodite_kernels.zeros import lazy_zeros

MAX_HEADER_BYTES = 100_000_000
MAX_CONFIG_BYTES = 10_000_000
_BLOCK_BYTES = 4 * 2**20
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U64": torch.uint64, "U32": torch.uint32, "U16": torch.uint16, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
_WEIGHT_DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class TensorEntry:
    """Where one tensor lies: bytes `start` to `stop` of `file`."""

    file: Path
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def num_bytes(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a model folder by name; nothing but headers has been read."""

    folder: Path
    tensors: Mapping[str, TensorEntry]


def open_checkpoint(folder: Path) -> Checkpoint:
    """Read and check the headers of `model.safetensors`, or of the shards its index names.

    Raises:
        ModelError: no safetensors in the folder (pickles are never read), or a file that is damaged or lies.
    """
    if (folder / "model.safetensors").exists():
        return Checkpoint(folder, read_header(model_file(folder, "model.safetensors")))
    if (folder / "model.safetensors.index.json").exists():
        return Checkpoint(folder, _sharded_tensors(folder))
    raise ModelError(_why_no_weights(folder))


def model_file(folder: Path, name: str) -> Path:
    """The file `name` of a model folder, proven to lie in it.

    A symbolic link may leave the folder only for the `blobs` folder of the same Hugging Face cache entry, where
    `snapshots/<revision>/<name>` points to `blobs/<hash>`.

    Raises:
        ModelError: the name has a path in it, the file is missing, or its link leaves the folder.
    """
    if name != Path(name).name or "\\" in name or name in ("", ".", ".."):
        raise ModelError(f"{folder}: {name!r} is not the name of a file in the model folder")
    path, home = folder / name, folder.resolve()
    target = path.resolve()
    if not target.is_file():
        raise ModelError(f"{folder}: {name} is missing")
    allowed = [home]
    if home.parent.name == "snapshots":
        allowed.append(home.parent.parent / "blobs")
    if not any(target.is_relative_to(place) for place in allowed):
        raise ModelError(f"{folder}: {name} is a link to {target}, outside the model folder; copy the file in")
    return path


def read_json(folder: Path, name: str, max_bytes: int = MAX_CONFIG_BYTES) -> dict[str, Any]:
    """A JSON object from a file of the model folder.

    Raises:
        ModelError: the file is missing, outside the folder, too large, or not a JSON object.
    """
    path = model_file(folder, name)
    size = path.stat().st_size
    if size > max_bytes:
        raise ModelError(f"{path}: {size:,} bytes, at most {max_bytes:,} are read")
    return _json_object(path, path.read_bytes())


def read_header(path: Path) -> dict[str, TensorEntry]:
    """The tensors of one safetensors file, checked: sizes, dtypes, and that the data is covered without gap or overlap.

    Raises:
        ModelError: naming the file, the tensor and what is wrong with it.
    """
    file_bytes = path.stat().st_size
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        if file_bytes < 8 or not 2 <= header_bytes <= min(MAX_HEADER_BYTES, file_bytes - 8):
            raise ModelError(f"{path}: header of {header_bytes:,} bytes in a file of {file_bytes:,}; it is damaged")
        header = _json_object(path, file.read(header_bytes))
    header.pop("__metadata__", None)
    first = 8 + header_bytes
    tensors = {name: _entry(path, name, facts, first) for name, facts in header.items()}
    _check_coverage(path, tensors, first, file_bytes)
    return tensors


class TensorReader:
    """Brings tensors of a checkpoint into memory one by one and remembers which were taken.

    `dtype` None keeps each tensor's own. `progress` gets (bytes read, bytes in all), maybe from several threads.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        dtype: torch.dtype | None,
        device: torch.device,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._checkpoint, self._dtype, self._device, self._progress = checkpoint, dtype, device, progress
        self._taken: set[str] = set()
        self._buffers: dict[torch.dtype, torch.Tensor] = {}
        self._done = 0
        self._lock = threading.Lock()
        self._total = sum(entry.num_bytes for entry in checkpoint.tensors.values())

    def has(self, name: str) -> bool:
        """Whether the checkpoint holds a tensor of this name."""
        return name in self._checkpoint.tensors

    def take(self, name: str, shape: Sequence[int], dtype: torch.dtype | None = None) -> torch.Tensor:
        """The tensor `name`, which must have this shape, on the device. The caller owns the only copy.

        Args:
            dtype: another than the reader's, for this tensor.

        Raises:
            ModelError: it is missing, has another shape, is not a float tensor, or does not fit the dtype.
        """
        entry = self._take_entry(name, shape)
        tensor = lazy_zeros(entry.shape, dtype or self._dtype or entry.dtype)  # which give all their memory back
        self._fill(name, entry, tensor.reshape(-1))
        return tensor.to(self._device)

    def row_blocks(self, name: str, shape: tuple[int, int]) -> Iterator[tuple[int, torch.Tensor]]:
        """The rows of a matrix, a few MB at a time: (index of the first row, block on the CPU).

        A block's memory is used again for the next one, so that a weight can be packed without a second copy of it.

        Raises:
            ModelError: as for `take`.
        """
        entry = self._take_entry(name, shape)
        num_rows, width = shape
        rows = min(num_rows, max(1, _BLOCK_BYTES // (width * entry.dtype.itemsize)))
        raw = self._buffer(entry.dtype, rows * width).view(rows, width)
        block = raw if self._dtype in (None, entry.dtype) else self._buffer(self._dtype, rows * width).view(rows, width)
        with entry.file.open("rb", buffering=0) as file:
            file.seek(entry.start)
            for first in range(0, num_rows, rows):
                count = min(rows, num_rows - first)
                _read_exactly(file, raw[:count], entry.file)
                if block is not raw:
                    self._check_range(name, entry, block[:count].copy_(raw[:count]))
                self._report(raw[:count].nbytes)
                yield first, block[:count]

    def _buffer(self, dtype: torch.dtype, numel: int) -> torch.Tensor:
        # Held from one tensor to the next: freed each time, they left a hole in the heap behind every tensor.
        held = self._buffers.get(dtype)
        if held is None or held.numel() < numel:
            held = self._buffers[dtype] = torch.empty(numel, dtype=dtype)
        return held[:numel]

    def _take_entry(self, name: str, shape: Sequence[int]) -> TensorEntry:
        entry = self._checkpoint.tensors.get(name)
        if entry is None:
            raise ModelError(f"{self._checkpoint.folder}: tensor {name!r} is missing")
        if entry.shape != tuple(shape):
            found, expected = list(entry.shape), list(shape)
            raise ModelError(f"{entry.file}: tensor {name!r} has shape {found}, config.json says {expected}")
        if entry.dtype not in _WEIGHT_DTYPES:
            raise ModelError(f"{entry.file}: tensor {name!r} is {entry.dtype}, not float32, float16 or bfloat16")
        self._taken.add(name)
        return entry

    def finish(self, ignored: Iterable[str] = ()) -> None:
        """Refuse tensors that nobody took: the model would silently be another than the one in the folder.

        Raises:
            ModelError: naming the tensors that are neither taken nor in `ignored`.
        """
        left = sorted(set(self._checkpoint.tensors) - self._taken - set(ignored))
        if left:
            shown = ", ".join(left[:4]) + (f" and {len(left) - 4} more" if len(left) > 4 else "")
            raise ModelError(f"{self._checkpoint.folder}: tensors that config.json has no place for: {shown}")
        self._report(self._total - self._done)

    def _fill(self, name: str, entry: TensorEntry, target: torch.Tensor) -> None:
        with entry.file.open("rb", buffering=0) as file:
            file.seek(entry.start)
            step = _BLOCK_BYTES // entry.dtype.itemsize
            for start in range(0, target.numel(), step):
                part = target[start : start + step]
                same = entry.dtype == part.dtype
                chunk = part if same else self._buffer(entry.dtype, part.numel())
                _read_exactly(file, chunk, entry.file)
                if not same:
                    part.copy_(chunk)
                    self._check_range(name, entry, part)
                self._report(chunk.numel() * entry.dtype.itemsize)

    def _check_range(self, name: str, entry: TensorEntry, part: torch.Tensor) -> None:
        if part.dtype == torch.float16 and not all_finite(part):
            raise ModelError(f"{entry.file}: tensor {name!r} does not fit float16; use bfloat16 or float32")

    def _report(self, num_bytes: int) -> None:
        with self._lock:
            self._done += num_bytes
            if self._progress is not None:
                self._progress(self._done, self._total)


def all_finite(tensor: torch.Tensor) -> bool:
    """Whether there is no infinity and no NaN; isfinite would take three times the tensor's memory on its way."""
    return not tensor.numel() or bool(torch.isfinite(torch.stack(tensor.aminmax())).all())


def _read_exactly(file: Any, chunk: torch.Tensor, path: Path) -> None:
    view = memoryview(chunk.view(torch.uint8).numpy())  # type: ignore[arg-type]
    while len(view):
        count = file.readinto(view)
        if not count:
            raise ModelError(f"{path}: the file became shorter while it was read")
        view = view[count:]


def _entry(path: Path, name: str, facts: object, first: int) -> TensorEntry:
    if not isinstance(facts, dict) or set(facts) != {"dtype", "shape", "data_offsets"}:
        raise ModelError(f"{path}: header entry {name!r} is not dtype, shape and data_offsets")
    dtype = _DTYPES.get(facts["dtype"]) if isinstance(facts["dtype"], str) else None
    if dtype is None:
        raise ModelError(f"{path}: tensor {name!r} has the unknown dtype {facts['dtype']!r}")
    shape, offsets = facts["shape"], facts["data_offsets"]
    if not _naturals(shape) or not _naturals(offsets) or len(offsets) != 2:
        raise ModelError(f"{path}: tensor {name!r} has a shape or offsets that are not natural numbers")
    num_bytes = offsets[1] - offsets[0]
    if math.prod(shape) * dtype.itemsize != num_bytes:
        raise ModelError(f"{path}: tensor {name!r} of shape {shape} and {facts['dtype']} is not {num_bytes:,} bytes")
    return TensorEntry(path, dtype, tuple(shape), first + offsets[0], first + offsets[1])


def _naturals(values: object) -> bool:
    return isinstance(values, list) and len(values) < 9 and all(type(v) is int and 0 <= v < 2**62 for v in values)


def _check_coverage(path: Path, tensors: Mapping[str, TensorEntry], first: int, file_bytes: int) -> None:
    position = first
    for name, entry in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].stop)):
        if entry.start != position:
            raise ModelError(f"{path}: tensor {name!r} overlaps another or leaves a gap")
        position = entry.stop
    if position != file_bytes:
        raise ModelError(f"{path}: the header describes {position:,} bytes, the file has {file_bytes:,}; truncated?")


def _sharded_tensors(folder: Path) -> dict[str, TensorEntry]:
    index = read_json(folder, "model.safetensors.index.json", MAX_HEADER_BYTES)
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(shard, str) for shard in weight_map.values()):
        raise ModelError(f"{folder}: model.safetensors.index.json has no weight_map of tensor names to files")
    shards = {}
    for shard in sorted(set(weight_map.values())):
        if not shard.endswith(".safetensors"):
            raise ModelError(f"{folder}: the index names {shard!r}, which is not a safetensors file")
        shards[shard] = read_header(model_file(folder, shard))
    for name, shard in weight_map.items():
        if name not in shards[shard]:
            raise ModelError(f"{folder}: the index says {shard} holds tensor {name!r}; it does not")
    return {name: shards[shard][name] for name, shard in weight_map.items()}


def _why_no_weights(folder: Path) -> str:
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
    if not pickles:
        return f"{folder}: no model.safetensors and no model.safetensors.index.json"
    return (
        f"{folder}: only pickled weights ({pickles[0]}), which can run code when they are read. Convert them where you "
        "trust them: AutoModelForCausalLM.from_pretrained(folder).save_pretrained(new_folder) writes safetensors"
    )


def _json_object(path: Path, data: bytes) -> dict[str, Any]:
    try:
        # RecursionError comes of thousands of nested brackets, ValueError also of an integer of thousands of digits.
        value = json.loads(data, object_pairs_hook=lambda pairs: _unique(path, pairs))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path}: not a JSON object")
    return value


def _unique(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ModelError(f"{path}: a name appears twice in one JSON object")
    return value
