"""Who may ask: by which name the server was reached, from which page, and with which token."""

import hashlib
import hmac
from collections.abc import Iterable
from typing import Final
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ktrdr_otel.server.settings import ServerSettings, is_address

COOKIE: Final = "ktrdr_otel_session"
_SESSION_SECONDS: Final = 30 * 24 * 3600
_LONGEST_FORM: Final = 4096  # bytes of a login
# Needed before anyone has logged in; nothing in them says what runs here.
_OPEN_PATHS: Final = frozenset({"/healthz", "/login"})
_OPEN_FOLDER: Final = "/page/"


class Gate:
    """Lets a request through, or answers it: 400 for a foreign `Host`, 403 for a foreign `Origin`, 401 without token.

    Host and Origin are checked on loopback too: a page anywhere on the web can make a browser ask this machine, and
    by a name of its own that it has pointed here (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app = app
        self._settings = settings
        self._token = None if settings.token is None else settings.token.get_secret_value().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request or WebSocket."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(HTTPConnection(scope), scope)
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await refusal(scope, receive, send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "refused"})

    def _refusal(self, connection: HTTPConnection, scope: Scope) -> Response | None:
        headers = connection.headers
        host = headers.get("host", "")
        if not self._knows_host(host):
            return _problem(
                400, f"this server is not reached as {host[:200]!r}; see KTRDR_OTEL_ALLOWED_HOSTS"
            )
        if not _is_same_origin(headers, host):
            return _problem(403, "requests from other sites' pages are refused")
        path: str = scope["path"]
        if self._token is None or path in _OPEN_PATHS or path.startswith(_OPEN_FOLDER):
            return None
        if self._is_known(connection):
            return None
        if scope["type"] == "http" and path == "/" and scope["method"] == "GET":
            return RedirectResponse("/login", status_code=303)
        return _problem(401, "a token is needed: Authorization: Bearer ...", {"WWW-Authenticate": "Bearer"})

    def _knows_host(self, host: str) -> bool:
        name = _host_name(host)
        if name in self._settings.host_names:
            return True
        # An address cannot be rebound; with a token nobody gets further by reaching us under another address.
        return self._token is not None and is_address(name)

    def _is_known(self, connection: HTTPConnection) -> bool:
        assert self._token is not None
        scheme, _, given = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return hmac.compare_digest(given.strip().encode(), self._token)
        cookie = connection.cookies.get(COOKIE, "")
        return hmac.compare_digest(cookie.encode(), session_of(self._token).encode())


def session_of(token: bytes) -> str:
    """What a logged-in browser keeps: it proves the token and does not tell it."""
    return hmac.new(token, b"ktrdr-otel session", hashlib.sha256).hexdigest()


async def log_in(request: Request, settings: ServerSettings) -> Response:
    """The cookie, for a form that holds the token; else the form again."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LONGEST_FORM:
            return _problem(413, "the form is too large")
    given = parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0].strip()
    token = "" if settings.token is None else settings.token.get_secret_value()
    if settings.token is not None and not hmac.compare_digest(given.encode(), token.encode()):
        return RedirectResponse("/login?refused=1", status_code=303)
    answer = RedirectResponse("/", status_code=303)
    if settings.token is not None:
        answer.set_cookie(
            COOKIE,
            session_of(token.encode()),
            max_age=_SESSION_SECONDS,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
    return answer


class PageHeaders:
    """Nothing is guessed, framed or loaded from elsewhere."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Each answer carries the headers."""

        async def send_with_headers(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                headers = message.setdefault("headers", [])
                assert isinstance(headers, list)
                present = {name.lower() for name, _ in headers}
                headers.extend(each for each in _HEADERS if each[0] not in present)
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)  # type: ignore[arg-type] # a message is a mapping


_HEADERS: Final[Iterable[tuple[bytes, bytes]]] = (
    (
        b"content-security-policy",
        b"default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; img-src 'self' data:",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # With `no-referrer` a browser sends the login form as from a foreign origin: `Origin: null`.
    (b"referrer-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


def _host_name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _is_same_origin(headers: Headers, host: str) -> bool:
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        return urlsplit(origin).netloc.lower() == host.lower() != ""
    except ValueError:
        return False


def _problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"detail": detail}, status_code=status, headers=headers)
