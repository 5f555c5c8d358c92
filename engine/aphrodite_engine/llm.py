"""A model in this process: load, ask, close."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from aphrodite_engine.admission import Admission, Params, checked_params, params_for_each
from aphrodite_engine.answers import acollect, astream, collect, collect_vectors, stream
from aphrodite_engine.asking.session import Asks
from aphrodite_engine.build import build_of
from aphrodite_engine.chat import ChatTemplate, find_template
from aphrodite_engine.config import EngineConfig
from aphrodite_engine.constraints.grammar import Grammars
from aphrodite_engine.embedding import default_pooling, encode_texts, normalized
from aphrodite_engine.engine import EngineStats
from aphrodite_engine.errors import EngineClosedError, ParameterError, UnsupportedModelError
from aphrodite_engine.inside.hooks import Hooks
from aphrodite_engine.inside.steering import Steering
from aphrodite_engine.loading.hub import resolve_model
from aphrodite_engine.loading.load import Loaded, load
from aphrodite_engine.loading.memory import return_to_system
from aphrodite_engine.loading.plan import MemoryPlan, plan_for
from aphrodite_engine.loading.sleeping import Sleeps
from aphrodite_engine.loading.weights_digest import weights_digest
from aphrodite_engine.loop import EngineLoop
from aphrodite_engine.maker import Maker
from aphrodite_engine.models.base import ModelConfig
from aphrodite_engine.models.registry import read_model_config
from aphrodite_engine.outputs import GenerationResult, Origin, TokenEvent
from aphrodite_engine.params import Pooling, SamplingParams, did_you_mean
from aphrodite_engine.progress import GenerationProgress, Report, loading_report
from aphrodite_engine.prompts import (
    Continuation,
    Continuations,
    Message,
    Prompt,
    as_conversations,
    as_prompts,
    continuation_for_each,
    is_conversation,
)
from aphrodite_engine.pulse import Pulse
from aphrodite_engine.request import Request
from aphrodite_engine.running.current_device import current
from aphrodite_engine.tokenizer import Tokenizer


class LLM(Asks, Hooks, Sleeps):
    """An engine of its own thread in this process; `with LLM("demo") as llm: ...`.

    Args:
        model: "demo" (bundled), a local folder, or a Hugging Face id.
        progress: show a bar while loading; or a function to call with (bytes read, bytes in all).
        **settings: fields of EngineConfig (dtype, device, max_model_len, download_dir, revision, ...).

    Raises:
        ModelError: the folder is missing, damaged or unsafe; UnsupportedModelError: no path runs it.
        MemoryPlanError: it does not fit; nothing was allocated.
        ParameterError: a setting is out of range or unknown.
    """

    def __init__(self, model: str | Path = "demo", *, progress: bool | Report = False, **settings: Any) -> None:
        super().__init__()
        self.model = str(model)
        self.config = _engine_config(settings)
        folder = resolve_model(self.model, self.config.download_dir, self.config.revision, self.config.offline)
        facts = read_model_config(folder, trust_remote_code=self.config.trust_remote_code)
        self._plan = plan_for(self.model, facts, self.config)
        with loading_report(self.model, progress) as report:
            loaded = load(facts, self._plan, self.config, report)
        self._loaded: Loaded | None = loaded
        self._plan = loaded.plan
        # Results outlive an LLM: they must not keep its weights.
        self._maker = Maker(weakref.ref(self))
        self._device = self.config.torch_device()
        self.build = build_of(weights_digest(folder), self._plan, self.config.determinism)
        self._tokenizer = loaded.tokenizer
        self._chat_template: ChatTemplate | None = None
        self._encoder_lock, self._encoder_pulse = threading.Lock(), Pulse()
        self._admission = Admission(
            tokenizer=loaded.tokenizer,
            vocab_size=facts.vocab_size,
            max_model_len=self._plan.max_model_len,
            eos_token_ids=loaded.eos_token_ids,
            seed=self.config.seed,
            grammars=Grammars(loaded.tokenizer, facts.vocab_size, loaded.eos_token_ids),
        )
        self._loop = EngineLoop(loaded.engine) if loaded.engine else None
        if self._loop:
            # An LLM that is dropped without close() still ends its thread. At interpreter exit too: Python kills a
            # daemon thread where it stands, and inside torch that aborts the process (SIGABRT, "terminate called").
            weakref.finalize(self, self._loop.stop)

    # ---- what there is

    @property
    def plan(self) -> MemoryPlan:
        """Memory by purpose, as it was allocated."""
        return self._plan

    @property
    def max_model_len(self) -> int:
        return self._plan.max_model_len

    @property
    def fingerprint(self) -> str:
        """Equal fingerprints give equal tokens for equal requests."""
        return self.build.fingerprint

    @property
    def facts(self) -> ModelConfig:
        """What the model folder says about the model."""
        return self._require_open().facts

    @property
    def chat_template(self) -> str:
        """Source of the model's chat template; "" where it has none."""
        return (find_template(self._tokenizer) or "") if self._tokenizer else ""

    def tokenize(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Token ids of a text; none for an empty one where the model adds none of its own."""
        if not isinstance(text, str):
            raise ParameterError("text", text, "a string")
        return self._text_tokenizer().encode(text, add_special_tokens)

    def detokenize(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """Text of token ids."""
        return self._text_tokenizer().decode(self._admission.checked_ids("token_ids", token_ids), skip_special_tokens)

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes a token stands for; those of its text where the tokenizer is not byte-level."""
        tokenizer = self._text_tokenizer()
        return tokenizer.token_bytes(token_id) if tokenizer.is_byte_level else tokenizer.token_text(token_id).encode()

    @property
    def has_tokenizer(self) -> bool:
        """Whether text can be given and is returned; otherwise token ids only."""
        return self._tokenizer is not None

    @property
    def added_tokens(self) -> dict[str, int]:
        """Ids of tokens outside the tokenizer's own words, by their text: marks of turns, calls and thoughts."""
        return self._tokenizer.added_tokens if self._tokenizer else {}

    @property
    def special_ids(self) -> frozenset[int]:
        """Ids that are left out of text unless asked for."""
        return self._tokenizer.special_ids if self._tokenizer else frozenset()

    def render_chat(self, messages: Sequence[Message], /, **template: Any) -> str:
        """A conversation as the prompt text the model sees (tools=..., add_generation_prompt=...).

        Raises:
            ParameterError: a sampling parameter, which no template knows and which would be lost in it.
            ChatTemplateError: the model has no template, or the template refuses the conversation.
        """
        for name in template.keys() & set(SamplingParams.field_names()):
            allowed = f"a field of SamplingParams({name}=...), not of the chat template"
            raise ParameterError(name, template[name], allowed)
        if self._chat_template is None:
            self._chat_template = ChatTemplate(self._text_tokenizer())
        return self._chat_template.render(messages, **template)

    def _text_tokenizer(self) -> Tokenizer:
        if self._tokenizer is None:
            raise UnsupportedModelError(f"{self.model} has no tokenizer: it takes and gives token ids only")
        return self._tokenizer

    # ---- generation

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        sampling_params: Params = None,
        *,
        progress: bool = False,
        priority: int = 0,
        cache_salt: str = "",
        continuation: Continuations = None,
    ) -> list[GenerationResult]:
        """Complete one prompt or many together; one result a prompt, in their order.

        Args:
            prompts: a string, a list of ids, or a list of those.
            sampling_params: one for all, or one for each prompt.
            cache_salt: cached prefixes are shared only between calls of the same salt.
            continuation: output tokens to go on behind, as if they had been drawn; one for all, or one for each prompt.

        Raises:
            ParameterError, ContextOverflowError: before anything runs.
            KeyboardInterrupt: the call's requests are aborted; the engine stays usable.
        """
        many = as_prompts(prompts)
        requests = self._admit_all(
            many, sampling_params, priority=priority, cache_salt=cache_salt, continuation=continuation
        )
        return self._collect(requests, progress)

    def chat(
        self,
        messages: Sequence[Message] | Sequence[Sequence[Message]],
        sampling_params: Params = None,
        *,
        progress: bool = False,
        priority: int = 0,
        cache_salt: str = "",
        continuation: Continuations = None,
        **template: Any,
    ) -> list[GenerationResult]:
        """Answer one conversation or many; `template` goes to the chat template (tools, add_generation_prompt)."""
        texts = [self.render_chat(conversation, **template) for conversation in as_conversations(messages)]
        requests = self._admit_all(
            texts, sampling_params, add_special_tokens=False, priority=priority, cache_salt=cache_salt,
            continuation=continuation,
        )  # fmt: skip
        return self._collect(requests, progress)

    def stream(
        self,
        prompt: Prompt | Sequence[Message],
        sampling_params: SamplingParams | None = None,
        *,
        priority: int = 0,
        cache_salt: str = "",
        continuation: Continuation | None = None,
        **template: Any,
    ) -> Iterator[TokenEvent]:
        """Events of one prompt or conversation as they come. Closing the iterator, or an interrupt, aborts."""
        request = self._admit_one(
            prompt, sampling_params, template, priority=priority, cache_salt=cache_salt, continuation=continuation
        )
        return stream(self._running_loop(), request, self._origin(request))

    def _collect(self, requests: list[Request], progress: bool) -> list[GenerationResult]:
        loop, origins = self._running_loop(), list(map(self._origin, requests))
        with GenerationProgress(requests, self.max_model_len, enabled=progress) as bar:
            return collect(loop, requests, origins, bar.update)

    def _origin(self, request: Request) -> Origin:
        return Origin(
            self.model, self.build, request.params, request.prompt, request.prompt_token_ids,
            request.continuation, request.cache_salt, request.steering, self._maker,
        )  # fmt: skip

    def _steered_by(self, steering: Steering) -> AbstractContextManager[None]:
        return self._admission.steering.exactly(steering)

    # ---- for whoever serves many callers at once

    def admit(
        self,
        prompt: Prompt | Sequence[Message],
        sampling_params: SamplingParams | None = None,
        *,
        priority: int = 0,
        cache_salt: str = "",
        continuation: Continuation | None = None,
        **template: Any,
    ) -> Request:
        """Check and tokenize one prompt or conversation; `submit` runs it.

        Raises:
            ParameterError, ContextOverflowError, ChatTemplateError: it cannot run on this model.
        """
        return self._admit_one(
            prompt, sampling_params, template, priority=priority, cache_salt=cache_salt, continuation=continuation
        )

    def submit(self, request: Request, sink: Callable[[TokenEvent], None]) -> None:
        """Queue an admitted request and return at once.

        Args:
            sink: called in the engine's thread with each event of the request, so it must not block.
        """
        self._running_loop().submit(request, sink)

    def abort(self, request_id: str) -> None:
        """End a submitted request before the next step; unknown and finished ones are ignored."""
        if self._loop is not None:
            self._loop.abort(request_id)

    def stats(self) -> EngineStats:
        """What the engine does at this moment; of an encoder only its step."""
        engine = self._require_open().engine
        if engine:
            return engine.stats()
        seconds, tokens = self._encoder_pulse.read()
        return EngineStats(step_seconds=seconds, step_tokens=tokens)

    # ---- vectors

    def embed(
        self, texts: Prompt | Sequence[Prompt], *, pooling: Pooling | None = None, normalize: bool = True
    ) -> np.ndarray:
        """Vectors (len(texts), hidden) float32.

        Args:
            pooling: "mean", "cls" or "last"; None is what the model folder names, else mean for encoders and last
                for decoders.
            normalize: to length 1, so that dot products are cosines.
        """
        many = as_prompts(texts)
        how = self._pooling(pooling)
        if self._loop is None:
            vectors = self._encode(many, how)
        else:
            vectors = self._embed_with_decoder(many, how)
        return normalized(vectors) if normalize else vectors

    def _encode(self, texts: Sequence[Prompt], pooling: Pooling) -> np.ndarray:
        loaded = self._require_awake()
        assert loaded.encoder is not None
        sequences = [list(self._admission.admit(t, SamplingParams(), pooling=pooling).prompt_token_ids) for t in texts]
        with self._at_the_encoder(loaded, sum(map(len, sequences))):
            return encode_texts(loaded.encoder, sequences, pooling)

    def _encoder_states(self, token_ids: Sequence[int], layers: Sequence[int]) -> dict[int, np.ndarray]:
        loaded = self._require_awake()
        assert loaded.encoder is not None
        with self._at_the_encoder(loaded, len(token_ids)):
            states = loaded.encoder.states(token_ids, layers)
            return {layer: state.cpu().numpy() for layer, state in states.items()}

    @contextmanager
    def _at_the_encoder(self, loaded: Loaded, num_tokens: int) -> Iterator[None]:
        """An encoder has no thread of its own: whoever calls has it for a while."""
        with self._encoder_lock, current(loaded.device), self._encoder_pulse.during(num_tokens):
            yield

    def _embed_with_decoder(self, texts: Sequence[Prompt], pooling: Pooling) -> np.ndarray:
        if pooling == "cls":
            raise ParameterError(
                "pooling", pooling, "'mean' or 'last' for a decoder, whose first token sees only itself"
            )
        requests = [self._admission.admit(text, SamplingParams(), pooling=pooling) for text in texts]
        return collect_vectors(self._running_loop(), requests)

    def _pooling(self, pooling: Pooling | None) -> Pooling:
        if pooling not in (None, "mean", "cls", "last"):
            raise ParameterError("pooling", pooling, "'mean', 'cls' or 'last'")
        return pooling or default_pooling(self._require_open().facts)

    # ---- async twins

    async def agenerate(
        self,
        prompts: Prompt | Sequence[Prompt],
        sampling_params: Params = None,
        *,
        priority: int = 0,
        cache_salt: str = "",
        continuation: Continuations = None,
    ) -> list[GenerationResult]:
        """generate() that leaves the event loop free; cancelling the task aborts its requests."""
        many = as_prompts(prompts)
        requests = self._admit_all(
            many, sampling_params, priority=priority, cache_salt=cache_salt, continuation=continuation
        )
        return await acollect(self._running_loop(), requests, list(map(self._origin, requests)))

    async def achat(
        self,
        messages: Sequence[Message] | Sequence[Sequence[Message]],
        sampling_params: Params = None,
        *,
        priority: int = 0,
        cache_salt: str = "",
        continuation: Continuations = None,
        **template: Any,
    ) -> list[GenerationResult]:
        """chat() that leaves the event loop free."""
        texts = [self.render_chat(conversation, **template) for conversation in as_conversations(messages)]
        requests = self._admit_all(
            texts, sampling_params, add_special_tokens=False, priority=priority, cache_salt=cache_salt,
            continuation=continuation,
        )  # fmt: skip
        return await acollect(self._running_loop(), requests, list(map(self._origin, requests)))

    def astream(
        self,
        prompt: Prompt | Sequence[Message],
        sampling_params: SamplingParams | None = None,
        *,
        priority: int = 0,
        cache_salt: str = "",
        continuation: Continuation | None = None,
        **template: Any,
    ) -> AsyncGenerator[TokenEvent]:
        """stream() as an async iterator; cancelling or closing it aborts."""
        request = self._admit_one(
            prompt, sampling_params, template, priority=priority, cache_salt=cache_salt, continuation=continuation
        )
        return astream(self._running_loop(), [request], self._origin(request))

    async def aembed(
        self, texts: Prompt | Sequence[Prompt], *, pooling: Pooling | None = None, normalize: bool = True
    ) -> np.ndarray:
        """embed() in a thread, so that the event loop stays free."""
        return await asyncio.to_thread(self.embed, texts, pooling=pooling, normalize=normalize)

    # ---- lifecycle

    def close(self) -> None:
        """End running requests, stop the thread and give all memory back. May be called twice."""
        if self._loop is not None:
            self._loop.stop()
        self._admission.grammars.close()
        if self._loaded is not None:
            self._loaded.release()
            self._loaded = None
            return_to_system(self._device)

    def __enter__(self) -> LLM:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- admission

    def _admit_one(
        self, prompt: Prompt | Sequence[Message], params: SamplingParams | None, template: dict[str, Any], **more: Any
    ) -> Request:
        self._running_loop()
        if is_conversation(prompt):
            text = self.render_chat(prompt, **template)  # type: ignore[arg-type]
            return self._admission.admit(text, checked_params(params), add_special_tokens=False, **more)
        if template:
            raise ParameterError(next(iter(template)), next(iter(template.values())), "only with messages")
        return self._admission.admit(prompt, checked_params(params), **more)  # type: ignore[arg-type]

    def _admit_all(
        self, prompts: Sequence[Prompt], params: Params, *, continuation: Continuations, **more: Any
    ) -> list[Request]:
        self._running_loop()
        each = zip(
            prompts, params_for_each(prompts, params), continuation_for_each(len(prompts), continuation), strict=True
        )
        return [self._admission.admit(prompt, own, continuation=begun, **more) for prompt, own, begun in each]

    def _running_loop(self) -> EngineLoop:
        loaded = self._require_awake()
        if self._loop is None:
            raise UnsupportedModelError(
                f"{self.model} ({loaded.facts.architecture}) is an encoder: it embeds, but cannot generate"
            )
        return self._loop

    def _require_open(self) -> Loaded:
        if self._loaded is None:
            raise EngineClosedError("this engine was closed; create a new LLM")
        return self._loaded


def _engine_config(settings: dict[str, Any]) -> EngineConfig:
    known = [f.name for f in dataclasses.fields(EngineConfig)]
    for name, value in settings.items():
        if name not in known:
            raise ParameterError(name, value, did_you_mean(name, ["model", "progress", *known]))
    return EngineConfig(**settings)
