"""From the name a user types to a folder with a model in it: `demo`, a local folder, or a Hugging Face id."""

from __future__ import annotations

import os
from pathlib import Path

from aphrodite_engine.errors import ModelError

#: Weights as safetensors, configuration, tokenizer and chat template; no pickles and no Python code.
ALLOWED_FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
#: Second copies of the weights in other layouts, which some repositories carry.
IGNORED_FILES = ("*/*.safetensors", "consolidated*.safetensors")


def resolve_model(
    model: str,
    download_dir: str | Path | None = None,
    revision: str | None = None,
    offline: bool | None = None,
) -> Path:
    """The local folder of a model, downloaded first if it is a Hugging Face id that is not in the cache.

    Args:
        model: "demo" (the bundled model), a folder, or an id such as "Qwen/Qwen3-0.6B".
        download_dir: the Hugging Face cache to use; None is the user's own (HF_HOME, HF_HUB_CACHE).
        revision: branch, tag or commit of a Hugging Face id.
        offline: True never asks the network; None leaves it to HF_HUB_OFFLINE.

    Raises:
        ModelError: no such folder, and the hub does not have it or could not be reached.
    """
    if model == "demo":
        from aphrodite_engine import demo

        return demo.path()
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise ModelError(f"{model} is a file; give the folder that holds config.json and the weights")
    return _download(model, download_dir, revision, offline)


def _download(model: str, download_dir: str | Path | None, revision: str | None, offline: bool | None) -> Path:
    # Imported here: 0.3 s that a local folder need not pay.
    from huggingface_hub import errors, snapshot_download

    try:
        path = snapshot_download(
            model,
            revision=revision,
            cache_dir=download_dir,
            local_files_only=bool(offline),
            # The hub's client reads its environment when imported; a notebook may set the endpoint later.
            endpoint=os.environ.get("HF_ENDPOINT"),
            allow_patterns=list(ALLOWED_FILES),
            ignore_patterns=list(IGNORED_FILES),
        )
    except (errors.HFValidationError, errors.EntryNotFoundError, _transport_error(), OSError) as error:
        raise ModelError(f"no folder {model!r}, and {_reason(model, revision, error)}; {_ADVICE}") from error
    return Path(path)


def _transport_error() -> type[Exception]:
    """The HTTP library's own root error: the hub's client moved from httpx to httpx2, so it is asked, not imported."""
    from huggingface_hub.errors import HfHubHTTPError

    return next(base for base in HfHubHTTPError.__mro__ if base.__name__ == "HTTPError")


_ADVICE = "give a local folder, a Hugging Face id, or `demo`"


def _reason(model: str, revision: str | None, error: Exception) -> str:
    from huggingface_hub import errors

    if isinstance(error, errors.HFValidationError):
        return "it is not a Hugging Face id"
    if isinstance(error, errors.GatedRepoError):
        return "the hub asks for a login that may read it (HF_TOKEN)"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "the hub has no such model (or it is private: HF_TOKEN)"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"the hub's model has no revision {revision!r}"
    first_line = str(error.__cause__ or error).strip().split("\n")[0]
    return f"the hub could not be reached and its cache has no complete copy ({type(error).__name__}: {first_line})"
