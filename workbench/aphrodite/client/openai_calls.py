"""OpenAI's routes as they are: fields in, the answer's JSON out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from aphrodite.client.calls import Calls
from aphrodite_engine.errors import ParameterError
from aphrodite_engine.prompts import Message, Prompt

Json = dict[str, Any]


class OpenAICalls(Calls):
    """Chat, completions, embeddings, responses, files, batches."""

    async def chat_completion(self, messages: Sequence[Message], model: str | None = None, **fields: Any) -> Json:
        """`POST /v1/chat/completions`."""
        return await self._post("/v1/chat/completions", model, {"messages": messages, **fields})

    async def stream_completion(
        self, messages: Sequence[Message], model: str | None = None, **fields: Any
    ) -> AsyncGenerator[Json]:
        """The same as a stream of chunks; closing it aborts the request."""
        body = {"model": await self._named(model), "messages": messages, **fields, "stream": True}
        events = self._transport.events("/v1/chat/completions", body)
        try:
            async for data in events:
                yield msgspec.json.decode(data)
        finally:
            await events.aclose()

    async def completion(self, prompt: Prompt | Sequence[Prompt], model: str | None = None, **fields: Any) -> Json:
        """`POST /v1/completions`."""
        return await self._post("/v1/completions", model, {"prompt": prompt, **fields})

    async def embeddings(self, input: Prompt | Sequence[Prompt], model: str | None = None, **fields: Any) -> Json:
        """`POST /v1/embeddings`; embed() gives the vectors as an array."""
        return await self._post("/v1/embeddings", model, {"input": input, **fields})

    async def rerank(
        self, query: str, documents: Sequence[str | Mapping[str, str]], model: str | None = None, **fields: Any
    ) -> Json:
        """`POST /v1/rerank`: the documents that are most like the query first."""
        return await self._post("/v1/rerank", model, {"query": query, "documents": documents, **fields})

    # ---- responses

    async def create_response(
        self, input: str | Sequence[Mapping[str, Any]], model: str | None = None, **fields: Any
    ) -> Json:
        """`POST /v1/responses`."""
        return await self._post("/v1/responses", model, {"input": input, **fields})

    async def get_response(self, response_id: str) -> Json:
        """A stored response."""
        return await self._transport.get(f"/v1/responses/{response_id}", Json)

    async def cancel_response(self, response_id: str) -> Json:
        """End a response that runs in the background."""
        return await self._transport.post(f"/v1/responses/{response_id}/cancel", {}, Json)

    async def delete_response(self, response_id: str) -> Json:
        """Forget a stored response."""
        return await self._transport.delete(f"/v1/responses/{response_id}", Json)

    # ---- files, batches

    async def upload_file(self, file: str | Path | bytes, *, name: str | None = None, purpose: str = "batch") -> Json:
        """Store a file, given by its path or as bytes (then `name` it)."""
        content = file if isinstance(file, bytes) else Path(file).read_bytes()
        called = name or ("file" if isinstance(file, bytes) else Path(file).name)
        upload = {"data": {"purpose": purpose}, "files": {"file": (called, content)}}
        return await self._transport.ask("POST", "/v1/files", Json, **upload)

    async def files(self) -> list[Json]:
        """The stored files."""
        return (await self._transport.get("/v1/files", Json))["data"]

    async def file_content(self, file_id: str) -> bytes:
        """The bytes of a stored file."""
        return await self._transport.content("GET", f"/v1/files/{file_id}/content")

    async def delete_file(self, file_id: str) -> Json:
        """Forget a stored file."""
        return await self._transport.delete(f"/v1/files/{file_id}", Json)

    async def create_batch(self, input_file_id: str, endpoint: str = "/v1/chat/completions", **fields: Any) -> Json:
        """Work through the requests of a file in the background."""
        body = {"input_file_id": input_file_id, "endpoint": endpoint, "completion_window": "24h", **fields}
        return await self._transport.post("/v1/batches", body, Json)

    async def get_batch(self, batch_id: str) -> Json:
        """How far a batch is, and the ids of its result files."""
        return await self._transport.get(f"/v1/batches/{batch_id}", Json)

    async def batches(self) -> list[Json]:
        """The batches there are."""
        return (await self._transport.get("/v1/batches", Json))["data"]

    async def cancel_batch(self, batch_id: str) -> Json:
        """End a batch; what is done stays."""
        return await self._transport.post(f"/v1/batches/{batch_id}/cancel", {}, Json)

    async def _post(self, path: str, model: str | None, fields: Mapping[str, Any]) -> Json:
        if fields.get("stream"):
            raise ParameterError("stream", True, "stream_completion() for pieces of a chat, stream() for everything")
        return await self._transport.post(path, {"model": await self._named(model), **fields}, Json)
