"""The engine's errors: each names the thing, the value and what is allowed."""


class AphroditeError(Exception):
    """Root of every error this project raises on purpose."""


class ParameterError(AphroditeError, ValueError):
    """A request or engine parameter is out of range, of the wrong type, or unknown.

    Attributes:
        field: name of the offending parameter.
        value: what was given.
        allowed: what would have been accepted, in words.
    """

    def __init__(self, field: str, value: object, allowed: str) -> None:
        self.field, self.value, self.allowed = field, value, allowed
        shown = repr(value)
        if len(shown) > 80:
            shown = shown[:77] + "..."
        super().__init__(f"{field}={shown} is not allowed: {allowed}")


class ContextOverflowError(ParameterError):
    """A prompt does not fit the context together with at least one output token.

    Attributes:
        num_tokens: of the prompt; of its beginning where that alone is too long.
    """

    def __init__(self, num_tokens: int, max_model_len: int, *, of_beginning: bool = False) -> None:
        super().__init__(
            "prompt",
            f"{'more than ' if of_beginning else ''}{num_tokens} tokens",
            f"at most {max_model_len - 1} prompt tokens fit max_model_len={max_model_len} with one output token; "
            "shorten the prompt, or raise max_model_len if the model was made for more",
        )
        self.num_tokens, self.max_model_len = num_tokens, max_model_len


class ModelError(AphroditeError):
    """A model folder is missing, damaged, unsafe, or of a kind that is not supported."""


class UnsupportedModelError(ModelError):
    """The model is well formed but this engine does not run it."""


class ChatTemplateError(AphroditeError, ValueError):
    """The model has no chat template, or the template refused the conversation."""


class MemoryPlanError(AphroditeError):
    """The model and its KV cache do not fit the memory that may be used."""


class EngineClosedError(AphroditeError, RuntimeError):
    """The engine was closed; create a new one."""


class EngineAsleepError(EngineClosedError):
    """The engine sleeps; wake it first."""


class OriginError(AphroditeError, RuntimeError):
    """A result does not know what it was made from, or its maker is gone."""
