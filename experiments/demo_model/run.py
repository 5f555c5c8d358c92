"""One command for the whole model: tokenizer, training (resumes), export, exam, card.

`python experiments/demo_model/run.py` from the root of the project; stop it at any time, the same command goes on.
"""

import json
import os
from datetime import date
from pathlib import Path

import card
import tokenizer as tokenizer_training
import torch
from evaluate import EXAMS, SEED, Mark, examine
from export import export, load
from model import Shape
from samples import samples
from tokenizers import Tokenizer
from train import SEED as TRAINING_SEED
from train import Run, mean_weights, train

HERE = Path(__file__).parent
WORK = HERE / "scratch"
SHIPPED = HERE.parent.parent / "engine" / "aphrodite_engine" / "demo"
ITEMS = 200


def prepared_tokenizer() -> Tokenizer:
    """The tokenizer of an earlier start, or a new one."""
    if not (WORK / "tokenizer.json").exists():
        tokenizer_training.save(tokenizer_training.train(TRAINING_SEED), WORK)
    return Tokenizer.from_file(str(WORK / "tokenizer.json"))


def device() -> str:
    """The processor in words, with the number of cores that torch uses."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"{torch.get_num_threads()} cores of {models[0].split(':')[1].strip() if models else os.uname().machine}"


def exam(folder: Path, tokenizer: Tokenizer, run: Run) -> dict[str, object]:
    """The figures of the card, measured on the exported files."""
    model = load(folder)
    marks: dict[str, Mark] = {}
    for name, one in EXAMS.items():
        marks[name] = examine(model, tokenizer, one, ITEMS)
        print(f"{name}: {marks[name].right} of {ITEMS}", flush=True)
    return {
        "date": date.today().isoformat(),
        "torch": torch.__version__,
        "seed": SEED,
        "model": {
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "file_bytes": (folder / "model.safetensors").stat().st_size,
        },
        "training": {"steps": run.step, "tokens": run.tokens, "seconds": round(run.seconds), "device": device()},
        "skills": {
            name: {
                "exact": mark.right / mark.items,
                "right": mark.right,
                "items": mark.items,
                "mean_prompt_tokens": round(mark.mean_prompt_tokens, 1),
            }
            for name, mark in marks.items()
        },
        "samples": samples(model, tokenizer),
    }


def main() -> None:
    """Run every stage that is not done yet; the exam always runs."""
    tokenizer = prepared_tokenizer()
    run = train(tokenizer, Shape(vocab_size=tokenizer.get_vocab_size()), WORK)
    export(mean_weights(run, WORK), tokenizer, SHIPPED)
    results = exam(SHIPPED, tokenizer, run)
    (HERE / "results.json").write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    card.write(HERE)


if __name__ == "__main__":
    main()
