"""`/` and `/playground/`: who comes to `/` goes on to the playground; who needs a key is asked for it there.

`/` answers a page that goes on by itself, not a redirect: a browser that followed a link from another site counts that
site as the sender of the next request too, and would leave out the cookie.
"""

from __future__ import annotations

from urllib.parse import parse_qs

from aphrodite.service.access import Access
from aphrodite.service.access.keys import KeyStoreError
from aphrodite.service.access.user import ANONYMOUS, User
from aphrodite.service.access.visits import ENTRANCE, PLAYGROUND, cookie_name
from aphrodite.service.errors import ApiError, unavailable
from aphrodite.service.http.call import Call
from aphrodite.service.http.endpoint import Endpoint
from aphrodite.service.http.replies import Reply, error_reply
from aphrodite.service.pages.process import State
from aphrodite.service.pages.relay import Relayed
from aphrodite.service.pages.sheet import sheet

_LONGEST_FORM = 4096

_ON = """<h1>Aphrodite</h1><p><a href="playground/">Go on to the playground</a></p>
<script>location.replace("playground/")</script>"""
_WITHOUT_SCRIPTS = '<noscript><meta http-equiv="refresh" content="0; url=playground/"></noscript>'
_ABSENT = """<h1>Aphrodite</h1><p>The service runs. Its OpenAI-compatible endpoint is at <code>/v1</code>, and
<code>/health</code> says how it is.</p><p>The playground is not installed here.</p>"""
_STARTING = """<h1>Aphrodite</h1><p>The playground is starting; this takes a few seconds the first time.</p>
<div class="busy"></div><script>
const begun = Date.now();
const timer = setInterval(async () => {
  const answer = await fetch("./", {method: "HEAD"}).catch(() => null);
  if (answer && (answer.status !== 202 || Date.now() - begun > 20000)) { clearInterval(timer); location.reload(); }
}, 300);
</script>"""
_AGAIN = '<noscript><meta http-equiv="refresh" content="2"></noscript>'
_FAILED = """<h1>Aphrodite</h1><p class="wrong">The playground could not be started.</p>
<p><code>aphrodite logs</code> shows why. <a href="./">Try again</a></p>"""
_LOGIN = """<h1>Aphrodite</h1><p>This service asks for a key. <code>aphrodite keys add NAME</code> makes one; a teammate
gets one with <code>aphrodite share</code>.</p>
<form method="post" action="login"><label for="key">Key</label>
<input id="key" name="key" type="password" autocomplete="current-password" required autofocus>
<button>Open the playground</button></form>{wrong}"""


async def entrance(call: Call) -> Reply:
    """`/`."""
    status = 401 if call.user is ANONYMOUS else 200
    if call.service.playground.state is State.ABSENT:
        return sheet(_ABSENT, status)
    reply = sheet(_ON, status, _WITHOUT_SCRIPTS)
    return _asking(reply) if status == 401 else reply


async def playground(call: Call) -> Reply | Relayed:
    """Everything below `/playground/`."""
    process, path = call.service.playground, call.path("path")
    if call.user is ANONYMOUS:
        return _login_page() if not path else _needs_key()
    state = process.state if path or _only_asks(call, process.state) else process.visit()
    if state is State.READY:
        token = call.service.accounts.visits.token(call.user)
        lost = unavailable("the playground is being started again", "playground_lost")
        otherwise = error_reply(lost) if path else _waiting(State.STARTING)
        return Relayed(call, process.socket, _target(call), await call.body(), token, otherwise)
    return _waiting(state)


def _only_asks(call: Call, state: State) -> bool:
    """Whether this is the starting page asking if a start has failed: a person is to be told so, once."""
    return call.scope["method"] == "HEAD" and state is State.FAILED


async def playground_folder(call: Call) -> Reply:
    """Without its last slash; the address is relative, so it holds under a proxy's prefix too."""
    reply = Reply(b"", 307)
    reply.headers["location"] = "playground/"
    return reply


async def login(call: Call) -> Reply:
    """A key, as the login page sends it, becomes a cookie. The path is left out, so it is this folder's, under whatever
    prefix a proxy shows it."""
    form = parse_qs((await call.body(_LONGEST_FORM)).decode("utf-8", errors="replace"))
    key = form.get("key", [""])[0].strip()
    user = _owner_of(key, call) if key else None
    if user is None:
        return _login_page('<p class="wrong" role="alert">This key is wrong, or was revoked.</p>')
    cookie = f"{cookie_name(call.scope)}={call.service.accounts.visits.token(user)}; HttpOnly; SameSite=Strict"
    reply = Reply(b"", 303)
    reply.headers |= {
        "location": "./",
        "set-cookie": cookie + ("; Secure" if call.scope["scheme"] == "https" else ""),
        "cache-control": "no-store",
    }
    return reply


def _owner_of(key: str, call: Call) -> User | None:
    try:
        return call.service.accounts.find(key.encode(errors="replace"))
    except KeyStoreError as error:
        raise unavailable("the keys cannot be read at the moment", "keys_unavailable", 5) from error


def _waiting(state: State) -> Reply:
    if state is State.ABSENT:
        return sheet(_ABSENT, 404)
    if state is State.FAILED:
        return sheet(_FAILED, 500)
    reply = sheet(_STARTING, 202, _AGAIN)
    reply.headers["retry-after"] = "1"
    return reply


def _target(call: Call) -> bytes:
    raw = call.scope["raw_path"]
    if not raw.startswith(PLAYGROUND.encode()):  # written with escapes that no link of ours has
        raise ApiError(404, "there is no such page", code="route_not_found")
    path = raw[len(PLAYGROUND) - 1 :]
    query = call.scope["query_string"]
    return path + b"?" + query if query else path


def _login_page(wrong: str = "") -> Reply:
    return _asking(sheet(_LOGIN.format(wrong=wrong), 401))


def _needs_key() -> Reply:
    return error_reply(ApiError(401, "a key is needed: open the playground and log in", code="invalid_api_key"))


def _asking(reply: Reply) -> Reply:
    reply.headers["www-authenticate"] = "Bearer"
    return reply


ENDPOINTS = (
    Endpoint("GET", ENTRANCE, entrance, "The way to the playground.", access=Access.OPEN),
    Endpoint("GET", PLAYGROUND.rstrip("/"), playground_folder, "The same, with a slash.", access=Access.OPEN),
    Endpoint("POST", PLAYGROUND + "login", login, "A key becomes a cookie.", access=Access.OPEN),
    Endpoint("GET", PLAYGROUND + "{path:path}", playground, "The playground.", access=Access.OPEN),
    Endpoint("POST", PLAYGROUND + "{path:path}", playground, "What its page asks.", access=Access.OPEN),
)  # fmt: skip
