"""A Llama in plain torch: the same weights and names as `LlamaForCausalLM`, small enough to read in one sitting.

Shapes: B sequences, T tokens, H heads, D values a head.
"""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Shape:
    """The sizes of the network, under the names of the Hugging Face configuration."""

    vocab_size: int = 4096
    hidden_size: int = 256
    intermediate_size: int = 704
    num_hidden_layers: int = 6
    num_attention_heads: int = 8
    num_key_value_heads: int = 4
    head_dim: int = 32
    max_position_embeddings: int = 2048
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-5

    def as_dict(self) -> dict[str, float | int]:
        """The fields as a dictionary, ready for `config.json`."""
        return asdict(self)


def rotation_table(shape: Shape) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary positions, each (positions, head_dim), in the half-split layout of Llama."""
    exponent = torch.arange(0, shape.head_dim, 2).float() / shape.head_dim
    angle = torch.outer(torch.arange(shape.max_position_embeddings).float(), shape.rope_theta**-exponent)
    angle = torch.cat((angle, angle), dim=-1)
    return angle.cos(), angle.sin()


def rotate(heads: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn each head's vector (B, H, T, D) by the angle of its position."""
    first, second = heads.chunk(2, dim=-1)
    turned = torch.cat((-second, first), dim=-1)
    return (heads * cosine + turned * sine).to(heads.dtype)


class Attention(nn.Module):
    """Causal attention with grouped keys and values."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.head_dim = shape.head_dim
        width, inner = shape.hidden_size, shape.num_attention_heads * shape.head_dim
        shared = shape.num_key_value_heads * shape.head_dim
        self.q_proj = nn.Linear(width, inner, bias=False)
        self.k_proj = nn.Linear(width, shared, bias=False)
        self.v_proj = nn.Linear(width, shared, bias=False)
        self.o_proj = nn.Linear(inner, width, bias=False)

    def forward(
        self, hidden: Tensor, cosine: Tensor, sine: Tensor, cache: list[Tensor] | None, mask: Tensor | None
    ) -> Tensor:
        """Attend; with a cache (two tensors or empty) the new keys and values are appended to it."""
        batch, length, _ = hidden.shape

        def split(projected: Tensor) -> Tensor:
            return projected.view(batch, length, -1, self.head_dim).transpose(1, 2)

        query = rotate(split(self.q_proj(hidden)), cosine, sine)
        key, value = rotate(split(self.k_proj(hidden)), cosine, sine), split(self.v_proj(hidden))
        if cache is not None:
            if cache:
                key, value = torch.cat((cache[0], key), dim=2), torch.cat((cache[1], value), dim=2)
            cache[:] = [key, value]
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=mask is None)
        return self.o_proj(mixed.transpose(1, 2).reshape(batch, length, -1))


class FeedForward(nn.Module):
    """The gated feed-forward network (SwiGLU)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.up_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.down_proj = nn.Linear(shape.intermediate_size, shape.hidden_size, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """Apply the network to (B, T, hidden_size)."""
        return self.down_proj(functional.silu(self.gate_proj(hidden)) * self.up_proj(hidden))


class Layer(nn.Module):
    """One pre-norm transformer layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(shape.hidden_size, eps=shape.rms_norm_eps)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = nn.RMSNorm(shape.hidden_size, eps=shape.rms_norm_eps)
        self.mlp = FeedForward(shape)

    def forward(
        self, hidden: Tensor, cosine: Tensor, sine: Tensor, cache: list[Tensor] | None, mask: Tensor | None
    ) -> Tensor:
        """Attention, then feed-forward, each added to the residual stream."""
        hidden = hidden + self.self_attn(self.input_layernorm(hidden), cosine, sine, cache, mask)
        return hidden + self.mlp(self.post_attention_layernorm(hidden))


class Llama(nn.Module):
    """The whole network; the output matrix is the embedding (tied)."""

    cosine: Tensor
    sine: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        layers = [Layer(shape) for _ in range(shape.num_hidden_layers)]
        self.layers = nn.ModuleList(layers)
        self.norm = nn.RMSNorm(shape.hidden_size, eps=shape.rms_norm_eps)
        cosine, sine = rotation_table(shape)
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)
        self.apply(self._initialise)
        for layer in layers:
            # Layers that start as the identity train faster; see the residual zero-initialisation of nanochat.
            nn.init.zeros_(layer.self_attn.o_proj.weight)
            nn.init.zeros_(layer.mlp.down_proj.weight)

    @staticmethod
    def _initialise(module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.7 * module.in_features**-0.5)
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)

    def forward(
        self,
        tokens: Tensor,
        caches: list[list[Tensor]] | None = None,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Final hidden states (B, T, hidden_size) of token ids (B, T)."""
        length = tokens.shape[1]
        cosine, sine = self.cosine[:length], self.sine[:length]
        if positions is not None:
            cosine, sine = self.cosine[positions].unsqueeze(1), self.sine[positions].unsqueeze(1)
        hidden = self.embed_tokens(tokens)
        for index, layer in enumerate(self.layers):
            hidden = layer(hidden, cosine, sine, caches[index] if caches is not None else None, mask)
        return self.norm(hidden)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores over the vocabulary for hidden states (..., hidden_size)."""
        return functional.linear(hidden, self.embed_tokens.weight)

    def loss(self, tokens: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Mean weighted cross entropy; positions of weight zero cost no output matrix at all."""
        hidden = self(tokens).flatten(0, 1)
        chosen = weights.flatten().nonzero().squeeze(1)
        scores = self.logits(hidden[chosen]).float()
        each = functional.cross_entropy(scores, targets.flatten()[chosen], reduction="none")
        picked = weights.flatten()[chosen]
        return (each * picked).sum() / picked.sum()
