"""Clients that come, wait, leave, and are refused; the numbers are those of the cases in SERVING.md."""

import concurrent.futures
import http.client
import json
import socket
import time

import httpx
import openai
import pytest

from tests.plugins.textgen_serve.conftest import RECORDED, SLOW, read_all, read_until

TREES = RECORDED / "lstm-trees"


@pytest.fixture(params=["bare", "every middleware"])
def guarded(request, start, tmp_path):
    """A server with a place for two texts, without and with all that stands before its application (4)."""
    (tmp_path / "keys").write_text("secret-1\nsecret-2\n")
    doors = ["--api-key-file", tmp_path / "keys", "--cors-origin", "localhost", "--allowed-host", "localhost"]
    doors += ["--open-metrics", "--allowed-host", "127.0.0.1"]
    server = start("--rows", 2, *(doors if request.param != "bare" else ()), run=TREES)
    headers = {"Authorization": "Bearer secret-2", "Origin": "http://localhost:3000"}
    server.client_headers = headers if request.param != "bare" else {}
    return server


def ask(server, **body):
    """A connection on which a slow text of 2,000 characters was asked for, which takes 40 seconds."""
    connection = server.connect()
    content = json.dumps({"prompt": "oak", "max_tokens": 2_000, "sampler": SLOW, **body}).encode()
    headers = {"Host": "localhost", "Content-Type": "application/json", "Content-Length": str(len(content))}
    lines = [f"{name}: {value}" for name, value in (headers | server.client_headers).items()]
    connection.sendall("\r\n".join(["POST /v1/completions HTTP/1.1", *lines, "", ""]).encode() + content)
    return connection


@pytest.mark.parametrize("stream", [True, False])
def test_1_2_4_a_client_that_leaves_ends_its_text_and_no_other(guarded, trees, stream):
    server = guarded
    leaver = ask(server, stream=stream, seed=1)
    server.wait_for("num_rows_running", 1)
    body = {"prompt": "oak", "max_tokens": 60, "sampler": SLOW, "seed": 2}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        stayer = pool.submit(
            lambda: httpx.post(server.url + "/v1/completions", json=body, headers=server.client_headers, timeout=60)
        )
        server.wait_for("num_rows_running", 2)
        if stream:
            assert b"200 OK" in leaver.recv(1_000)
        leaver.close()
        server.wait_for("num_rows_running", 1, seconds=2)
        text = stayer.result().json()["choices"][0]["text"]
    chain = SLOW.partition("| ")[2]
    assert text == trees.generate("oak", length=60, sampler=chain, seed=2)[3:]
    server.wait_for("num_rows_running", 0)
    assert server.metric("requests_cancelled_total") == 1
    tokens = server.metric("generation_tokens_total")
    assert tokens == server.metric("iteration_tokens_total_sum") > 60  # those of the text that was broken off, too
    assert server.metric("prompt_tokens_total") == 6
    assert server.logged(2, path="/v1/completions")[0]["status"] == (200 if stream else 499)


def test_3_4_a_request_that_waits_never_runs_once_its_client_has_left(guarded):
    server = guarded
    writers = [ask(server, stream=True) for _ in range(2)]
    server.wait_for("num_rows_running", 2)
    waiter = ask(server, stream=True, n=3)
    server.wait_for("num_requests_waiting", 1)
    waiter.close()
    server.wait_for("num_requests_waiting", 0)
    for writer in writers:
        writer.close()
    server.wait_for("num_rows_running", 0)
    quick = {"prompt": "oak", "max_tokens": 5}
    assert httpx.post(server.url + "/v1/completions", json=quick, headers=server.client_headers).status_code == 200
    assert server.metric("time_to_first_token_seconds_count") <= 3  # the two writers, and the last one


def test_a_stream_of_several_texts_ends_with_all_of_them(guarded):
    connection = ask(guarded, stream=True, n=2)
    guarded.wait_for("num_rows_running", 2)
    connection.close()
    guarded.wait_for("num_rows_running", 0)


# -- the queue


def test_18_a_full_queue_refuses_before_any_work(start):
    server = start("--rows", 2, "--queue", 3, run=TREES)
    server.client_headers = {}
    writers = [ask(server, stream=True) for _ in range(2)]
    server.wait_for("num_requests_running", 2)
    writers.append(ask(server, stream=True, n=2))
    server.wait_for("num_requests_waiting", 1)
    for body in ({"n": 2}, {"prompt": ["a", "b"]}, {"best_of": 2}):
        answer = server.post(**{"prompt": "a", **body})
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
        assert answer.json()["error"] | {"message": ""} == {
            "message": "", "type": "rate_limit_error", "param": None, "code": "queue_full"
        }  # fmt: skip
    assert min(line["seconds"] for line in server.logged(3, status=429)) < 0.01
    assert server.metric("requests_rejected_total") == 3
    moved = server.metric("generation_tokens_total")  # while texts are written
    assert moved > 0
    one = ask(server, stream=True)  # there is one place left
    server.wait_for("num_requests_waiting", 2)
    for connection in (*writers, one):
        connection.close()
    server.wait_for("num_requests_waiting", 0)
    assert server.texts(prompt="a", n=2, max_tokens=5)


