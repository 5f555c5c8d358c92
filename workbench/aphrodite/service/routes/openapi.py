"""`/openapi.json`: the routes as an OpenAPI 3.1 document, made from the same table as the router."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from aphrodite import __version__
from aphrodite.service.access import Access
from aphrodite.service.errors import ErrorAnswer
from aphrodite.service.http import wire
from aphrodite.service.http.call import Call
from aphrodite.service.http.endpoint import Endpoint
from aphrodite.service.http.replies import Reply
from aphrodite.service.routes.openapi_schemas import Schema, Schemas

_VERSION = "3.1.0"
_PARAMETER = re.compile(r"\{(?P<name>\w+)(?P<kind>:path)?\}")
_STREAM = "text/event-stream"
_FORM = "multipart/form-data"

_SECURITY: dict[Access, list[Schema]] = {
    # Without a key over loopback, unless the service was started to ask for one there too.
    Access.USER: [{"bearer": []}, {"x-api-key": []}, {}],
    Access.ADMIN: [{"bearer": []}, {"x-api-key": []}],
    Access.OPEN: [{}],
}
_TEXTS = {
    400: "Something in the request is wrong; `param` names it.",
    401: "The key is missing or wrong.",
    403: "The caller may not do this.",
    404: "There is no such model or object, or it is somebody else's.",
    408: "The request did not come, or its answer was not read, in time.",
    409: "It cannot be done in the state things are in.",
    413: "The body is too large.",
    415: "The body is of another content type.",
    421: "The Host header names another service.",
    422: "The Idempotency-Key came before with another body.",
    429: "A limit of the key, the queue, or a lease; `retry-after` says when to come back.",
    431: "The headers are too large.",
    500: "The service failed; its log says more.",
    503: "Not now; `retry-after` says when to come back.",
    507: "The service's disk is full.",
}
_ALWAYS = (400, 401, 403, 421, 429, 431, 500, 503)
_STORING = frozenset(("Responses", "Conversations", "Files", "Batches", "Admin"))


def endpoint(others: Sequence[Endpoint]) -> Endpoint:
    """The route that answers with the document of all the others and itself."""

    @functools.cache
    def body() -> bytes:
        return wire.encode(document((*others, itself)))

    async def show(call: Call) -> Reply:
        return Reply(body())

    itself = Endpoint("GET", "/openapi.json", show, "This document.", answer=dict[str, Any], tag="Service")
    return itself


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """All of it."""
    schemas = Schemas(*_types(endpoints))
    paths: dict[str, Any] = {}
    for found in endpoints:
        paths.setdefault(_path(found), {})[found.method.lower()] = _operation(found, schemas)
    return {
        "openapi": _VERSION,
        "info": {
            "title": "Aphrodite Workbench",
            "version": __version__,
            "summary": "An inference engine behind OpenAI's shapes.",
            "description": "Fields of a request that nobody knows are accepted and named in the header "
            "`x-ignored-params` of the answer; known ones that are not supported are refused by name.",
        },
        "tags": [{"name": tag} for tag in dict.fromkeys(found.tag for found in endpoints)],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "responses": {_error_name(status): _error(status, schemas.of(ErrorAnswer)) for status in _TEXTS},
            "headers": _HEADERS,
            "parameters": _PARAMETERS,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "A key, as OpenAI's clients send it."},
                "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def _types(endpoints: Sequence[Endpoint]) -> tuple[list[Any], list[Any]]:
    """Of requests, and of answers; each once."""
    taken = [t for e in endpoints for t in (e.request, e.form) if t is not None]
    given = [t for e in endpoints for t in (e.answer, e.events, e.error, *e.also.values()) if t is not None]
    return list(dict.fromkeys(taken)), list(dict.fromkeys([*given, ErrorAnswer]))


def _path(found: Endpoint) -> str:
    return _PARAMETER.sub(r"{\g<name>}", found.path)


def _operation(found: Endpoint, schemas: Schemas) -> Schema:
    operation: Schema = {
        "operationId": _operation_id(found),
        "summary": found.summary,
        "tags": [found.tag],
        "security": _SECURITY[found.access],
        "parameters": list(_parameters(found)),
        "responses": _responses(found, schemas),
    }
    if found.request is not None:
        content = {"application/json": {"schema": schemas.of(found.request)}}
        operation["requestBody"] = {"required": True, "content": content}
    if found.form is not None:
        operation["requestBody"] = {"required": True, "content": {_FORM: {"schema": schemas.of(found.form)}}}
    return operation


def _operation_id(found: Endpoint) -> str:
    """'POST /v1/chat/completions' -> 'post_v1_chat_completions'."""
    return "_".join([found.method.lower(), *re.findall(r"\w+", _path(found))])


def _parameters(found: Endpoint) -> Iterator[Schema]:
    yield {"$ref": "#/components/parameters/x-request-id"}
    if found.request is not None:
        yield {"$ref": "#/components/parameters/idempotency-key"}
    for parameter in _PARAMETER.finditer(found.path):
        described: Schema = {"name": parameter["name"], "in": "path", "required": True}
        described["schema"] = {"type": "string", "minLength": 1}
        if parameter["kind"]:
            described["description"] = "May hold slashes."
        yield described
    if found.query is not None:
        yield from _query(found.query)


def _query(kind: Any) -> Iterator[Schema]:
    """A parameter for each field of the structure."""
    (_, components) = msgspec.json.schema_components([kind])
    schema = components[kind.__name__]
    for name, described in schema["properties"].items():
        yield {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": described}


def _responses(found: Endpoint, schemas: Schemas) -> Schema:
    responses = {str(status): _one_error(status, found, schemas) for status in _errors(found)}
    for status, answer in found.also.items():
        responses[str(status)] = _response(_TEXTS[status], {"application/json": {"schema": schemas.of(answer)}})
    return {str(found.status): _response(found.summary, _contents(found, schemas))} | dict(sorted(responses.items()))


def _contents(found: Endpoint, schemas: Schemas) -> Schema:
    contents: Schema = {}
    if found.answer is not None:
        contents["application/json"] = {"schema": schemas.of(found.answer)}
    elif found.answer_type == "application/octet-stream":
        contents[found.answer_type] = {}
    else:
        contents[found.answer_type] = {"schema": {"type": "string"}}
    if found.events is not None:
        # OpenAPI 3.1 has no word for the structure of an event.
        contents[_STREAM] = {"schema": {"type": "string"}, "x-event-schema": schemas.of(found.events)}
    return contents


def _response(text: str, contents: Schema) -> Schema:
    return {"description": text, "headers": {"x-request-id": _REQUEST_ID}, "content": contents}


def _errors(found: Endpoint) -> Iterator[int]:
    yield from _ALWAYS
    if "{" in found.path or found.request or found.query or found.access is Access.ADMIN:
        yield 404
    if found.request is not None or found.form is not None:
        yield from (408, 413, 415)
    if found.request is not None:
        yield 422
    if found.access is Access.ADMIN:
        yield 409
    if found.tag in _STORING:
        yield 507


def _one_error(status: int, found: Endpoint, schemas: Schemas) -> Schema:
    """Before a request has reached its route, its errors are OpenAI's, whatever the route speaks."""
    if found.error is None:
        return {"$ref": f"#/components/responses/{_error_name(status)}"}
    return _error(status, {"anyOf": [schemas.of(found.error), schemas.of(ErrorAnswer)]})


def _error_name(status: int) -> str:
    return f"Error{status}"


def _error(status: int, schema: Schema) -> Schema:
    described = _response(_TEXTS[status], {"application/json": {"schema": schema}})
    if status in (429, 503):
        described["headers"]["retry-after"] = {"$ref": "#/components/headers/retry-after"}
    if status == 401:
        described["headers"]["www-authenticate"] = {"$ref": "#/components/headers/www-authenticate"}
    return described


_REQUEST_ID: Schema = {"$ref": "#/components/headers/x-request-id"}
_HEADERS: Schema = {
    "x-request-id": {"description": "The caller's own, or ours.", "required": True, "schema": {"type": "string"}},
    "retry-after": {"description": "Seconds.", "required": True, "schema": {"type": "integer", "minimum": 0}},
    "www-authenticate": {"required": True, "schema": {"const": "Bearer"}},
}
_PARAMETERS: Schema = {
    "x-request-id": {
        "name": "x-request-id", "in": "header", "schema": {"type": "string", "maxLength": 128},
        "description": "Comes back in the answer if it is printable ASCII.",
    },
    "idempotency-key": {
        "name": "idempotency-key", "in": "header",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
        "description": "The same key with the same body gets the same answer.",
    },
}  # fmt: skip
