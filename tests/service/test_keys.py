"""Keys: made, kept, listed, counted, taken back."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from aphrodite.service.access.accounts import Accounts
from aphrodite.service.access.keys import PREFIX, KeyStore, KeyStoreError, NoSuchKeyError
from aphrodite.service.access.limits import Limits
from aphrodite_apps.cli import main
from tests.service.running import Running, wait_for
from tests.service.teammates import bearer, new_key, new_name, store


@pytest.fixture
def keys(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "keys.sqlite")


def test_a_key_is_long_random_and_stored_as_a_digest_only(keys: KeyStore) -> None:
    made = {keys.add(f"mate{i}") for i in range(50)}
    assert len(made) == 50
    for key in made:
        assert key.startswith(PREFIX) and len(bytes.fromhex(key.removeprefix(PREFIX))) * 8 >= 128
        assert key.removeprefix(PREFIX).encode() not in keys.path.read_bytes()
    assert all(len(key.digest or b"") == 32 for key in keys.all())


def test_the_file_is_its_owner_s_alone(keys: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o600
    keys.path.chmod(0o644)
    KeyStore(keys.path)
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o600


def test_a_link_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"")
    (tmp_path / "keys.sqlite").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyStoreError, match="not a file of this user's"):
        KeyStore(tmp_path / "keys.sqlite")


def test_a_file_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keys.sqlite").write_bytes(b"not a database at all " * 100)
    with pytest.raises(KeyStoreError, match="cannot be used"):
        KeyStore(tmp_path / "keys.sqlite")


@pytest.mark.parametrize("name", ["", "local", "Admin", "a b", "x" * 65, "../up", "a\nb", "-x", "é"])
def test_names_that_nobody_may_have(keys: KeyStore, name: str) -> None:
    with pytest.raises(KeyStoreError):
        keys.add(name)


def test_a_name_has_one_key_whatever_its_case(keys: KeyStore) -> None:
    keys.add("Dana")
    with pytest.raises(KeyStoreError, match="already"):
        keys.add("dana")
    keys.revoke("DANA")
    with pytest.raises(NoSuchKeyError):
        keys.revoke("dana")


def test_accounts_follow_the_store_at_once(keys: KeyStore) -> None:
    accounts = Accounts(keys, "admin-key")
    other = KeyStore(keys.path)
    key = other.add("dana", Limits(concurrent=2), priority=3).encode()
    dana = accounts.find(key)
    assert dana is not None and (dana.name, dana.tenant, dana.priority, dana.is_admin) == ("dana", "dana", 3, False)
    other.add("eli")
    assert accounts.find(key) is dana  # what it has used is kept
    other.revoke("dana")
    assert accounts.find(key) is None
    assert dana.meter.revoked
    assert accounts.find(b"admin-key") is not None


async def _save(accounts: Accounts) -> None:
    await accounts.save()


def test_usage_survives_a_failed_save_and_is_counted_once(keys: KeyStore) -> None:
    import asyncio

    accounts = Accounts(keys, "admin-key")
    dana = accounts.find(keys.add("dana").encode())
    assert dana is not None
    dana.meter.enter()
    dana.meter.spent(7, 5)
    with sqlite3.connect(keys.path) as lock:
        lock.execute("ALTER TABLE keys RENAME TO away")
    with pytest.raises(KeyStoreError):
        asyncio.run(_save(accounts))
    with sqlite3.connect(keys.path) as lock:
        lock.execute("ALTER TABLE away RENAME TO keys")
    lock.close()
    asyncio.run(_save(accounts))
    asyncio.run(_save(accounts))
    [key] = keys.all()
    assert (key.usage.requests, key.usage.prompt_tokens, key.usage.output_tokens) == (1, 7, 5)


def test_usage_is_counted_per_key_and_written_down(guarded: Running) -> None:
    name = new_name()
    body = {"model": "demo", "messages": [{"role": "user", "content": "What is 39 + 48?"}], "max_tokens": 4}
    with guarded.client(headers=bearer(new_key(guarded, name))) as client:
        used = client.post("/v1/chat/completions", json=body).json()["usage"]
        client.get("/v1/models")

    def written() -> bool:
        usage = next(key.usage for key in store(guarded).all() if key.name == name)
        return (usage.requests, usage.prompt_tokens, usage.output_tokens) == (
            1, used["prompt_tokens"], used["completion_tokens"],
        )  # fmt: skip

    wait_for(written, 10)


def test_a_replaced_file_is_read_anew(guarded: Running, tmp_path: Path) -> None:
    path = store(guarded).path
    key = new_key(guarded)
    with guarded.client(headers=bearer(key)) as client:
        assert client.get("/v1/models").status_code == 200
        path.rename(tmp_path / "kept")
        wait_for(lambda: client.get("/v1/models").status_code == 401, 10)
        (tmp_path / "kept").rename(path)
        wait_for(lambda: client.get("/v1/models").status_code == 200, 10)


def test_admin_routes_make_list_and_revoke(guarded: Running) -> None:
    name = new_name()
    with guarded.client(headers=guarded.admin) as client:
        made = client.post("/admin/keys", json={"name": name, "limits": {"concurrent": 2}})
        assert made.status_code == 201 and made.headers["cache-control"] == "no-store"
        key = made.json()["key"]
        assert client.get("/v1/models", headers=bearer(key)).status_code == 200
        [listed] = [k for k in client.get("/admin/keys").json()["data"] if k["name"] == name]
        assert listed["limits"]["concurrent"] == 2 and "digest" not in listed
        assert client.post("/admin/keys", json={"name": name}).status_code == 400
        assert client.delete(f"/admin/keys/{name}").status_code == 200
        assert client.delete(f"/admin/keys/{name}").status_code == 404
        assert client.get("/v1/models", headers=bearer(key)).status_code == 401


@pytest.mark.parametrize("limits", [{"concurrent": 0}, {"requests_per_minute": -1}, {"colour": 1}, {"concurrent": 1.5}])
def test_limits_that_are_none_are_refused_by_name(guarded: Running, limits: dict[str, object]) -> None:
    with guarded.client(headers=guarded.admin) as client:
        answer = client.post("/admin/keys", json={"name": new_name(), "limits": limits})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"].startswith("limits")


# ---- the command line


@pytest.fixture
def command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("APHRODITE_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def test_add_list_revoke_without_a_service(command_line: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "add", "dana", "--limit", "requests-per-minute=60,concurrent=4"]) == 0
    key = capsys.readouterr().out.strip()
    assert key.startswith(PREFIX)
    assert main(["keys", "list"]) == 0
    listed = capsys.readouterr().out
    assert "dana" in listed and "60 requests/min, 4 at once" in listed and key not in listed
    assert max(map(len, listed.splitlines())) <= 80
    assert main(["keys", "revoke", "dana"]) == 0
    assert main(["keys", "list", "--json"]) == 0
    assert "digest" not in capsys.readouterr().out
    assert stat.S_IMODE(os.stat(command_line).st_mode) == 0o700


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["add", "dana", "--limit", "concurent=3"], "did you mean concurrent?"),
        (["add", "dana", "--limit", "concurrent=0"], "from 1 to"),
        (["add", "two words"], "not allowed"),
        (["revoke", "nobody"], "there is no key"),
        (["add", "dana", "--priority", "5000"], "from -1000 to 1000"),
    ],
)
def test_mistakes_are_told_in_one_line(
    command_line: Path, capsys: pytest.CaptureFixture[str], argv: list[str], says: str
) -> None:
    assert main(["keys", *argv]) in (1, 2)
    error = capsys.readouterr().err
    assert says in error and len(error.splitlines()) == 1