def test_18_texts_of_a_run_do_not_wait_in_the_places_of_another(start):
    server = start(TREES, "--rows", 2, "--queue", 3)
    server.client_headers = {}
    names = {"model": "gru-names", "prompt": "Ram", "ignore_eos": True}
    writer = ask(server, **names, stream=True, n=5)  # two are written, three wait
    server.wait_for("num_rows_running", 2)
    assert server.post(**names).status_code == 429
    assert server.texts(model="lstm-trees", prompt="a", n=2, max_tokens=3)
    assert server.post(model="lstm-trees", prompt="a", n=3).status_code == 429
    answer = server.post(model="lstm-trees", prompt="a", n=6)
    error = answer.json()["error"]
    assert (answer.status_code, error["message"]) == (400, "6 texts are asked for; a request may ask for 5")
    writer.close()


def test_18_more_texts_than_ever_fit_are_a_mistake(start):
    server = start("--rows", 2, "--queue", 3, run=TREES)
    for body in ({"n": 6}, {"prompt": ["a"] * 6}, {"prompt": ["a"] * 3, "best_of": 2}):
        answer = server.post(**{"prompt": "a", **body})
        assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


def test_openai_python_waits_and_asks_again_when_the_queue_is_full(start):
    server = start("--rows", 1, "--queue", 0, run=TREES)
    server.client_headers = {}
    writer = ask(server, max_tokens=100)
    server.wait_for("num_rows_running", 1)
    with pytest.raises(openai.RateLimitError) as refused:
        server.client(max_retries=0).completions.create(model="lstm-trees", prompt="a")
    assert (refused.value.code, refused.value.type) == ("queue_full", "rate_limit_error")
    assert server.client(max_retries=9).completions.create(model="lstm-trees", prompt="a", max_tokens=3).choices[0].text
    assert b" 200 OK" in writer.recv(100)


# -- time


