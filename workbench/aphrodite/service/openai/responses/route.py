"""`/v1/responses`."""

from __future__ import annotations

import time
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from aphrodite.service.background import Job
from aphrodite.service.errors import ApiError, bad_request, from_problem
from aphrodite.service.generation import EngineFailure
from aphrodite.service.http.call import Call
from aphrodite.service.http.endpoint import Endpoint
from aphrodite.service.http.replies import EventStream, Reply, json_reply
from aphrodite.service.openai.pages import Deleted, Page, PageQuery, not_found, page_reply, page_request
from aphrodite.service.openai.responses.history import earlier_items
from aphrodite.service.openai.responses.items import checked_items, new_id
from aphrodite.service.openai.responses.request import (
    check_settings,
    echoed_tools,
    in_our_words,
    sampling_of,
    turn_of,
)
from aphrodite.service.openai.responses.run import Asked, ResponseRun
from aphrodite.service.openai.responses.shapes import (
    ConversationId,
    ReasoningConfig,
    Response,
    ResponseEvent,
    ResponseRequest,
    TextConfig,
)
from aphrodite.service.storage.responses import UNFINISHED, StoredResponse
from aphrodite.service.turn.conversation import Answer, Turn, start
from aphrodite_engine.params import SamplingParams


async def create(call: Call) -> Any:
    request = await call.json(ResponseRequest)
    check_settings(request)
    if request.store is not False:
        await call.service.storage.responses.check_room(call.user.tenant)
    earlier = await earlier_items(call, request)
    asked = Asked(checked_items(request.input), request.previous_response_id, earlier.conversation)
    turn = turn_of(request, [*earlier.items, *asked.input], sampling_of(request))
    answer = await _started(call, turn)
    try:
        run = ResponseRun(call, asked, _response(request, asked, turn, answer), answer)
        if request.background:
            return await _in_background(call, run, bool(request.stream))
        if request.stream:
            return EventStream(run.stream(), run.error_event)
        return json_reply(await call.until_gone(run.whole()))
    except BaseException:
        answer.abort()
        raise


async def _started(call: Call, turn: Turn) -> Answer:
    try:
        return await start(call, turn)
    except EngineFailure as error:
        raise in_our_words(from_problem(error.problem)) from None
    except ApiError as error:
        raise in_our_words(error) from None


async def _in_background(call: Call, run: ResponseRun, as_stream: bool) -> Any:
    """Accepted and stored before the caller hears of it; then it no longer matters whether the caller stays."""
    run.response.status = "queued"
    await run.store()
    reply = json_reply(run.response)
    call.is_inside = False  # what it counts for goes over to the job
    call.service.in_flight += 1

    async def work(job: Job) -> None:
        try:
            await run.in_background(job)
        finally:
            call.service.in_flight -= 1
            call.service.door.leave(call.user)

    job = call.service.background.start(run.response.id, work)
    return EventStream(job.log.follow(), run.error_event) if as_stream else reply


def _response(request: ResponseRequest, asked: Asked, turn: Turn, answer: Answer) -> Response:
    """Before anything was said."""
    params = SamplingParams.from_fields({n: v for n, v in turn.sampling.items() if n != "logit_bias"})
    return Response(
        id=new_id("resp_"),
        created_at=int(time.time()),
        background=bool(request.background),
        instructions=request.instructions,
        max_output_tokens=request.max_output_tokens,
        max_tool_calls=request.max_tool_calls,
        model=request.model,
        parallel_tool_calls=turn.parallel_tool_calls,
        previous_response_id=request.previous_response_id,
        conversation=ConversationId(asked.conversation) if asked.conversation else None,
        prompt_cache_key=request.prompt_cache_key,
        prompt_cache_retention=request.prompt_cache_retention,
        reasoning=request.reasoning or ReasoningConfig(),
        safety_identifier=request.safety_identifier,
        store=request.store is not False,
        temperature=params.temperature,
        text=TextConfig((request.text and request.text.format) or {"type": "text"}, "medium"),
        tool_choice=request.tool_choice if request.tool_choice is not None else "auto",
        tools=echoed_tools(request.tools),
        top_logprobs=request.top_logprobs or 0,
        top_p=params.top_p,
        user=request.user,
        metadata=request.metadata or {},
        seed=answer.admitted.seed,
        system_fingerprint=answer.facts.fingerprint,
    )


