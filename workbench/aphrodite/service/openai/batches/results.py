"""What the lines of a batch came to, as lines of its output and error files."""

from __future__ import annotations

import secrets

import msgspec
from msgspec import Raw

from aphrodite.service.errors import ApiError
from aphrodite.service.http import wire
from aphrodite.service.storage.batch_lines import BatchLines, Result, Tokens
from aphrodite.service.storage.files import Files, on_disk


class LineResponse(msgspec.Struct):
    """The answer that a request of its own would have had."""

    status_code: int
    request_id: str
    body: Raw


class LineError(msgspec.Struct):
    """Why a line was not asked."""

    code: str
    message: str
    line: int | None = None


class LineResult(msgspec.Struct):
    id: str
    custom_id: str | None
    response: LineResponse | None = None
    error: LineError | None = None


def new_request_id() -> str:
    return "batch_req_" + secrets.token_hex(12)


def answered(number: int, custom_id: str | None, response: LineResponse) -> Result:
    """A line that was asked; an answer that is an error goes to the error file."""
    line = LineResult(response.request_id, custom_id, response)
    succeeded = response.status_code < 400
    return Result(number, succeeded, wire.encode(line) + b"\n", _tokens(response.body) if succeeded else Tokens())


class _Cached(msgspec.Struct):
    cached_tokens: int = 0


class _Reasoning(msgspec.Struct):
    reasoning_tokens: int = 0


class _Usage(msgspec.Struct):
    """As chat and completions write it, and as responses do; embeddings have no output."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _Cached | None = None
    completion_tokens_details: _Reasoning | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    input_tokens_details: _Cached | None = None
    output_tokens_details: _Reasoning | None = None


class _Answer(msgspec.Struct):
    usage: _Usage | None = None


def _tokens(body: Raw) -> Tokens:
    usage = msgspec.json.decode(body, type=_Answer).usage or _Usage()
    cached = usage.prompt_tokens_details or usage.input_tokens_details or _Cached()
    reasoning = usage.completion_tokens_details or usage.output_tokens_details or _Reasoning()
    return Tokens(
        usage.prompt_tokens or usage.input_tokens, cached.cached_tokens,
        usage.completion_tokens or usage.output_tokens, reasoning.reasoning_tokens,
    )  # fmt: skip


def refused(number: int, custom_id: str | None, code: str, message: str) -> Result:
    """A line that was not asked."""
    line = LineResult(new_request_id(), custom_id, error=LineError(code, message, number))
    return Result(number, False, wire.encode(line) + b"\n")


def refused_for(number: int, custom_id: str | None, error: ApiError) -> Result:
    """A line that is wrong."""
    return refused(number, custom_id, error.code or "invalid_line", f"line {number}: {error.message}")


async def write_results(lines: BatchLines, files: Files, tenant: str, batch: str, succeeded: bool) -> str | None:
    """Store the results of one kind as a file, in the order of their lines; its id, None where there are none.

    The id follows from the batch's: written again after a crash, the file takes the place of the first.
    """
    incoming = await files.begin()
    try:
        after = 0
        while found := await lines.results(batch, succeeded, after):
            after = found[-1][0]
            text = b"".join(text for _, text in found)
            await on_disk(lambda text=text: incoming.write(text))
        if incoming.size == 0:
            return None
        kind = "output" if succeeded else "error"
        file_id = f"file-{batch.removeprefix('batch_')}-{kind}"
        await files.keep(tenant, incoming, f"{batch}_{kind}.jsonl", "batch_output", file_id)
        return file_id
    finally:
        await on_disk(incoming.discard)
