"""Any causal language model of transformers, through its attention interface: our KV cache and attention, its modules.

Nothing is taken on trust. On the meta device a probe sees every attention layer call ours, before a weight is read;
after loading, the model is compared with its own eager forward and with itself in another batch (probe.py). What fails
is refused by name rather than run wrongly.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import transformers
from transformers.integrations.moe import ExpertsInterface
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from aphrodite_engine.errors import UnsupportedModelError
from aphrodite_engine.loading.memory import return_to_system
from aphrodite_engine.models.base import KVLayerSpec, KVTensors, LoadOptions, ModelConfig
from aphrodite_engine.models.experts import EXPERTS, EvenRows, PackedExperts, is_experts, pack_experts, strict_experts
from aphrodite_engine.models.folder import ModelFolder
from aphrodite_engine.models.layer_stack import LayerSearch
from aphrodite_engine.models.llama_family import FAST_ARCHITECTURES
from aphrodite_engine.models.paged import ATTENTION, PagedStep, ShapeProbe, StepHolder, paged_attention
from aphrodite_engine.models.pretrained import load_pretrained, one_line, read_pretrained_config
from aphrodite_engine.models.probe import check_faithful, disturbed, probe_rows, probe_tokens
from aphrodite_engine.models.strict import StrictMode
from aphrodite_engine.models.taps import Taps
from aphrodite_engine.running.batch import Batch


def read_universal_config(folder: ModelFolder, held_as: torch.dtype) -> ModelConfig:
    """The facts of a model that has no fast path, found by building it on the meta device.

    Raises:
        UnsupportedModelError: transformers has no such causal model, or the model's attention can't be ours.
    """
    config = _transformers_config(folder)
    model = _meta_model(folder, config)
    text = config.get_text_config(decoder=True)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    return ModelConfig(
        folder=folder.path,
        architecture=folder.architecture,
        path="universal",
        vocab_size=text.vocab_size,
        hidden_size=text.hidden_size,
        num_layers=text.num_hidden_layers,
        max_position=_max_position(folder, text),
        kv_layers=_attention_layers(folder, model),
        num_parameters=num_parameters,
        weight_bytes=num_parameters * held_as.itemsize,
        eos_token_ids=folder.eos_token_ids,
        dtype=folder.dtype,
    )


class UniversalDecoder:
    """A transformers causal model in memory (models.base.Decoder)."""

    def __init__(self, config: ModelConfig, folder: ModelFolder, options: LoadOptions) -> None:
        """Load the weights, and prove that the model is computed faithfully.

        Raises:
            ModelError: the weights do not fit config.json.
            UnsupportedModelError: our results differ from the model's own.
        """
        self.config = config
        hf_config = _transformers_config(folder)
        model_class = type(_meta_model(folder, hf_config))
        hf_config._attn_implementation = ATTENTION
        model = load_pretrained(model_class, hf_config, folder.path, options)
        self._model, self._body, self._holder = model, model.get_decoder(), StepHolder()
        self._holder.attach(self._body)
        # logits() runs the model's own head, whatever it scales or caps, on hidden states that are already there.
        place = next(name for name, module in model.named_modules() if module is self._body)
        self._shortcut = _Shortcut(self._body)
        model.set_submodule(place, self._shortcut)
        search = LayerSearch(self._body, config.num_layers, config.hidden_size)
        with search.watching():
            eager = self._eager_logits(0.0)
        shaken = self._eager_logits(torch.finfo(options.dtype).eps / 2)
        self._stack, self._dtype = search.found(), options.dtype
        self.can_be_tapped = self._stack is not None
        self._strict = self._make_strict() if options.determinism == "strict" else None
        return_to_system(options.device)  # holes that merging and packing left in the heap: a tenth of the model
        check_faithful(self, eager, shaken, options)

    @torch.inference_mode()
    def forward(self, batch: Batch, kv: KVTensors, taps: Taps | None = None) -> torch.Tensor:
        self._holder.step = PagedStep(batch, kv)
        with self._strict or contextlib.nullcontext(), self._tapped(taps):
            output = self._body(**_inputs(batch.token_ids[None], batch.positions[None]))
        self._holder.step = None
        return output.last_hidden_state[0]

    @torch.inference_mode()
    def logits(self, hidden: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        with self._strict or contextlib.nullcontext():
            logits = self._model(inputs_embeds=hidden[None], use_cache=False).logits[0].float()
        return logits if out is None else out.copy_(logits)

    @torch.inference_mode()
    def finish(self, states: torch.Tensor) -> torch.Tensor:
        """The model's own code around its layers, which step aside: no name of a norm or a projection is needed."""
        assert self._stack is not None
        tokens = torch.zeros(1, len(states), dtype=torch.int64, device=states.device)
        with self._strict or contextlib.nullcontext(), self._stack.ending_with(states.to(self._dtype)[None]):
            return self._body(**_inputs(tokens, tokens)).last_hidden_state[0]

    def tensors(self) -> Iterator[torch.Tensor]:
        yield from (*self._model.parameters(), *self._model.buffers())
        if self._strict is not None:
            yield from self._strict.tensors()
            for module in filter(is_experts, self._model.modules()):
                packed: PackedExperts = module.packed_experts  # type: ignore[assignment]
                yield from packed.tensors()

    def _tapped(self, taps: Taps | None) -> contextlib.AbstractContextManager[None]:
        if taps is None:
            return contextlib.nullcontext()
        assert self._stack is not None
        return self._stack.tapped(taps)

    def _make_strict(self) -> StrictMode:
        """Pack the weights, after which the model runs only within the mode."""
        strict = StrictMode.over(self._model)
        for module in filter(is_experts, self._model.modules()):
            pack_experts(module)
        _use_experts(self._model, EXPERTS)
        return strict

    @torch.inference_mode()
    def _eager_logits(self, disturbance: float) -> torch.Tensor:
        """Logits of the probe tokens by the model's own attention and modules, their embeddings disturbed this much.

        Of the probe rows only: the model's own forward would compute and cap them for every token.
        """
        tokens = torch.tensor([probe_tokens(self.config)], device=self._model.device)
        positions = torch.arange(tokens.shape[1], device=tokens.device)[None]
        self._model.set_attn_implementation("eager")
        _use_experts(self._model, "eager")
        shorter = self._shortcut.keeping(probe_rows(tokens[0].tolist()))
        even = EvenRows(tokens.shape[1])
        with shorter, even, disturbed(self._body.get_input_embeddings(), disturbance):
            logits = self._model(**_inputs(tokens, positions)).logits[0].float()
        self._model.set_attn_implementation(ATTENTION)
        return logits


