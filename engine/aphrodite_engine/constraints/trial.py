"""Grammars are tried in a process of their own first: one that takes too long, or all memory, ends only that.

No limit inside a library is as sure as this: compiling `{"type": "integer", "multipleOf": 99999989}` takes minutes.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import subprocess
import sys
import threading

#: To try a grammar. Compiling it here again takes no longer, which makes two seconds.
TRIAL_SECONDS = 1.0
#: Of address space, for tokenizer and grammar.
_MEMORY_BYTES = 4 << 30


class Trial:
    """The process, started with the first grammar and again whenever one has ended it.

    Args:
        tokenizer_json, vocab_size: what a Vocabulary is made of.
    """

    def __init__(self, tokenizer_json: str, vocab_size: int) -> None:
        self._opening = _line({"tokenizer": tokenizer_json, "vocab_size": vocab_size})
        self._process: subprocess.Popen[str] | None = None
        self._is_ready = False
        self._lock = threading.Lock()
        self._closed = False

    def run(self, kind: str, text: str, *after: str) -> tuple[str, str | None]:
        """The grammar translated (matcher.tried), or "" and what is wrong with it. One at a time, bounded in time."""
        with self._lock:
            answer = None if self._closed else self._ask(_line({"kind": kind, "text": text, "after": after}))
            if self._closed:
                return "", "the engine was closed"
            if answer is None:
                self._start()  # for the next one
                return "", f"it takes more than {TRIAL_SECONDS:g} s or too much memory to compile"
        found = json.loads(answer)
        return found.get("grammar", ""), found.get("problem")

    def close(self) -> None:
        """End the process."""
        self._closed, process = True, self._process
        if process is not None:
            process.kill()  # what waits for its answer now reads the end of the file
        with self._lock:
            self._end()

    def _ask(self, line: str) -> str | None:
        """Its answer; None when the question has ended it."""
        if self._process is None or self._process.poll() is not None:
            self._start()
        assert self._process is not None and self._process.stdin and self._process.stdout
        if not self._is_ready and not self._process.stdout.readline():
            raise RuntimeError(f"the process that tries grammars ended with {self._process.wait()} as it started")
        self._is_ready = True
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except BrokenPipeError:  # it has ended: so has its answer
            return None
        return self._process.stdout.readline() or None

    def _start(self) -> None:
        self._end()
        process = self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "aphrodite_engine.constraints.trial"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8",
        )  # fmt: skip
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # _ask finds out
            process.stdin.write(self._opening)
            process.stdin.flush()

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(BrokenPipeError):  # what was still to be written has nobody to read it
                    assert pipe is not None
                    pipe.close()
            self._process, self._is_ready = None, False


def _line(value: object) -> str:
    return json.dumps(value) + "\n"


def _main() -> None:
    """The process: a vocabulary on the first line, then a grammar on each; an answer on each line back."""
    _be_modest()
    from aphrodite_engine.constraints.matcher import Vocabulary, tried

    opening = json.loads(sys.stdin.readline())
    vocabulary = Vocabulary.of(opening["tokenizer"], opening["vocab_size"])
    sys.stdout.write(_line("ready"))
    sys.stdout.flush()
    nowhere = open(os.devnull, "w")  # noqa: SIM115 (the watchdog needs it until the end)
    for line in sys.stdin:
        asked = json.loads(line)
        # A watchdog of C, which no library can keep from running: it ends the process.
        faulthandler.dump_traceback_later(TRIAL_SECONDS, exit=True, file=nowhere)
        try:
            answer = {"grammar": tried(vocabulary, asked["kind"], asked["text"], asked["after"])}
        except Exception as error:  # the process's outermost frame: whatever a grammar does wrong is its answer
            answer = {"problem": str(error) or type(error).__name__}
        faulthandler.cancel_dump_traceback_later()
        sys.stdout.write(_line(answer))
        sys.stdout.flush()


def _be_modest() -> None:
    """Yield to the engine, and never take the machine's memory."""
    if sys.platform != "win32":
        import resource

        os.nice(5)
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))


if __name__ == "__main__":
    _main()
