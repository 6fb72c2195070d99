"""What the server lets in (20), and the shape of what it refuses (15)."""

import json
import mimetypes

import httpx
import pytest

from tests.plugins.textgen_serve.conftest import read_all
from textgen_serve.app import read_page

JSON = {"Content-Type": "application/json"}


def error_of(answer):
    """The error of an answer, which has the one shape."""
    assert answer.headers["content-type"] == "application/json"
    (key,) = answer.json()
    error = answer.json()[key]
    assert key == "error"
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["message"]
    return error


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/v1/models/nothing", 404),
        ("GET", "/v1/chat/completions", 404),
        ("GET", "/page/", 404),
        ("GET", "/page/../command.py", 404),
        ("GET", "/page/%2e%2e/command.py", 404),
        ("GET", "/v1/completions", 405),
        ("DELETE", "/v1/models", 405),
        ("POST", "/health", 405),
        ("OPTIONS", "/v1/completions", 405),
        ("TRACE", "/metrics", 405),
    ],
)
def test_15_paths_and_methods(server, method, path, status):
    answer = httpx.request(method, server.url + path)
    assert answer.status_code == status
    error_of(answer)
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize("path", ["/v1/completions", "/tokenize", "/detokenize", "/next"])
def test_15_bodies(server, path):
    for kind in ("text/plain", "application/x-www-form-urlencoded", None):
        answer = httpx.post(
            server.url + path, content=b'{"prompt": "a"}', headers={"Content-Type": kind} if kind else {}
        )
        assert answer.status_code == 415
        assert "application/json" in error_of(answer)["message"]
    answer = httpx.post(server.url + path, content=b"{", headers=JSON)
    assert answer.status_code == 400
    assert "JSON" in error_of(answer)["message"]
    answer = httpx.post(server.url + path, json={"model": "unheard-of", "prompt": "a", "tokens": [1]})
    assert (answer.status_code, error_of(answer)["code"]) == (404, "model_not_found")
    answer = httpx.post(server.url + path, json={"prompt": 5, "tokens": "a"})
    assert answer.status_code == 400
    assert error_of(answer)["param"] in ("prompt", "tokens")


def test_15_what_is_not_http(server):
    for sent in (b"nonsense\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"):
        connection = server.connect()
        connection.sendall(sent)
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400")
        assert json.loads(body)["error"]["code"] == "bad_http"


def test_20_a_head_without_end_is_refused(server):
    connection = server.connect()
    with pytest.raises(ConnectionError):  # noqa: PT012
        connection.sendall(b"GET /health HTTP/1.1\r\n")
        for _ in range(10_000):
            connection.sendall(b"X-More: " + b"x" * 1_000 + b"\r\n")


# -- sizes


def test_20_a_body_that_says_that_it_is_too_large_is_not_read(server):
    connection = server.connect()
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    connection.sendall(head + b"Content-Length: 2147483648\r\n\r\n{")
    answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 413")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "too_large"


def test_20_a_body_without_end_is_read_up_to_a_mebibyte(server):
    connection = server.connect()
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
    sent = 0
    try:
        while sent < 2**31:
            connection.sendall(b"10000\r\n" + b" " * 65_536 + b"\r\n")
            sent += 65_536
    except ConnectionError:
        pass
    assert sent < 2**25  # what the kernel holds comes on top of what is read
    assert connection.recv(10_000).startswith(b"HTTP/1.1 413")


def test_chunked_bodies_are_fine(server):
    content = iter([b'{"prompt": "Ram", ', b'"seed": 7, "max_tokens": 5}'])
    answer = httpx.post(server.url + "/v1/completions", content=content, headers=JSON)
    assert (answer.status_code, answer.json()["usage"]["completion_tokens"]) == (200, 5)


# -- keys


@pytest.fixture
def locked(start, tmp_path):
    (tmp_path / "keys").write_text("# of the lab\nfirst\n\n  second \n")
    return start("--api-key-file", tmp_path / "keys", TEXTGEN_API_KEYS="third,fourth")


def paths_of(server):
    document = httpx.get(server.url + "/openapi.json").json()
    return [
        (method.upper(), path.replace("{model}", "gru-names"))
        for path, each in document["paths"].items()
        for method in each
    ]


