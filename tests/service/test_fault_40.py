"""FAULTS 40: names and ids of files that mean harm."""

from __future__ import annotations

import os

import httpx2
import openai
import pytest

from tests.service.running import Running
from tests.service.teammates import bearer, new_key

IDS = (
    "file-000000000000000000000000",
    "..",
    "%2e%2e",
    "..%2fservice.sqlite",
    "file-%00",
    "a" * 5000,
    "'; DROP TABLE files",
)


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "..\\x", "a\x00b", "a\nb", "..", ".", "", "x" * 256])
def test_fault_40_a_name_that_is_no_plain_name_is_400(service: Running, http: httpx2.Client, name: str) -> None:
    before = sorted((service.home / "data").rglob("*"))
    body = (
        b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        b'--b\r\ncontent-disposition: form-data; name="file"; filename="' + name.encode() + b'"\r\n\r\nx\r\n--b--\r\n'
    )
    answer = http.post("/v1/files", content=body, headers={"content-type": "multipart/form-data; boundary=b"})
    assert answer.status_code == 400, answer.text
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert [path for path in sorted((service.home / "data").rglob("*")) if path not in before] == []


def test_fault_40_a_file_of_no_bytes_is_400(http: httpx2.Client) -> None:
    answer = http.post("/v1/files", data={"purpose": "batch"}, files={"file": ("a", b"")})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "file"


@pytest.mark.parametrize("file_id", IDS)
@pytest.mark.parametrize("rest", ["", "/content"])
def test_fault_40_an_id_is_never_a_path(http: httpx2.Client, file_id: str, rest: str) -> None:
    for method in ("GET", "DELETE") if not rest else ("GET",):
        answer = http.request(method, f"/v1/files/{file_id}{rest}")
        assert answer.status_code in (400, 404, 405), answer.text
        assert "error" in answer.json()


def test_fault_40_a_link_in_the_place_of_a_file_is_not_followed(service: Running, sdk: openai.OpenAI) -> None:
    made = sdk.files.create(file=("a", b"x"), purpose="user_data")
    path = service.home / "data" / "files" / made.id
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(openai.APIStatusError) as refused:
        sdk.files.content(made.id)
    assert refused.value.status_code == 507 and "root" not in refused.value.response.text
    assert sdk.files.delete(made.id).deleted
    assert os.path.exists("/etc/passwd")


def test_fault_40_a_teammate_s_file_does_not_exist(service: Running, http: httpx2.Client) -> None:
    mine, theirs = bearer(new_key(service)), bearer(new_key(service))
    files = {"file": ("a", b"secret")}
    made = http.post("/v1/files", data={"purpose": "batch"}, files=files, headers=mine).json()["id"]
    for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        answer = http.request(method, f"/v1/files/{made}{path}", headers=theirs)
        unknown = http.request(method, f"/v1/files/{IDS[0]}{path}", headers=theirs)
        assert answer.status_code == unknown.status_code == 404
        assert answer.text.replace(made, "ID") == unknown.text.replace(IDS[0], "ID")
    assert http.get("/v1/files", headers=theirs).json()["data"] == []
    assert http.get(f"/v1/files/{made}/content", headers=mine).content == b"secret"
