"""The bundled model: a small Llama with measured skills, so that a first run needs no network."""

from pathlib import Path


def path() -> Path:
    """The folder with the configuration, the weights and the tokenizer."""
    return Path(__file__).parent
