"""One command for the whole model: tokenizer, training (resumes), export, exam. `python experiments/demo_model/run.py`"""

from pathlib import Path

from tokenizers import Tokenizer

import tokenizer as tokenizer_training
from model import Shape
from train import SEED, train

HERE = Path(__file__).parent
WORK = HERE / "work"


def prepared_tokenizer() -> Tokenizer:
    """The tokenizer of an earlier start, or a new one."""
    if not (WORK / "tokenizer.json").exists():
        tokenizer_training.save(tokenizer_training.train(SEED), WORK)
    return Tokenizer.from_file(str(WORK / "tokenizer.json"))


def main() -> None:
    """Run every stage that is not done yet."""
    tokenizer = prepared_tokenizer()
    train(tokenizer, Shape(vocab_size=tokenizer.get_vocab_size()), WORK)


if __name__ == "__main__":
    main()
