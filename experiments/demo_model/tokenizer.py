"""Train the tokenizer: byte-level BPE over a sample of the training data, every digit a token of its own."""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random

import chat
from corpus import Diet, conversation
from skills import words
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

VOCABULARY = 4096
_DOCUMENTS = 30_000


def texts(seed: int) -> Iterator[str]:
    """Documents of the mixture, plus the word lists in the ways they are written."""
    random = Random(f"{seed}/tokenizer")
    lists = (words.NAMES, words.CITIES, words.PLAIN)
    for _ in range(50):
        for entry in (entry for group in lists for entry in group):
            yield f"{entry} {entry}\n{entry.capitalize()} {entry.capitalize()}"
    for _ in range(_DOCUMENTS):
        text = "".join(piece for piece, _ in conversation(random, Diet(256)))
        for special in (*chat.SPECIAL, *chat.MARKERS):
            text = text.replace(special, "\n")
        yield text


def train(seed: int) -> Tokenizer:
    """The trained tokenizer; raw text gets the begin token, a rendered conversation brings its own."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(  # pyright: ignore[reportAttributeAccessIssue]
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(chat.MARKERS),
        special_tokens=list(chat.SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(seed), trainer)
    # The markers of a tool call are ordinary text to a reader, so decoding must not skip them.
    tokenizer.add_tokens([AddedToken(marker, special=False, normalized=False) for marker in chat.MARKERS])
    begin = tokenizer.token_to_id(chat.BEGIN)
    tokenizer.post_processor = processors.TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue]
        single=f"{chat.BEGIN} $A", pair=f"{chat.BEGIN} $A $B", special_tokens=[(chat.BEGIN, begin)]
    )
    return tokenizer


def configuration() -> dict[str, object]:
    """The contents of `tokenizer_config.json`."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": chat.BEGIN,
        "eos_token": chat.END,
        "pad_token": chat.END,
        "additional_special_tokens": [chat.SYSTEM, chat.USER, chat.ASSISTANT, chat.TOOL, chat.TURN_END],
        "model_max_length": 2048,
        "clean_up_tokenization_spaces": False,
        "chat_template": chat.TEMPLATE,
    }


def save(tokenizer: Tokenizer, folder: Path) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(configuration(), indent=2) + "\n")