class ResponseQuery(msgspec.Struct):
    """How a response is asked for, as it is documented.

    Attributes:
        stream: the events of one that still runs.
        starting_after: sequence_number of the last event that was seen.
    """

    stream: bool = False
    starting_after: Annotated[int, Meta(ge=0)] | UnsetType = UNSET


async def get(call: Call) -> Any:
    stored = await _found(call)
    if call.query.get("stream") != "true":
        return json_reply(stored.body)
    job = call.service.background.find(stored.id)
    if job is None:
        raise bad_request("the stream of this response is over; get it without stream", "stream", "invalid_value")
    return EventStream(job.log.follow(_starting_after(call) + 1))


def _starting_after(call: Call) -> int:
    text = call.query.get("starting_after", "-1")
    if text != "-1" and not (text.isascii() and text.isdigit() and len(text) < 10):
        raise bad_request(
            f"starting_after={ascii(text)[:40]} is not allowed: a sequence_number", "starting_after", "invalid_value"
        )
    return int(text)


async def delete(call: Call) -> Reply:
    stored = await _found(call)
    await call.service.background.cancel(stored.id)
    await call.service.storage.responses.delete(call.user.tenant, stored.id)
    return json_reply(Deleted(stored.id, "response"))


async def cancel(call: Call) -> Reply:
    stored = await _found(call)
    if not stored.body["background"]:
        raise bad_request("only a background response can be cancelled", "response_id", "invalid_value")
    if stored.status in UNFINISHED:
        body = {**stored.body, "status": "cancelled"}
        stored = await call.service.storage.responses.finish(call.user.tenant, stored.id, "cancelled", body) or stored
        await call.service.background.cancel(stored.id)
    if stored.status != "cancelled":
        raise bad_request(f"a response that is {stored.status} cannot be cancelled", "response_id", "invalid_value")
    return json_reply(stored.body)


async def input_items(call: Call) -> Reply:
    page = page_request(call)
    items = (await _found(call)).input
    if page.order == "desc":
        items = items[::-1]
    if page.after is not None:
        places = [place for place, item in enumerate(items) if item["id"] == page.after]
        if not places:
            raise not_found("item", page.after, "after")
        items = items[places[0] + 1 :]
    shown = items[: page.limit]
    return page_reply(shown, [item["id"] for item in shown], len(items) > len(shown))


async def _found(call: Call) -> StoredResponse:
    response_id = call.path("response_id")
    stored = await call.service.storage.responses.get(call.user.tenant, response_id)
    if stored is None:
        raise not_found("response", response_id)
    return stored


ENDPOINTS = (
    Endpoint("POST", "/v1/responses", create, "Answer, whole, as a stream, or in the background.",
             request=ResponseRequest, answer=Response, events=ResponseEvent, is_work=True, tag="Responses"),
    Endpoint("GET", "/v1/responses/{response_id}", get, "A stored response.", query=ResponseQuery,
             answer=Response, events=ResponseEvent, tag="Responses"),
    Endpoint("DELETE", "/v1/responses/{response_id}", delete, "Forget a response.", answer=Deleted, tag="Responses"),
    Endpoint("POST", "/v1/responses/{response_id}/cancel", cancel, "End a background response.", answer=Response,
             tag="Responses"),
    Endpoint("GET", "/v1/responses/{response_id}/input_items", input_items, "The items that were new with it.",
             query=PageQuery, answer=Page[dict[str, Any]], tag="Responses"),
)  # fmt: skip
