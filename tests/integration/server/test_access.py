"""Who may ask, and who is refused: cleanly, and without harm to what runs."""

import gzip
import socket
import time
from urllib.parse import urlsplit

import httpx
import pytest

from ktrdr_otel.errors import SettingsError
from ktrdr_otel.server.settings import load_server_settings
from tests.integration.server.conftest import TOKEN, Running, Serve, begin

OPERATIONS = "/api/v1/operations"


def test_without_a_token_only_this_machine_may_listen() -> None:
    """The refusal says what to do, and tells no token."""
    with pytest.raises(SettingsError, match="KTRDR_OTEL_TOKEN"):
        load_server_settings(host="0.0.0.0")
    with pytest.raises(SettingsError, match="at least 16 characters") as caught:
        load_server_settings(token="too-short")
    assert "too-short" not in str(caught.value)


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Cookie": "ktrdr_otel_session=x"},
    ],
)
def test_without_the_token_nothing_is_told(serve: Serve, header: dict[str, str]) -> None:
    """No token, a wrong one, one of another kind, a made-up session: 401, on every route but health and login."""
    running = serve(token=TOKEN)
    begin(running.service)
    for path in (
        OPERATIONS,
        f"{OPERATIONS}/one",
        "/api/v1/events",
        f"{OPERATIONS}/one/events",
        "/openapi.json",
    ):
        answer = running.client.get(path, headers=header)
        assert answer.status_code == 401, path
        assert "train one" not in answer.text
    assert running.client.post(f"{OPERATIONS}/one/cancel", headers=header).status_code == 401
    assert running.client.post("/v1/traces", headers=header).status_code == 401
    assert running.client.get("/healthz", headers=header).status_code == 200
    assert running.service.get("one").status.value == "running"


def test_the_token_opens_every_route(serve: Serve) -> None:
    """As a header, and as the cookie of a browser that has logged in once."""
    running = serve(token=TOKEN)
    assert running.client.get(OPERATIONS, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert running.client.get("/").headers["location"] == "/login"
    refused = running.client.post("/login", data={"token": "wrong" * 5})
    assert refused.headers["location"] == "/login?refused=1"
    assert not refused.cookies
    answer = running.client.post("/login", data={"token": TOKEN})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    assert running.client.get(OPERATIONS).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9464", "127.0.0.1.evil.example", "", "[::1"])
def test_a_foreign_host_is_refused_on_loopback_too(running: Running, host: str) -> None:
    """A name that somebody has pointed at this machine is not ours."""
    assert running.client.get(OPERATIONS, headers={"Host": host}).status_code == 400


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1", "file://"])
def test_a_foreign_origin_is_refused(running: Running, origin: str) -> None:
    """A page of another site, also one on another port of this machine, may not ask."""
    begin(running.service)
    for answer in (
        running.client.get(OPERATIONS, headers={"Origin": origin}),
        running.client.post(f"{OPERATIONS}/one/cancel", headers={"Origin": origin}),
    ):
        assert answer.status_code == 403
    assert running.client.get(OPERATIONS, headers={"Origin": running.url}).status_code == 200


def test_a_body_that_is_too_large_is_refused(running: Running) -> None:
    """Said beforehand or not, packed or not; nothing of it is kept."""
    begin(running.service)
    large = b'{"reason": "' + b"x" * 200_000 + b'"}'
    headers = {"Content-Type": "application/json"}
    cancel = f"{OPERATIONS}/one/cancel"
    assert running.client.post(cancel, content=large, headers=headers).status_code == 413
    assert running.client.post(cancel, content=iter([large]), headers=headers).status_code == 413
    protobuf = {"Content-Type": "application/x-protobuf"}
    assert running.client.post("/v1/traces", content=b"x" * (9 * 2**20), headers=protobuf).status_code == 413
    bomb = gzip.compress(b"\0" * (64 * 2**20))
    packed = {**protobuf, "Content-Encoding": "gzip"}
    assert running.client.post("/v1/traces", content=bomb, headers=packed).status_code == 413
    assert running.service.get("one").status.value == "running"


@pytest.mark.parametrize(
    "path",
    [
        "/page/../settings.py",
        "/page/..%2fsettings.py",
        "/page/%2e%2e/%2e%2e/auth.py",
        "/page//etc/passwd",
        "/page/..\\..\\auth.py",
        f"{OPERATIONS}/../../etc/passwd",
        f"{OPERATIONS}/%00",
    ],
)
def test_no_path_leads_out(running: Running, path: str) -> None:
    """Not to our own files, and not to the machine's."""
    address = urlsplit(running.url)
    with socket.create_connection((address.hostname, address.port)) as raw:
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while part := raw.recv(65536):
            answer += part
    status = int(answer.split()[1])
    assert status in (400, 404)
    assert b"root:" not in answer
    assert b"import" not in answer


def test_two_thousand_connections_do_not_stop_those_who_are_served(serve: Serve) -> None:
    """What comes beyond the limit is told 503, and as soon as there is room others are served."""
    running = serve(max_connections=100)
    begin(running.service)
    address = urlsplit(running.url)
    asked = b"GET /api/v1/operations/one/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
    open_ones = []
    try:
        for _ in range(2_000):
            raw = socket.create_connection((address.hostname, address.port))
            raw.sendall(asked)
            open_ones.append(raw)
        running.until(lambda: _refused(running), 30)
        assert running.service.get("one").status.value == "running"
    finally:
        for raw in open_ones:
            raw.close()
    running.until(lambda: not _refused(running), 30)
    assert running.client.get(f"{OPERATIONS}/one").json()["status"] == "running"


def _refused(running: Running) -> bool:
    try:
        with httpx.Client(base_url=running.url, timeout=5) as fresh:
            return fresh.get("/healthz").status_code == 503
    except httpx.TransportError:
        time.sleep(0.05)
        return True