class _Shortcut(torch.nn.Module):
    """A model's body that steps aside when it is given hidden states, so that only the head around it runs."""

    def __init__(self, body: torch.nn.Module) -> None:
        super().__init__()
        self.body = body
        self._output_class: Any = None
        self._kept: Sequence[int] | None = None

    @contextlib.contextmanager
    def keeping(self, rows: Sequence[int]) -> Iterator[None]:
        """The head around sees only these rows of the body's hidden states."""
        self._kept = rows
        yield
        self._kept = None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("inputs_embeds") is not None:
            return self._output_class(last_hidden_state=kwargs["inputs_embeds"])
        output = self.body(*args, **kwargs)
        self._output_class = type(output)
        if self._kept is not None:
            output.last_hidden_state = output.last_hidden_state[:, self._kept]
        return output


def _transformers_config(folder: ModelFolder) -> Any:
    known = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()
    if folder.architecture not in known and not folder.trust_remote_code:
        raise UnsupportedModelError(
            f"{folder.config_file}: architecture {folder.architecture!r} is not supported. Supported: "
            f"{', '.join(FAST_ARCHITECTURES)}; BERT and RoBERTa encoders; and, where their attention allows it, "
            f"transformers {transformers.__version__}'s causal models: {', '.join(sorted(set(known)))}"
        )
    return read_pretrained_config(folder)


def _meta_model(folder: ModelFolder, config: Any) -> Any:
    """The model without memory, set to call our attention."""
    transformers.AttentionInterface.register(ATTENTION, paged_attention)
    ExpertsInterface.register(EXPERTS, strict_experts)
    try:
        with torch.device("meta"):
            model = transformers.AutoModelForCausalLM.from_config(
                config, attn_implementation=ATTENTION, trust_remote_code=folder.trust_remote_code
            )
    except (KeyError, ValueError, TypeError) as error:  # KeyError: it looks attention up in a table of its own
        raise _refusal(folder, f"transformers can't build it with our attention: {one_line(error)}") from error
    if type(model).__name__ != folder.architecture:
        raise _refusal(folder, f"its model_type {config.model_type!r} is that of {type(model).__name__}")
    if model.get_decoder() is model:
        raise _refusal(folder, "its body and its head are one module")
    _use_experts(model, EXPERTS)
    return model.eval()


def _attention_layers(folder: ModelFolder, model: Any) -> tuple[KVLayerSpec, ...]:
    """The cache that each attention layer needs, in the order in which the layers call our attention."""
    probe, tokens = ShapeProbe(), torch.zeros(1, 4, dtype=torch.int64, device="meta")
    body = model.get_decoder()
    StepHolder(probe).attach(body)
    try:
        body(**_inputs(tokens, tokens))
    except (TypeError, ValueError, RuntimeError, AttributeError, UnsupportedModelError) as error:
        raise _refusal(folder, one_line(error)) from error
    if not probe.kv_layers:
        raise _refusal(folder, "its attention never calls ours")
    return tuple(probe.kv_layers)


def _max_position(folder: ModelFolder, config: Any) -> int:
    """The context for which positions mean the same in every batch: longrope changes for all of them beyond its
    original length, so that is where it ends here."""
    limit = getattr(config, "max_position_embeddings", None)
    if type(limit) is not int or limit < 1:
        raise _refusal(folder, "no max_position_embeddings")
    rope = getattr(config, "rope_parameters", None) or {}
    for part in (rope, *(value for value in rope.values() if isinstance(value, dict))):
        if part.get("rope_type") == "longrope":
            limit = min(limit, part["original_max_position_embeddings"])
    return limit


def _inputs(token_ids: torch.Tensor, positions: torch.Tensor) -> dict[str, Any]:
    """Keywords of a body's forward: one row of tokens. No mask is made of the ones; without them some models read the
    tokens, looking for padding to warn about."""
    mask = torch.ones_like(token_ids)
    return {"input_ids": token_ids, "position_ids": positions, "attention_mask": mask, "use_cache": False}


def _use_experts(model: Any, implementation: str) -> None:
    for module in model.modules():
        if is_experts(module):
            module.config._experts_implementation = implementation


def _refusal(folder: ModelFolder, reason: str) -> UnsupportedModelError:
    return UnsupportedModelError(f"{folder.architecture} can't run here: {reason}")
