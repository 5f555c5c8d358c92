"""Damaged, lying and unsafe model folders: refused by name before anything is allocated."""

from __future__ import annotations

import json
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from aphrodite_engine.errors import ModelError, UnsupportedModelError
from aphrodite_engine.loading.weights import TensorReader, open_checkpoint, read_header
from aphrodite_engine.models.base import LoadOptions
from aphrodite_engine.models.registry import load_decoder, read_model_config
from tests.engine.models.conftest import Checkpoint
from tests.engine.models.harness import CPU, load

Header = dict[str, Any]
NAME = "model.layers.0.mlp.up_proj.weight"


@pytest.fixture
def folder(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    """A copy of a good checkpoint, to damage."""
    return Path(shutil.copytree(checkpoint("llama"), tmp_path / "model"))


def _weights(folder: Path) -> Path:
    return folder / "model.safetensors"


def _rewrite(path: Path, change: Callable[[Header], object], data: bytes | None = None) -> None:
    """Write a safetensors file again with its header changed."""
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + (content[8 + size :] if data is None else data))


def _edit_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


LIES: dict[str, tuple[Callable[[Header], object], str]] = {
    "a shape larger than the data": (lambda h: h[NAME].update(shape=[10**9, 64]), "is not 24,576 bytes"),
    "a negative size": (lambda h: h[NAME].update(shape=[-96, -64]), "not natural numbers"),
    "a size that is true": (lambda h: h[NAME].update(shape=[True, 6144]), "not natural numbers"),
    "offsets beyond the file": (lambda h: h[NAME].update(data_offsets=[2**40, 2**40 + 24576]), "gap|truncated"),
    "overlapping offsets": (lambda h: h[NAME].update(data_offsets=[0, 24576]), "overlaps"),
    "reversed offsets": (lambda h: h[NAME].update(data_offsets=[24576, 0]), "is not -24,576 bytes"),
    "an unknown dtype": (lambda h: h[NAME].update(dtype="PICKLE"), "unknown dtype 'PICKLE'"),
    "a dtype that is a list": (lambda h: h[NAME].update(dtype=["F32"]), "unknown dtype"),
    "another dtype": (lambda h: h[NAME].update(dtype="F16"), "is not 24,576 bytes"),
    "a missing field": (lambda h: h[NAME].pop("shape"), "is not dtype, shape and data_offsets"),
    "a hole": (lambda h: h.pop(NAME), "overlaps another or leaves a gap"),
    "sizes without end": (lambda h: h[NAME].update(shape=[1] * 10**5), "not natural numbers"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_header_is_refused(folder: Path, lie: str) -> None:
    change, message = LIES[lie]
    _rewrite(_weights(folder), change)
    with pytest.raises(ModelError, match=message) as error:
        read_model_config(folder)
    assert str(_weights(folder)) in str(error.value)


@pytest.mark.parametrize("length", [0, 1, 2**31, 2**63, 2**64 - 1])
def test_a_header_of_an_impossible_length_is_refused(folder: Path, length: int) -> None:
    _weights(folder).write_bytes(struct.pack("<Q", length) + _weights(folder).read_bytes()[8:])
    with pytest.raises(ModelError, match=f"header of {length:,} bytes"):
        read_model_config(folder)


@pytest.mark.parametrize("text", ["[" * 10**5, "{ ", "[]", '{"a": 1, "a": 2}', "9" * 5000, "\xff{}"])
def test_a_header_that_is_not_an_object_is_refused(tmp_path: Path, text: str) -> None:
    data = text.encode("latin-1")
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(data)) + data)
    with pytest.raises(ModelError, match="JSON"):
        read_header(path)


@pytest.mark.parametrize("kept", [0, 7, 8, 100, -1])
def test_a_truncated_file_is_refused(folder: Path, kept: int) -> None:
    _weights(folder).write_bytes(_weights(folder).read_bytes()[:kept])
    with pytest.raises(ModelError, match=r"damaged|truncated"):
        read_model_config(folder)


def test_pickles_are_refused_and_not_read(folder: Path, tmp_path: Path) -> None:
    class Canary:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "canary",)

    _weights(folder).unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Canary()))
    with pytest.raises(ModelError, match=r"pytorch_model\.bin.*run code.*save_pretrained"):
        read_model_config(folder)
    assert not (tmp_path / "canary").exists()


