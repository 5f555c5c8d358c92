"""`/v1/models`."""

from __future__ import annotations

import msgspec

from aphrodite.service.engines.engine_process import EngineProcess
from aphrodite.service.engines.models import Models
from aphrodite.service.http.call import Call
from aphrodite.service.http.endpoint import Endpoint
from aphrodite.service.http.replies import Reply, json_reply


class Model(msgspec.Struct):
    """A served name.

    Attributes:
        root: the id of the model behind it.
        max_model_len: longest sequence in tokens; null before it is loaded.
    """

    id: str
    created: int
    root: str
    max_model_len: int | None
    object: str = "model"
    owned_by: str = "aphrodite"


class ModelList(msgspec.Struct):
    data: list[Model]
    object: str = "list"


async def list_models(call: Call) -> Reply:
    models = call.service.models
    return json_reply(ModelList([_model(models, name, engine) for name, engine in models.names().items()]))


async def get_model(call: Call) -> Reply:
    name = call.path("model")
    return json_reply(_model(call.service.models, name, call.service.models.find(name)))


def _model(models: Models, name: str, engine: EngineProcess) -> Model:
    length = engine.facts.max_model_len if engine.facts else None
    return Model(name, models.created[engine.settings.id], engine.settings.id, length)


ENDPOINTS = (
    Endpoint("GET", "/v1/models", list_models, "The served models, a name each.", answer=ModelList),
    # An id of the hub holds a slash.
    Endpoint("GET", "/v1/models/{model:path}", get_model, "One of them.", answer=Model),
)