def test_20_a_key_opens_every_route_and_health_needs_none(locked):
    paths = paths_of(locked)
    assert len(paths) == 9
    for method, path in [*paths, ("GET", "/nothing"), ("POST", "/v1/completions/"), ("GET", "/v1/../v1/models"),
                         ("GET", "//v1/models"), ("GET", "/health/"), ("GET", "/metrics")]:  # fmt: skip
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"X-Api-Key": "firs"}, {"Authorization": "Basic first"}):
            answer = httpx.request(method, locked.url + path, headers=headers)
            if path == "/health":
                assert answer.status_code == 200
                continue
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"] == "Bearer"
            assert error_of(answer)["type"] == "authentication_error"
            is_given = "wrong" in str(headers) or "firs'" in str(headers)
            assert error_of(answer)["message"].startswith("this API key is not" if is_given else "give an API key")
    for key in ("first", "second", "third", "fourth"):
        for headers in ({"Authorization": f"Bearer {key}"}, {"Authorization": f"bearer {key}"}, {"X-Api-Key": key}):
            assert httpx.get(locked.url + "/v1/models", headers=headers).status_code == 200
    for headers in ({"Authorization": "Bearer wrong", "X-Api-Key": "first"},
                    {"Authorization": "Bearer first", "X-Api-Key": "wrong"}):  # fmt: skip
        assert httpx.get(locked.url + "/v1/models", headers=headers).status_code == 200
    assert httpx.get(locked.url + "/v1/models", headers={"X-Api-Key": "# of the lab"}).status_code == 401
    assert locked.client(api_key="second").models.list().data


def test_a_file_of_keys_may_be_of_windows(start, tmp_path):
    (tmp_path / "keys").write_bytes(b"\xef\xbb\xbffirst\r\nsecond\r\n")
    server = start("--api-key-file", tmp_path / "keys")
    for key in ("first", "second"):
        assert httpx.get(server.url + "/v1/models", headers={"X-Api-Key": key}).status_code == 200


def test_short_keys_are_told_of(locked):
    (line,) = [line for line in locked.lines if "can be guessed" in line]
    assert "an API key of fewer than 16 characters" in line


def test_a_key_is_no_part_of_the_log(locked):
    httpx.get(locked.url + "/v1/models", headers={"Authorization": "Bearer second"})
    httpx.get(locked.url + "/v1/models?api_key=second")
    locked.close()
    assert len([line for line in locked.log if line["event"] == "request"]) == 2
    assert not any("second" in str({**line, "seconds": 0}).replace("seconds", "") for line in locked.log)


def test_metrics_may_be_open(start):
    server = start("--open-metrics", TEXTGEN_API_KEYS="key")
    assert httpx.get(server.url + "/metrics").status_code == 200
    assert httpx.get(server.url + "/v1/models").status_code == 401


# -- hosts and origins


@pytest.mark.parametrize(
    ("host", "is_allowed"),
    [
        ("localhost", True),
        ("LOCALHOST:1234", True),
        ("127.0.0.1:8080", True),
        ("[::1]:8080", True),
        ("evil.example", False),
        ("evil.example:8080", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost:80@evil.example", False),
        ("", False),
    ],
)
def test_20_on_loopback_only_names_of_this_machine_are_answered(server, host, is_allowed):
    answer = httpx.get(server.url + "/v1/models", headers={"Host": host})
    assert answer.status_code == (200 if is_allowed else 403)
    if not is_allowed:
        error = error_of(answer)
        assert error["code"] == "host_not_allowed"
        name = host.removesuffix(":8080")
        advice = f"the host '{name}' is not allowed; start the server with --allowed-host {name}"
        assert error["message"] == (f"the Host header {host!r} names no host" if "@" in host or not host else advice)
    assert httpx.get(server.url + "/health", headers={"Host": host}).status_code == 200  # probes call by address


@pytest.mark.parametrize("path", ["/v1/models", "/health"])
def test_20_several_host_headers_are_refused(server, path):
    for hosts in (["localhost", "evil.example"], ["evil.example", "localhost"], ["localhost", "localhost"]):
        connection = server.connect()
        lines = [f"GET {path} HTTP/1.1", *(f"Host: {host}" for host in hosts), "Connection: close", "", ""]
        connection.sendall("\r\n".join(lines).encode())
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400")
        assert json.loads(body)["error"]["code"] == "bad_http"


def test_the_default_address_is_loopback(server):
    assert server.url.startswith("http://127.0.0.1:")


def test_other_hosts_can_be_allowed(start):
    server = start("--allowed-host", "names.example")
    assert httpx.get(server.url + "/v1/models", headers={"Host": "names.example"}).status_code == 200
    assert httpx.get(server.url + "/v1/models").status_code == 200
    assert httpx.get(server.url + "/v1/models", headers={"Host": "evil.example"}).status_code == 403
    everywhere = start("--host", "0.0.0.0")
    assert httpx.get(everywhere.url + "/v1/models", headers={"Host": "pod-7.cluster"}).status_code == 200
    listening = f"listening on 0.0.0.0 port {everywhere.port} for other machines"
    assert any(f"{listening}; whoever reaches it may write" in line for line in everywhere.lines)
    assert not any("for other machines" in line for line in server.lines)
    closed = start("--host", "0.0.0.0", TEXTGEN_API_KEYS="0123456789abcdef")
    assert httpx.get(closed.url + "/health").status_code == 200
    assert any(line.endswith("for other machines\n") for line in closed.lines)
    assert not any("can be guessed" in line for line in closed.lines)


#: What openai's client in JavaScript sends.
SENT = "authorization,content-type,openai-organization,x-stainless-arch,x-stainless-lang,x-stainless-retry-count"


def preflight(server, origin):
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": SENT,
    }
    return httpx.options(server.url + "/v1/completions", headers=headers)