def test_a_folder_without_weights_or_config_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no folder"):
        read_model_config(tmp_path / "nothing")
    _weights(folder).unlink()
    with pytest.raises(ModelError, match=r"no model\.safetensors"):
        read_model_config(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match="not valid JSON"):
        read_model_config(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        read_model_config(folder)


def _shard(folder: Path, weight_map: dict[str, str] | None = None) -> dict[str, str]:
    """Split the weights in two shards with an index, as large models have them."""
    tensors = load_file(_weights(folder))
    _weights(folder).unlink()
    names = sorted(tensors)
    halves = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for shard, members in halves.items():
        save_file({name: tensors[name] for name in members}, folder / shard)
    own_map = {name: shard for shard, members in halves.items() for name in members}
    index = {"metadata": {}, "weight_map": own_map | (weight_map or {})}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return own_map


def test_shards_load_like_one_file(checkpoint: Checkpoint, folder: Path) -> None:
    _shard(folder)
    whole, sharded = (open_checkpoint(place) for place in (checkpoint("llama"), folder))
    for name, entry in whole.tensors.items():
        tensors = [TensorReader(source, None, CPU).take(name, entry.shape) for source in (whole, sharded)]
        assert torch.equal(*tensors)
    load(folder)


@pytest.mark.parametrize("shard", ["../model.safetensors", "/etc/passwd", "..", "a/b.safetensors", "a\\b.safetensors"])
def test_an_index_that_leaves_the_folder_is_refused(folder: Path, shard: str) -> None:
    (folder.parent / "model.safetensors").write_bytes(_weights(folder).read_bytes())
    _shard(folder, {NAME: shard})
    with pytest.raises(ModelError, match=r"not the name of a file|not a safetensors file"):
        read_model_config(folder)


def test_a_missing_shard_or_tensor_of_the_index_is_refused(folder: Path) -> None:
    own_map = _shard(folder)
    other = next(shard for shard in own_map.values() if shard != own_map[NAME])
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": own_map | {NAME: other}}))
    with pytest.raises(ModelError, match=f"holds tensor '{NAME}'; it does not"):
        read_model_config(folder)
    index.write_text(json.dumps({"weight_map": own_map}))
    (folder / "model-2.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model-2\.safetensors is missing"):
        read_model_config(folder)
    index.write_text(json.dumps({"weight_map": {NAME: 3}}))
    with pytest.raises(ModelError, match="no weight_map"):
        read_model_config(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_link_out_of_the_folder_is_refused(folder: Path, name: str) -> None:
    outside = (folder / name).rename(folder.parent / name)
    (folder / name).symlink_to(outside)
    with pytest.raises(ModelError, match="outside the model folder"):
        read_model_config(folder)


def test_the_links_of_a_hugging_face_cache_are_followed(folder: Path, tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "cache/snapshots/abc", tmp_path / "cache/blobs"
    snapshot.parent.mkdir(parents=True)
    blobs.mkdir()
    shutil.copytree(folder, snapshot)
    (snapshot / "model.safetensors").rename(blobs / "123")
    (snapshot / "model.safetensors").symlink_to("../../blobs/123")
    assert read_model_config(snapshot).architecture == "LlamaForCausalLM"


def test_tensors_that_do_not_fit_config_json_are_refused(folder: Path) -> None:
    _edit_config(folder, intermediate_size=128)
    with pytest.raises(ModelError, match=r"gate_proj\.weight' has shape \[96, 64\], config\.json says \[128, 64\]"):
        load(folder)
    _edit_config(folder, intermediate_size=96, num_hidden_layers=3)
    with pytest.raises(ModelError, match=r"tensor 'model\.layers\.2\.input_layernorm\.weight' is missing"):
        load(folder)
    _edit_config(folder, num_hidden_layers=1)
    with pytest.raises(ModelError, match=r"no place for: model\.layers\.1\..* and 5 more"):
        load(folder)


def test_tied_weights_that_differ_are_refused(folder: Path) -> None:
    _edit_config(folder, tie_word_embeddings=True)
    with pytest.raises(ModelError, match=r"tie_word_embeddings, but lm_head\.weight differs"):
        load(folder)


def test_numbers_too_large_for_float16_are_refused(folder: Path) -> None:
    tensors = load_file(_weights(folder))
    tensors[NAME][3, 3] = 1e6
    save_file(tensors, _weights(folder))
    load(folder, torch.bfloat16)
    with pytest.raises(ModelError, match=f"'{NAME}' does not fit float16; use bfloat16"):
        load(folder, torch.float16)


def test_integer_weights_are_refused(folder: Path) -> None:
    tensors = load_file(_weights(folder))
    tensors[NAME] = tensors[NAME].to(torch.int8)
    save_file(tensors, _weights(folder))
    with pytest.raises(ModelError, match=r"torch\.int8, not float32"):
        load(folder)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_progress_counts_every_byte(checkpoint: Checkpoint, kind: str) -> None:
    seen: list[tuple[int, int]] = []
    config = read_model_config(checkpoint(kind))
    load_decoder(config, LoadOptions(CPU, torch.float32, progress=lambda done, total: seen.append((done, total))))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1] == config.weight_bytes


def test_code_in_the_folder_is_refused_and_does_not_run(folder: Path, tmp_path: Path) -> None:
    (folder / "modeling_custom.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')")
    auto_map = {"AutoModelForCausalLM": "modeling_custom.CustomModel"}
    _edit_config(folder, architectures=["CustomModel"], auto_map=auto_map)
    with pytest.raises(UnsupportedModelError, match=r"auto_map.*trust_remote_code=True"):
        read_model_config(folder)
    assert not (tmp_path / "canary").exists()
