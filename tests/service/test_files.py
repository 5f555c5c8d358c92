"""`/v1/files` as its clients use it."""

from __future__ import annotations

import io

import httpx2
import openai
import pytest

from aphrodite.service.settings import ServiceSettings
from tests.service.processes import resident
from tests.service.running import DEMO, Running, running


def test_a_file_s_life_in_openai_s_own_client(sdk: openai.OpenAI) -> None:
    data = bytes(range(256)) * 5000
    made = sdk.files.create(file=("notes ü.bin", data), purpose="user_data")
    assert (made.bytes, made.filename, made.purpose, made.object) == (len(data), "notes ü.bin", "user_data", "file")
    assert sdk.files.retrieve(made.id) == made
    assert sdk.files.content(made.id).content == data
    assert made.id in [file.id for file in sdk.files.list(purpose="user_data")]
    assert made.id not in [file.id for file in sdk.files.list(purpose="batch")]
    assert sdk.files.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        sdk.files.retrieve(made.id)


def test_lists_are_paged(sdk: openai.OpenAI) -> None:
    made = [sdk.files.create(file=(f"{n}.txt", b"x"), purpose="vision").id for n in range(5)]
    assert [file.id for file in sdk.files.list(purpose="vision", limit=2)] == made[::-1]
    assert [file.id for file in sdk.files.list(purpose="vision", limit=2, order="asc")] == made
    for file_id in made:
        sdk.files.delete(file_id)


def test_the_fields_may_come_in_any_order(http: httpx2.Client) -> None:
    for fields in (
        [("purpose", None, b"batch"), ("file", "a", b"1")],
        [("file", "a", b"1"), ("purpose", None, b"batch")],
    ):
        parts = [
            b'--b\r\ncontent-disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
            % (name.encode(), b'; filename="%s"' % filename.encode() if filename else b"", data)
            for name, filename, data in fields
        ]
        answer = post(http, b"".join(parts) + b"--b--\r\n")
        assert answer.status_code == 200, answer.text


def post(http: httpx2.Client, body: bytes, content_type: str = "multipart/form-data; boundary=b") -> httpx2.Response:
    return http.post("/v1/files", content=body, headers={"content-type": content_type})


def part(name: str, data: bytes, extra: str = "") -> bytes:
    return f'--b\r\ncontent-disposition: form-data; name="{name}"{extra}\r\n\r\n'.encode() + data + b"\r\n"


FILE = part("file", b"{}", '; filename="a"')
PURPOSE = part("purpose", b"batch")
END = b"--b--\r\n"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (PURPOSE + END, "file"),
        (FILE + END, "purpose"),
        (FILE + part("purpose", b"fun") + END, "purpose"),
        (FILE + PURPOSE, None),
        (FILE + FILE + PURPOSE + END, "file"),
        (PURPOSE + part("purpose", b"x" * 5000) + END, "purpose"),
        (FILE + PURPOSE + part("expires_after[seconds]", b"3600") + END, "expires_after"),
        (FILE + b"".join(part(f"f{n}", b"") for n in range(20)) + END, None),
        (FILE + PURPOSE + part("x", b"\xff") + END, None),
        (b"--b\r\ncontent-disposition: form-data\r\n\r\nx\r\n" + END, None),
        (b"no parts at all", None),
        (b"", None),
    ],
)
def test_a_malformed_upload_is_400(http: httpx2.Client, body: bytes, param: str | None) -> None:
    answer = post(http, body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param


def test_only_multipart_is_taken(http: httpx2.Client) -> None:
    assert post(http, b"{}", "application/json").status_code == 415
    assert post(http, END, "multipart/form-data").status_code == 400
    assert post(http, END, "multipart/form-data; boundary=" + "b" * 100).status_code == 400


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=99999", "order=up", "limit=-1"])
def test_a_wrong_page_is_400(http: httpx2.Client, query: str) -> None:
    answer = http.get(f"/v1/files?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == query.partition("=")[0]


def test_an_upload_is_never_whole_in_memory(service: Running, sdk: openai.OpenAI) -> None:
    sdk.files.delete(sdk.files.create(file=("warm", b"x" * 2**20), purpose="user_data").id)
    before = resident(service.process.pid)
    made = sdk.files.create(file=("large", io.BytesIO(bytes(100 * 2**20))), purpose="user_data")
    assert resident(service.process.pid) - before < 24 * 2**20
    assert len(sdk.files.content(made.id).content) == 100 * 2**20
    assert resident(service.process.pid) - before < 24 * 2**20
    sdk.files.delete(made.id)


@pytest.mark.slow
def test_a_file_over_the_limit_is_413_and_leaves_nothing() -> None:
    with running(ServiceSettings(models=(DEMO,), max_file_bytes=2**20)) as service, service.client() as client:
        data = {"purpose": "user_data"}
        assert client.post("/v1/files", data=data, files={"file": ("a", bytes(2**20))}).status_code == 200
        assert client.post("/v1/files", data=data, files={"file": ("a", bytes(2**20 + 1))}).status_code == 413

        def chunked() -> object:
            yield b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'
            for _ in range(64):
                yield bytes(2**16)
            yield b"\r\n--b--\r\n"

        headers = {"content-type": "multipart/form-data; boundary=b"}
        answer = client.post("/v1/files", content=chunked(), headers=headers)  # type: ignore[arg-type]
        assert answer.status_code == 413
        assert len(list((service.home / "data" / "files").iterdir())) == 1