def test_a_text_that_takes_too_long_is_a_504_or_the_end_of_a_stream(start):
    server = start("--timeout", 1, "--rows", 1, run=TREES)
    server.client_headers = {}
    body = {"prompt": "oak", "max_tokens": 2_000, "sampler": SLOW}
    answer = server.post(**body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout")
    *events, last = server.stream(**body)
    assert events
    assert last["error"]["code"] == "timeout"
    with pytest.raises(openai.APIError, match="complete within 1 second"):
        list(
            server.client().completions.create(
                model="lstm-trees", stream=True, prompt="oak", max_tokens=2_000, extra_body={"sampler": SLOW}
            )
        )
    server.wait_for("num_rows_running", 0)


def test_20_a_slow_body_is_ended(start):
    server = start("--timeout", 1)
    connection = server.connect()
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    connection.sendall(head + b'Content-Length: 90\r\n\r\n{"prompt": ')
    answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 408")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "slow_body"


def send_a_head_slowly(server):
    """Returns the answer, and the seconds until it came."""
    connection = server.connect()
    began = time.monotonic()
    connection.settimeout(1)
    answer = b""
    while time.monotonic() - began < 45:
        try:
            connection.sendall(b"GET /health HTTP/1.1\r\n" if time.monotonic() - began < 1 else b"X-More: and more\r\n")
            answer = connection.recv(10_000)
            break
        except TimeoutError:
            continue
    return answer, time.monotonic() - began


def ask_again_after_a_minute(server):
    client = http.client.HTTPConnection("127.0.0.1", server.port)
    for wait in (62, 0):
        client.request("GET", "/health")
        own = client.sock
        assert client.getresponse().read()
        time.sleep(wait)
        assert client.sock is own


@pytest.fixture(scope="module")
def patient_clients(server):
    """Clients that wait, side by side."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        yield {client: pool.submit(client, server) for client in (send_a_head_slowly, ask_again_after_a_minute)}


@pytest.mark.slow
def test_20_a_slow_head_is_ended(patient_clients):
    answer, seconds = patient_clients[send_a_head_slowly].result()
    assert answer.startswith(b"HTTP/1.1 408")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "slow_head"
    assert 25 < seconds < 40


# -- failures


def test_16_an_error_after_the_first_text_is_the_last_event(start):
    server = start(run=TREES)
    body = {"prompt": "oak", "max_tokens": 500, "seed": 1}
    failing = {"sampler": "late(9) | temperature(1) | multinomial"}
    stream = server.client().completions.create(model="lstm-trees", stream=True, extra_body=failing, **body)
    texts: list[str] = []
    with pytest.raises(openai.APIError) as error:
        texts.extend(event.choices[0].text for event in stream)
    assert error.value.type == "server_error"
    assert "".join(texts)
    whole = server.post(**body, **failing)
    assert (whole.status_code, whole.json()["error"]["type"]) == (500, "server_error")
    assert any("a sampler with a mistake" in line.get("traceback", "") for line in server.log)


def test_17_a_fault_of_one_request_does_not_reach_the_others(start, trees):
    server = start(run=TREES)
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        good = [pool.submit(server.texts, prompt="oak", seed=seed, max_tokens=300) for seed in range(6)]
        bad = [pool.submit(server.post, prompt="oak", sampler="faulty | multinomial") for _ in range(6)]
        assert [each.result().status_code for each in bad] == [500] * 6
        assert [each.result()[0] for each in good] == [
            trees.generate("oak", seed=seed, length=300)[3:] for seed in range(6)
        ]
    assert httpx.get(server.url + "/health").status_code == 200


def test_17_when_the_engine_dies_all_are_told_and_the_process_ends(start):
    server = start(run=TREES)
    server.client_headers = {}
    stream = ask(server, stream=True)
    received = read_until(stream, b"data: ")
    whole = ask(server)
    server.wait_for("num_rows_running", 2)
    began = time.monotonic()
    killer = server.post(prompt="oak", sampler="deadly | multinomial")
    assert (killer.status_code, killer.json()["error"]["code"]) == (503, "engine_dead")
    received += read_all(stream)
    assert json.loads(received.split(b"data: ")[-1].split(b"\n")[0])["error"]["code"] == "engine_dead"
    assert whole.recv(65_536).startswith(b"HTTP/1.1 503")
    assert time.monotonic() - began < 1.5
    assert server.end() == 1
    assert any("Death: of the engine" in line.get("traceback", "") for line in server.log)


# -- clients of every kind


def test_openai_python_reads_everything(server):
    client = server.client()
    options = {"model": "lstm-trees", "prompt": "oak", "max_tokens": 9, "seed": 7, "user": "me"}
    whole = client.completions.create(**options, logprobs=2, extra_body={"top_k": 5})
    assert len(whole.choices[0].text) == 9
    assert len(whole.choices[0].logprobs.token_logprobs) == 9
    assert whole.usage.total_tokens == 12
    stream = client.completions.create(
        **options, stream=True, stream_options={"include_usage": True}, extra_body={"top_k": 5}
    )
    *events, last = stream
    assert "".join(event.choices[0].text for event in events) == whole.choices[0].text
    assert last.usage.completion_tokens == 9
    assert [model.id for model in client.models.list()] == ["gru-names", "gru-trees", "lstm-trees"]
    assert client.models.retrieve("lstm-trees").owned_by == "textgen"
    with pytest.raises(openai.NotFoundError) as missing:
        client.completions.create(model="gpt", prompt="a")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as bad:
        client.completions.create(model="lstm-trees", prompt="a", temperature=-1)
    assert bad.value.param == "temperature"
    with pytest.raises(openai.NotFoundError, match="continues text"):
        client.chat.completions.create(model="lstm-trees", messages=[{"role": "user", "content": "hi"}])


def test_a_request_as_llm_sends_it(server, names):
    """Of its plugin for OpenAI's completion models."""
    client = server.client(api_key="DUMMY_KEY")
    stream = client.completions.create(
        model="gru-names", prompt="Ram", stream=True, max_tokens=256, logprobs=None, stop=None, seed=7
    )
    assert "Ram" + "".join(event.choices[0].text for event in stream) == names.generate("Ram", seed=7, length=256)


@pytest.mark.slow
def test_19_a_pooled_client_survives_a_minute_of_silence(patient_clients):
    patient_clients[ask_again_after_a_minute].result()


def test_pipelined_requests_are_answered_in_order(server):
    connection = server.connect()
    connection.sendall(
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"
    )
    received = b""
    while received.count(b"HTTP/1.1 200") < 2 or not received.endswith(b"}"):
        received += connection.recv(65_536)
    assert received.index(b'"status":"ok"') < received.index(b'"object":"list"')
    connection.shutdown(socket.SHUT_RDWR)
