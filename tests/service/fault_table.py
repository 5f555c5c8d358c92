"""The table in README.md: which test covers which fault. `python -m tests.service.fault_table` writes it anew."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).parent
README = HERE / "README.md"
_TEST = re.compile(r"^(?:async )?def (test_(?:fault_(?P<number>\d+)|(?P<note>n\d))_\w+)", re.MULTILINE)

#: Every line of the list of faults, in short; "later" where what it attacks does not exist yet.
FAULTS = {
    "1": "bodies that are no JSON object",
    "2": "wrong content types",
    "3": "JSON nested 100,000 deep",
    "4": "bodies over the limit, with and without a length",
    "5": "huge headers, many headers",
    "6": "NaN and infinities",
    "7": "every number out of its range",
    "8": "best_of below n",
    "9": "no prompts, empty prompts, too many prompts",
    "10": "token ids that are none",
    "11": "half characters, NUL, 10 MB without a space, bidi",
    "12": "one token over the context",
    "13": "logit_bias that is none, or a million entries",
    "14": "stop strings: empty, ten thousand",
    "15": "regexes that are bombs",
    "16": "schemas that are bombs, or point elsewhere",
    "17": "ten thousand schemas",
    "18": "tools and choices that do not fit",
    "19": "chat templates and their arguments from a request",
    "20": "messages that are none",
    "21": "media addresses",
    "22": "prompt embeddings and pickles",
    "23": "addresses and forwarding headers in a request",
    "24": "missing, wrong and doubled keys, on every route and way of writing it",
    "25": "foreign and broken Host headers",
    "26": "time of a key's comparison",
    "27": "SQL in keys, ids and labels",
    "28": "JWT: later, with that kind of key",
    "29": "LDAP: later, with that kind of key",
    "30": "clients that leave",
    "31": "clients that read slowly or never",
    "32": "clients that send slowly",
    "33": "pipelining, smuggling, broken HTTP, through nginx too",
    "34": "engine processes that die or stop",
    "35": "SIGTERM under load",
    "36": "full disks",
    "37": "PostgreSQL, S3 and upstreams that fail: later, with them",
    "38": "no file descriptors left",
    "39": "batch files: long, wrong lines, kill -9",
    "40": "files: names, links, sizes, other people's ids",
    "41": "other people's responses, conversations, files, batches, cached prefixes",
    "42": "model folders that lie",
    "43": "injection into logs and metrics; ten thousand names",
    "44": "webhooks: later, with them",
    "45": "five hundred connections, and mixed load",
    "N1": "listens on loopback only, unless there are keys and TLS",
    "N2": "the token is nowhere but in its file",
    "N3": "another user of the machine",
    "N4": "web pages of other origins",
    "N5": "names bound to this machine (DNS rebinding)",
    "N6": "a new token ends the old one",
    "N7": "rendered outputs: later, with them",
}


def found() -> dict[str, dict[str, list[str]]]:
    """Names of tests, by fault and file."""
    tests: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for file in sorted(HERE.glob("test_*.py")):
        for match in _TEST.finditer(file.read_text()):
            fault = str(int(match["number"])) if match["number"] else match["note"].upper()
            tests[fault][file.name].append(match[1])
    return tests


def table() -> str:
    """As it should be."""
    tests = found()
    rows = ["| fault | what is tried | tests |", "|---|---|---|"]
    for fault, what in FAULTS.items():
        files = (f"[{file}]({file}): {', '.join(f'`{n}`' for n in names)}" for file, names in tests[fault].items())
        rows.append(f"| {fault} | {what} | {'; '.join(files) or '-'} |")
    return "\n".join(rows) + "\n"


def written() -> str:
    """As it is."""
    return "".join(line for line in README.read_text().splitlines(keepends=True) if line.startswith("|"))


if __name__ == "__main__":
    README.write_text(README.read_text().replace(written(), table()) if written() else README.read_text() + table())
