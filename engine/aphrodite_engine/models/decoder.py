"""The Llama family on our own kernels: Llama, Mistral, Qwen2, Qwen3, and what differs from them by a flag.

Shapes: T tokens of all sequences in one row, Hq and Hkv query and key-value heads of D. Every op treats a row without
regard to the others, so a token's state does not depend on the batch it is in.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from aphrodite_engine.errors import ModelError
from aphrodite_engine.loading.weights import TensorReader, open_checkpoint
from aphrodite_engine.models.base import KVTensors, LoadOptions, ModelConfig
from aphrodite_engine.models.llama_family import LlamaFamily
from aphrodite_engine.models.rope import cos_sin_table
from aphrodite_engine.models.taps import Taps
from aphrodite_engine.running.batch import Batch
from aphrodite_kernels.decoder_layers import DecoderLayers, LayerShape, LayerWeights, decoder_layer
from aphrodite_kernels.int8 import dequantize_rows, quantize_rows
from aphrodite_kernels.matmul import PackedWeight, matmul
from aphrodite_kernels.rms_norm import rms_norm


class LlamaDecoder:
    """A Llama-family model in memory (models.base.Decoder)."""

    can_be_tapped = True

    def __init__(self, config: ModelConfig, family: LlamaFamily, options: LoadOptions) -> None:
        """Load the weights of `config.folder`.

        Raises:
            ModelError: a tensor is missing, has another shape than config.json says, or has no place in the model.
        """
        self.config = config
        self._eps = family.rms_norm_eps
        cos_sin = cos_sin_table(family.rope, family.head_dim, family.max_position).to(options.device)
        shape = LayerShape(family.num_heads, family.num_kv_heads, family.head_dim, self._eps, cos_sin)
        reader = TensorReader(open_checkpoint(config.folder), options.dtype, options.device, options.progress)
        load = _Loader(reader, family, options)
        self._embedding, self._head = load.vocabulary()
        self._first_norm, layers = load.layers()
        self._layers = DecoderLayers(layers, shape)
        reader.finish(ignored=load.ignored)

    @torch.inference_mode()
    def forward(self, batch: Batch, kv: KVTensors, taps: Taps | None = None) -> torch.Tensor:
        residual = self._embedding.rows(batch.token_ids)
        hidden = rms_norm(residual, self._first_norm, self._eps)
        if taps is None:
            return self._layers(hidden, residual, kv.layers, batch)
        for index, (layer, (k_cache, v_cache)) in enumerate(zip(self._layers.layers, kv.layers, strict=True)):
            hidden = decoder_layer(hidden, residual, layer, self._layers.shape, k_cache, v_cache, batch)
            for rows in taps.after(index, residual):
                rms_norm(residual[rows], layer.next_norm, self._eps, out=hidden[rows])
        return hidden

    @torch.inference_mode()
    def finish(self, states: torch.Tensor) -> torch.Tensor:
        norm = self._layers.layers[-1].next_norm
        return rms_norm(states.to(norm.dtype), norm, self._eps)

    @torch.inference_mode()
    def logits(self, hidden: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        return matmul(hidden, self._head, out_dtype=torch.float32, out=out)

    def tensors(self) -> Iterator[torch.Tensor]:
        yield self._first_norm
        yield from (*self._embedding.tensors(), *self._head.tensors(), *self._layers.tensors())


class _Loader:
    """Takes the family's tensors by their checkpoint names, packing each as soon as it is read."""

    def __init__(self, reader: TensorReader, family: LlamaFamily, options: LoadOptions) -> None:
        self._reader, self._family, self._strict = reader, family, options.determinism == "strict"
        self._dtype, self._device, self._quantized = options.dtype, options.device, options.quantization is not None
        # Older checkpoints carry the rotary frequencies, which follow from config.json.
        self.ignored = [f"model.layers.{i}.self_attn.rotary_emb.inv_freq" for i in range(family.num_layers)]

    def vocabulary(self) -> tuple[PackedWeight, PackedWeight]:
        """The embedding table and the output head: one and the same when tied."""
        family, shape = self._family, (self._family.vocab_size, self._family.hidden_size)
        embedding = self._packed({"model.embed_tokens": shape[0]}, shape[1])
        if not family.tied:
            return embedding, self._packed({"lm_head": shape[0]}, shape[1])
        if self._reader.has("lm_head.weight"):
            self._check_tied(embedding)
        return embedding, embedding

    def _check_tied(self, embedding: PackedWeight) -> None:
        for first, block in self._reader.row_blocks("lm_head.weight", embedding.shape):
            held = block.to(self._device)  # where the embedding was rounded: another device may round otherwise
            if self._quantized:
                held = dequantize_rows(*quantize_rows(held), held.dtype)
            if not torch.equal(embedding.rows(torch.arange(first, first + len(block), device=self._device)), held):
                raise ModelError("config.json says tie_word_embeddings, but lm_head.weight differs from the embedding")

    def layers(self) -> tuple[torch.Tensor, list[LayerWeights]]:
        """The first norm, and the layers."""
        count, hidden = self._family.num_layers, self._family.hidden_size
        names = [f"model.layers.{i}.input_layernorm.weight" for i in range(count)] + ["model.norm.weight"]
        norms = [self._reader.take(name, (hidden,)) for name in names]
        return norms[0], [self._layer(i, norms[i + 1]) for i in range(count)]

    def _layer(self, index: int, next_norm: torch.Tensor) -> LayerWeights:
        f, prefix = self._family, f"model.layers.{index}"
        heads, kv_heads = f.num_heads * f.head_dim, f.num_kv_heads * f.head_dim
        attn, mlp = f"{prefix}.self_attn", f"{prefix}.mlp"
        qkv = {f"{attn}.q_proj": heads, f"{attn}.k_proj": kv_heads, f"{attn}.v_proj": kv_heads}
        gate_up = {f"{mlp}.gate_proj": f.intermediate_size, f"{mlp}.up_proj": f.intermediate_size}
        return LayerWeights(
            qkv=self._linear(qkv, f.hidden_size, f.qkv_bias),
            q_norm=self._reader.take(f"{attn}.q_norm.weight", (f.head_dim,)) if f.qk_norm else None,
            k_norm=self._reader.take(f"{attn}.k_norm.weight", (f.head_dim,)) if f.qk_norm else None,
            output=self._linear({f"{attn}.o_proj": f.hidden_size}, heads, f.output_bias),
            post_norm=self._reader.take(f"{prefix}.post_attention_layernorm.weight", (f.hidden_size,)),
            gate_up=self._linear(gate_up, f.hidden_size, f.mlp_bias),
            down=self._linear({f"{mlp}.down_proj": f.hidden_size}, f.intermediate_size, f.mlp_bias),
            next_norm=next_norm,
            window=f.windows[index] or None,
        )

    def _linear(self, outputs: dict[str, int], inputs: int, bias: bool) -> PackedWeight:
        """Several projections of the same input as one packed weight, in the order given."""
        biases = [self._reader.take(f"{name}.bias", (size,)) for name, size in outputs.items()] if bias else None
        return self._packed(outputs, inputs, torch.cat(biases) if biases else None)

    def _packed(self, outputs: dict[str, int], inputs: int, bias: torch.Tensor | None = None) -> PackedWeight:
        """Matrices stacked along their outputs, packed as they are read: none is ever held twice."""
        shape = (sum(outputs.values()), inputs)
        packed = PackedWeight(shape, self._dtype, self._device, bias, self._strict, self._quantized)
        start = 0
        for name, size in outputs.items():
            for first, block in self._reader.row_blocks(f"{name}.weight", (size, inputs)):
                packed.write(start + first, block)
            start += size
        return packed