def test_20_by_default_no_page_of_another_origin_is_answered(server):
    answer = httpx.get(server.url + "/v1/models", headers={"Origin": "https://example.org"})
    assert not any(name.startswith("access-control") for name in answer.headers)
    assert preflight(server, "https://example.org").status_code == 405


@pytest.mark.parametrize(
    ("allowed", "origin", "is_allowed"),
    [
        ("https://example.org", "https://example.org", True),
        ("https://example.org", "https://example.org.evil", False),
        ("https://example.org", "http://example.org", False),
        ("localhost", "http://localhost:3000", True),
        ("localhost", "http://127.0.0.1:5173", True),
        ("localhost", "https://localhost.evil", False),
        ("localhost", "null", False),
        ("*", "https://anything.example", True),
    ],
)
def test_origins_that_are_allowed(start, allowed, origin, is_allowed):
    server = start("--cors-origin", allowed, TEXTGEN_API_KEYS="key")
    asked = preflight(server, origin)
    refused = httpx.post(server.url + "/v1/completions", json={}, headers={"Origin": origin})
    answer = httpx.get(server.url + "/v1/models", headers={"Origin": origin, "X-Api-Key": "key"})
    assert (asked.status_code, refused.status_code, answer.status_code) == (204 if is_allowed else 401, 401, 200)
    for each in (asked, refused, answer):  # a page can read why it was refused
        assert each.headers.get("access-control-allow-origin") == (origin if is_allowed else None)
    if is_allowed:
        assert asked.headers["access-control-allow-headers"] == SENT
        assert "POST" in asked.headers["access-control-allow-methods"]
        assert answer.headers["vary"] == "Origin"


# -- the page


def test_the_page_is_served_with_types_and_without_a_key(start):
    server = start(TEXTGEN_API_KEYS="key")
    page = httpx.get(server.url + "/")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    script = httpx.get(server.url + "/page/page.js")
    assert (script.status_code, script.headers["content-type"].partition(";")[0]) == (200, "text/javascript")
    for hidden in ("/page", "/page/", "/page/nothing.js", "/page/index.html", "/page//page.js"):
        assert httpx.get(server.url + hidden).status_code == 401


def test_the_types_of_the_page_are_not_those_of_the_machine(monkeypatch):
    monkeypatch.setattr(mimetypes, "guess_type", lambda name: ("application/x-odd", None))
    assert {kind for _, kind in read_page().values()} == {"text/html", "text/css", "text/javascript"}


# -- several runs


def test_the_tokenizer_of_one_run_among_several_has_to_be_named(server, locked):
    answer = httpx.get(server.url + "/tokenizer_info")
    assert (answer.status_code, error_of(answer)["param"]) == (400, "model")
    assert "/tokenizer_info?model=NAME; there are: gru-names, gru-trees, lstm-trees" in error_of(answer)["message"]
    sizes = [
        httpx.get(server.url + f"/tokenizer_info?model={name}").json()["vocab_size"]
        for name in ("gru-names", "lstm-trees")
    ]
    assert sizes == [54, 30]
    assert httpx.get(server.url + "/tokenizer_info?model=other").status_code == 404
    alone = httpx.get(locked.url + "/tokenizer_info", headers={"X-Api-Key": "first"})
    assert alone.json()["vocab_size"] == 54
