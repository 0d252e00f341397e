"""Who may ask: hosts, origins, tokens; and that nothing of the server shows."""

import logging

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse

from speech_xl.serving.security import is_loopback, read_token
from tests.serving.conftest import error_of, opened

TOKEN = "a-token-of-some-length"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST", "10.1.2.3"]
)
def test_this_machine_and_addresses_are_served(client, host):
    assert client.get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "127.0.0.1.evil.example", "[", "a b"])
def test_a_name_that_was_turned_to_this_address_is_refused(client, host):
    error_of(client.get("/health", headers={"Host": host}), 400, "host")


def test_a_name_can_be_allowed(serve):
    with serve(app={"hosts": ["speech.example"]}) as client:
        assert client.get("/health", headers={"Host": "speech.example:443"}).status_code == 200


def test_other_pages_may_not_use_the_server_unless_they_are_allowed(serve):
    foreign = {"Origin": "http://evil.example"}
    with serve() as client:
        error_of(client.post("/v1/sessions", headers=foreign), 403, "origin")
        assert client.post("/v1/sessions", headers={"Origin": "http://localhost"}).status_code == 201
        assert "access-control-allow-origin" not in client.get("/health", headers=foreign).headers
        error_of(client.post("/v1/sessions", headers={"Origin": "null"}), 403, "origin")
    with serve(app={"origins": ["http://evil.example/"]}) as client:
        assert client.post("/v1/sessions", headers=foreign).headers["access-control-allow-origin"] == foreign["Origin"]
        ask = {**foreign, "Access-Control-Request-Method": "PATCH"}
        assert client.options("/v1/sessions", headers=ask).status_code == 200


def test_a_token_is_wanted_for_all_but_health_and_the_page(serve):
    with serve(app={"token": TOKEN}) as client:
        assert client.get("/health").status_code == 200
        for wrong in (
            {},
            {"Authorization": "Bearer x"},
            {"Authorization": f"Basic {TOKEN}"},
            {"Authorization": "Bearer é"},
        ):
            refused = client.get("/v1/limits", headers={k: v.encode() for k, v in wrong.items()})
            assert error_of(refused, 401, "token") and refused.headers["WWW-Authenticate"] == "Bearer"
        assert client.get("/v1/limits", headers=BEARER).status_code == 200
        client.headers.update(BEARER)
        session = opened(client)
        del client.headers["Authorization"]
        path = f"ws://localhost/v1/sessions/{session}/stream?rate=16000"
        with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect(path):
            pass
        assert refused.value.status_code == 401
        for way in ({"headers": BEARER}, {"subprotocols": ["speech-xl", f"bearer.{TOKEN}"]}):
            with client.websocket_connect(path, **way) as socket:
                assert socket.accepted_subprotocol == ("speech-xl" if "subprotocols" in way else None)


def test_a_foreign_page_opens_no_socket(client):
    path = f"ws://localhost/v1/sessions/{opened(client)}/stream?rate=16000"
    with pytest.raises(WebSocketDenialResponse) as refused:
        client.websocket_connect(path, headers={"Origin": "http://evil.example"}).__enter__()
    assert refused.value.status_code == 403


def test_tokens_come_from_the_environment_or_a_file(monkeypatch, tmp_path):
    monkeypatch.delenv("SPEECH_XL_TOKEN", raising=False)
    assert read_token() is None
    monkeypatch.setenv("SPEECH_XL_TOKEN", TOKEN)
    assert read_token() == TOKEN
    (tmp_path / "token").write_text("another-token-of-length\n")
    assert read_token(tmp_path / "token") == "another-token-of-length"
    for bad in ("short", "", "with a blank in the middle", "ünïcödé-ünïcödé-ünï"):
        (tmp_path / "token").write_text(bad)
        with pytest.raises(ValueError, match="16 to 512 characters"):
            read_token(tmp_path / "token")
    with pytest.raises(OSError, match="can't read"):
        read_token(tmp_path / "none")


def test_loopback_is_told_from_other_addresses():
    assert all(map(is_loopback, ["127.0.0.1", "localhost", "::1", "127.8.8.8"]))
    assert not any(map(is_loopback, ["0.0.0.0", "::", "10.0.0.1", "example.org"]))


@pytest.mark.parametrize(
    "path", ["/../app.py", "/%2e%2e/app.py", "/..%2fapp.py", "//etc/passwd", "/.git/config", "/%00"]
)
def test_nothing_beside_the_page_is_served(client, path):
    assert client.get(path).status_code == 404


def test_answers_forbid_other_sources_and_keep_nothing(client):
    headers = client.get("/v1/limits").headers
    assert "default-src 'self'" in headers["content-security-policy"] and headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff" and "server" not in headers


def test_the_log_holds_no_id_of_a_session(client, caplog):
    caplog.set_level(logging.INFO, "speech_xl.serving.requests")
    session = opened(client)
    client.get(f"/v1/sessions/{session}?secret=1")
    assert "GET /v1/sessions/... 200" in caplog.text and session not in caplog.text and "secret" not in caplog.text


def test_an_error_of_the_server_shows_nothing_of_it(client, monkeypatch, caplog):
    def broken():
        raise KeyError("/etc/secret")

    monkeypatch.setattr(client.service, "about", broken)
    quiet = TestClient(client.app, base_url="http://localhost", raise_server_exceptions=False)
    assert "secret" not in error_of(quiet.get("/health"), 500, "internal") and "/etc/secret" in caplog.text
