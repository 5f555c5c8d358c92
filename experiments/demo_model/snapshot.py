"""Export the last checkpoint of a training that still runs: `python snapshot.py FOLDER`."""

import sys
from pathlib import Path

import torch
from export import export
from model import Llama, Shape
from run import WORK, prepared_tokenizer


def main(folder: Path) -> None:
    """Write the folder and say how far the training was."""
    tokenizer = prepared_tokenizer()
    model = Llama(Shape(vocab_size=tokenizer.get_vocab_size()))
    state = torch.load(WORK / "checkpoint.pt", weights_only=True)
    model.load_state_dict(state["model"])
    export(model, tokenizer, folder)
    print(f"step {state['step']}, {state['tokens']:,} tokens")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
