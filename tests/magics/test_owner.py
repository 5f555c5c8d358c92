"""What only the service's owner may do, and what somebody else's notebook is told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from IPython.core.error import UsageError

from aphrodite.service.access.keys import PREFIX
from tests.magics.conftest import Cells
from tests.service.running import Running


@pytest.fixture
def guest(cells: Cells, monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> Iterator[Cells]:
    """A notebook that came in with a teammate's key, on a machine that knows no connection file."""
    found, _ = cells("%aphrodite share guest")
    url = cells("%aphrodite ui")[0].address.rstrip("/")  # type: ignore[attr-defined]
    monkeypatch.setenv("GUEST_KEY", found.key)  # type: ignore[attr-defined]
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("APHRODITE_RUNTIME_DIR", str(tmp_path))
        cells(f"%aphrodite connect {url} --key-variable GUEST_KEY")
        yield cells
    cells("%aphrodite attach")
    cells("%aphrodite keys revoke guest")


def test_a_key_is_shown_once_with_what_to_paste(cells: Cells, served: Running) -> None:
    shared, shown = cells("%aphrodite keys add dana --limit requests-per-minute=60,concurrent=4")
    assert shared.key.startswith(PREFIX) and shared.key in shown  # type: ignore[attr-defined]
    assert "60 requests/min, 4 at once" in shown and f"%aphrodite connect {served.url}" in shown
    assert shared.key in shared._repr_html_()  # type: ignore[attr-defined]
    table, listed = cells("%aphrodite keys")
    assert shared.key not in listed and "dana" in listed  # type: ignore[attr-defined]
    assert table.df.loc["dana", "requests"] == 0  # type: ignore[attr-defined]
    cells("%aphrodite keys revoke dana")
    assert "revoked" in cells("%aphrodite keys list")[1]


def test_a_guest_s_notebook_generates(guest: Cells) -> None:
    guest("%%aphrodite --chat -t 0 --into answer\nWhat is 39 + 48?")
    assert guest("answer.text")[0] == "87"


@pytest.mark.parametrize(
    "line", ["status", "keys", "share eve", "load demo", "sleep demo", "unload demo", "keys add x"]
)
def test_what_a_guest_may_not_do_is_one_line(guest: Cells, line: str) -> None:
    with pytest.raises(UsageError, match="admin key") as caught:
        guest(f"%aphrodite {line}")
    assert "\n" not in str(caught.value)


def test_a_guest_cannot_end_the_service(guest: Cells) -> None:
    with pytest.raises(UsageError, match="is not this user's service on this machine"):
        guest("%aphrodite down")


@pytest.mark.slow
def test_sleep_wake_load_and_unload(cells: Cells) -> None:
    assert "demo is asleep" in cells("%aphrodite sleep")[1]
    assert "sleeping" in cells("%aphrodite status")[1] or "asleep" in cells("%aphrodite status")[1]
    assert "demo is awake" in cells("%aphrodite wake")[1]
    assert "second: ready" in cells("%aphrodite load demo --name second --max-model-len 128")[1]
    with pytest.raises(UsageError, match="which model"):
        cells("%aphrodite generate x")
    assert "second" in cells("%aphrodite models")[1]
    assert "second is not served any more" in cells("%aphrodite unload second")[1]


def test_the_playground_s_address_is_a_link_and_a_frame(cells: Cells, served: Running) -> None:
    link, shown = cells("%aphrodite ui")
    assert served.url in shown and "<iframe" not in link._repr_html_()  # type: ignore[attr-defined]
    frame, _ = cells("%aphrodite ui --embed --height 300")
    assert "<iframe" in frame._repr_html_() and "height:300px" in frame._repr_html_()  # type: ignore[attr-defined]
