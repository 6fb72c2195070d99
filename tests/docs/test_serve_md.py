"""docs/serve.md and docs/deploy: servers are started, clients ask them, tables are compared with the code."""

import ast
import configparser
import ctypes
import importlib.util
import inspect
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import textgen
from tests.docs.blocks import Block, blocks, variables
from tests.trials.container import NOBODY, READ_ONLY, can_seal

for needed in ("starlette", "uvicorn", "prometheus_client", "httpx", "openai"):
    pytest.importorskip(needed)

import httpx  # noqa: E402

from textgen.generation.batching import MOST_FORMS  # noqa: E402
from textgen_serve import command, completions, doors, metrics, server  # noqa: E402
from textgen_serve.protocol import requests  # noqa: E402

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
DEPLOY = ROOT / "docs" / "deploy"
RECORDED = ROOT / "tests" / "recorded"

#: Where the page's server is.
ADDRESS = "http://127.0.0.1:8080"

#: The default of --grace, in seconds.
GRACE = inspect.signature(command.serve).parameters["grace"].default


BLOCKS = blocks(PAGE)

#: The lines of shell blocks, by their commands.
LINES = [line for block in BLOCKS if block.language == "sh" for line in block.content.splitlines()]
STARTS = [line for line in LINES if line.startswith("textgen serve")]


def section(title: str) -> str:
    found: str
    (found,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return found


def first_cells(text: str) -> set[str]:
    """What the first cells of tables have in code font."""
    cells = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def blocks_of(language: str, title: str) -> list[Block]:
    """The blocks of a section in a language."""
    return [block for block in BLOCKS if block.language == language and block.content in section(title)]


class Workplace:
    """A folder in which the page's commands work: runs of its names, keys, and the command ``textgen``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, recorded in (("dinos", "gru-names"), ("20261122-064431-agnews-lstm", "lstm-trees")):
            shutil.copytree(RECORDED / recorded, folder / "runs" / name)
        for name in ("keys", "secret"):
            (folder / name).write_text(f"the-{name}\n")
        self.variables = variables(folder)

    def shell(self, line: str, url: str, **variables: str) -> str:
        """What a line of the page prints, with the address of another server."""
        done = subprocess.run(
            ["sh", "-ec", line.replace(ADDRESS, url)], cwd=self.folder, env=self.variables | variables,
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout


class Served:
    """A server in a process of its own.

    Args:
        words: of its command line.
        workplace: in which it starts.
        options: of the process.
    """

    def __init__(self, words: list[str], workplace: Workplace, **options: Any) -> None:
        options.setdefault("cwd", workplace.folder)
        options.setdefault("env", workplace.variables)
        with (workplace.folder / "stderr").open("w") as errors:
            self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=errors, text=True, **options)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        if not self.url:
            self.close()
            pytest.fail((workplace.folder / "stderr").read_text())

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        finally:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return Workplace(tmp_path_factory.mktemp("workplace"))


Start = Callable[..., Served]


@pytest.fixture
def start(workplace: Workplace) -> Iterator[Start]:
    """Starts servers, by default on a free port: ``start("textgen serve dinos")``."""
    started: list[Served] = []

    def start(words: str | list[str], *more: str, **options: Any) -> Served:
        words = shlex.split(words) if isinstance(words, str) else words
        started.append(Served([*words, *(more or ("--port", "0"))], workplace, **options))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture(scope="module")
def served(workplace: Workplace) -> Iterator[Served]:
    """The first server of the page."""
    served = Served([*shlex.split(STARTS[0]), "--port", "0"], workplace)
    yield served
    served.close()


def shape(value: Any) -> Any:
    """The names and types of a JSON value."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    return [shape(each) for each in value] if isinstance(value, list) else type(value)


def write(**options: Any) -> str:
    """A text of the run, by the library."""
    return textgen.load(RECORDED / "gru-names").generate("Tyra", **{"length": 200, "seed": 7} | options)


# -- the blocks


def test_every_block_is_of_a_kind_that_is_run():
    assert {block.language for block in BLOCKS} == {"sh", "json", "python", "yaml", "jsonl"}
    commands = {" ".join(line.split()[:2]) if line.startswith(("textgen", "lm")) else line.split()[0] for line in LINES}
    assert commands == {"pip", "curl", "textgen serve", "textgen sample", "llm", "lm-eval run", "openssl"}
    assert len(BLOCKS) == len(re.findall(r"^```", PAGE, re.MULTILINE)) / 2


def test_the_extra_that_is_installed_exists():
    (line,) = [line for line in LINES if line.startswith("pip")]
    assert line == 'pip install ".[serve]"'
    assert re.search(r"^serve = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)


@pytest.mark.parametrize("line", STARTS[1:])
def test_each_server_starts(line, start):
    found = start(line)
    answer = httpx.get(found.url.replace("0.0.0.0", "127.0.0.1") + "/health", headers={"Host": allowed(line)})
    runs = [word for word in shlex.split(line)[2:] if word == "dinos" or "=" in word]
    assert answer.json()["models"] == [word.partition("=")[0] for word in runs]
    models = httpx.get(found.url + "/v1/models", headers={"Host": allowed(line)})
    assert models.status_code == (401 if "--api-key-file" in line else 200)
    headers = {"Host": allowed(line), "Authorization": "Bearer the-keys", "Origin": "https://example.org"}
    models = httpx.get(found.url + "/v1/models", headers=headers)
    assert models.status_code == 200
    assert ("access-control-allow-origin" in models.headers) == ("--cors-origin" in line)


def allowed(line: str) -> str:
    words = shlex.split(line)
    return words[words.index("--allowed-host") + 1] if "--allowed-host" in words else "localhost"


def test_curl_gets_a_text_whole_and_as_a_stream(served, workplace):
    if not shutil.which("curl"):
        pytest.skip("there is no curl")
    whole, stream = (workplace.shell(block.content, served.url) for block in blocks_of("sh", "curl"))
    answer = json.loads(whole)
    (shown,) = blocks_of("json", "curl")
    assert shape(answer) == shape(json.loads(shown.content))
    assert "Tyra" + answer["choices"][0]["text"] == write()
    *events, last, _ = stream.split("\n\n")
    assert last == "data: [DONE]"
    texts = [json.loads(event.removeprefix("data: "))["choices"][0]["text"] for event in events]
    assert "".join(texts) == answer["choices"][0]["text"]


def test_curl_without_json_is_told_what_to_send(served, workplace):
    (advice,) = re.findall(r"use `(-H .*? -d)`", section("curl"))
    assert "415" in section("curl")
    for options, status in (("-d", 415), (advice, 200)):
        line = f"""curl -s -o answer -w '%{{http_code}}' {ADDRESS}/v1/completions {options} '{{"prompt": "Tyra"}}'"""
        assert workplace.shell(line, served.url) == str(status)


def run_python(block: Block, served: Served, workplace: Workplace) -> list[str]:
    file = workplace.folder / "example.py"
    file.write_text(block.content.replace(ADDRESS, served.url), encoding="utf-8")
    return workplace.shell(f"{shlex.quote(sys.executable)} example.py", served.url).splitlines()


def test_openai_python_writes(served, workplace):
    (block,) = blocks_of("python", "openai-python")
    *names, streamed = run_python(block, served, workplace)
    generator = textgen.load(RECORDED / "gru-names")
    request = generator.request("Tyra", num=3, length=40, temperature=0.7, top_k=10, seed=7)
    assert names == [each.prompt + each.text for each in generator.sample(request)]
    assert "Bra" + streamed == generator.generate("Bra", length=40, seed=7)


def test_a_text_goes_on_and_branches(served, workplace):
    (block,) = blocks_of("python", "Go on tomorrow")
    whole, branch = run_python(block, served, workplace)
    assert whole == write(length=8)
    assert branch.startswith(write(length=4) + "sau")


def test_the_server_writes_what_the_command_prints(served, workplace):
    printed, answered = (
        workplace.shell(line, served.url) for line in blocks_of("sh", "One seed, one text")[0].content.splitlines()
    )
    assert printed.removesuffix("\n") == json.loads(answered)["choices"][0]["text"] == write()


def test_row_writes_one_text_of_a_seed(served):
    assert '`"row": 5` writes the sixth text' in PAGE
    body = {"prompt": "Tyra", "seed": 7}
    six = httpx.post(served.url + "/v1/completions", json=body | {"n": 6}).json()["choices"]
    alone = httpx.post(served.url + "/v1/completions", json=body | {"row": 5}).json()["choices"]
    assert alone[0]["text"] == six[5]["text"]
    assert alone[0]["textgen"]["row"] == 5


def test_an_error_has_the_shape_that_is_shown(served, workplace):
    (line,), (shown,) = blocks_of("sh", "Errors"), blocks_of("json", "Errors")
    assert json.loads(workplace.shell(line.content, served.url)) == json.loads(shown.content)


# -- llm and lm-eval: for real where they are installed; in any case what they send, as versions 0.36 and 0.4.13 send it


def test_llm_writes(served, workplace):
    if not shutil.which("llm"):
        pytest.skip("llm is not installed")
    (settings,) = blocks_of("yaml", "llm")
    folder = workplace.folder / "llm"
    folder.mkdir()
    (folder / "extra-openai-models.yaml").write_text(settings.content.replace(ADDRESS, served.url))
    drawn, seeded = (
        workplace.shell(line, served.url, LLM_USER_PATH=str(folder))
        for line in blocks_of("sh", "llm")[0].content.splitlines()
    )
    assert drawn.strip().isalpha()
    assert "Tyra" + seeded.removesuffix("\n") == write(length=40)


def test_what_llm_sends_is_answered(served):
    yaml = pytest.importorskip("yaml")
    (model,) = yaml.safe_load(blocks_of("yaml", "llm")[0].content)
    assert model == {"model_id": "dinos", "model_name": "dinos", "api_base": ADDRESS + "/v1", "completion": True}
    body = {"model": "dinos", "prompt": "Tyra", "seed": 7, "max_tokens": 40}
    headers = {"Authorization": "Bearer DUMMY_KEY"}
    options = {"stream": True, "stream_options": {"include_usage": True}}
    answer = httpx.post(served.url + "/v1/completions", json=body | options, headers=headers)
    *events, usage = [json.loads(line[6:]) for line in answer.text.split("\n\n")[:-2]]
    assert "Tyra" + "".join(event["choices"][0]["text"] for event in events) == write(length=40)
    assert (usage["choices"], usage["usage"]["prompt_tokens"]) == ([], 4)
    whole = httpx.post(served.url + "/v1/completions", json=body | {"stream": False}, headers=headers).json()
    assert "Tyra" + whole["choices"][0]["text"] == write(length=40)
    chat = httpx.post(served.url + "/v1/chat/completions", json={"messages": []})
    assert (chat.status_code, "use /v1/completions" in chat.text) == (404, True)


def test_lm_eval_judges(served, workplace):
    if not shutil.which("lm-eval"):
        pytest.skip("lm-eval is not installed")
    for block in BLOCKS:
        if block.file.startswith("ends."):
            (workplace.folder / block.file).write_text(block.content)
    (block,) = blocks_of("sh", "lm-eval")
    offline = dict.fromkeys(("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"), "1")
    output = workplace.shell(block.content, served.url, HF_HOME=str(workplace.folder / "hf"), **offline)
    assert re.search(r"\|ends *\|.*\|acc *\|", output), output


def test_what_lm_eval_sends_is_answered(served):
    """What its class ``LocalCompletionsAPI`` and its remote tokenizer send, and what they read of the answers."""
    runtime = textgen.load(RECORDED / "gru-names").runtime
    info = httpx.get(served.url + "/tokenizer_info").json()
    assert info["eos_token"] is not None
    (documents,) = blocks_of("jsonl", "lm-eval")
    for document in map(json.loads, documents.content.splitlines()):
        for end in document["ends"]:
            start, ids = (
                httpx.post(served.url + "/tokenize", json={"prompt": text, "add_special_tokens": False}).json()[
                    "tokens"
                ]
                for text in (document["start"], document["start"] + end)
            )
            body = {"model": "dinos", "prompt": [ids], "temperature": 0, "max_tokens": 1, "logprobs": 1, "seed": 1234,
                    "echo": True}  # fmt: skip
            (choice,) = httpx.post(served.url + "/v1/completions", json=body).json()["choices"]
            likely = choice["logprobs"]["token_logprobs"][len(start) : -1]
            best = choice["logprobs"]["top_logprobs"][len(start) : -1]
            assert all(one <= max(top.values()) for one, top in zip(likely, best, strict=True))
            logits = runtime.forward(np.array([ids], np.int32), runtime.initial_state(1))[0][0].astype(np.float64)
            scores = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
            assert likely == pytest.approx([scores[i - 1, ids[i]] for i in range(len(start), len(ids))], abs=1e-5)


# -- the tables


def test_every_field_has_a_row():
    assert first_cells(section("What a request has").partition("| path |")[0]) == {
        *requests.CompletionRequest.model_fields,
        *requests._REFUSED,
    }


def test_every_path_has_a_row(served):
    document = httpx.get(served.url + "/openapi.json").json()["paths"]
    paths = {f"{method.upper()} {path}" for path, each in document.items() for method in each}
    others = first_cells(section("What a request has").partition("| path |")[2])
    assert others | {"POST /v1/completions"} == paths | {"GET /openapi.json"}


def test_the_limits_are_those_of_the_server():
    found = dict(re.findall(r"^\| (.*?) \| ([\d,. ]+) \|", section("Limits"), re.MULTILINE))
    defaults = {name: each.default for name, each in inspect.signature(command.serve).parameters.items()}
    numbers = {name: [int(each.replace(",", "")) for each in value.split(", ")] for name, value in found.items()}
    assert [*numbers.values()][6:] == [
        [defaults["rows"] + defaults["queue"]],
        [requests.LONGEST_TEXT], [requests.LONGEST_PROMPT], [requests.MOST_PROMPTS], [requests.MOST_TEXTS],
        [requests.MOST_STOPS, requests.LONGEST_STOP], [requests.LONGEST_CHAIN], [requests.MOST_SCORED], [MOST_FORMS],
        [server.HEAD_SECONDS, doors.BODY_SECONDS],
    ]  # fmt: skip
    rows = re.findall(r"\| ([\d,]+) \| `--([\w-]+)` \|", section("Limits"))
    assert len(rows) == 6
    for value, option in rows:
        assert int(value.replace(",", "")) == defaults[option.replace("-", "_")], option


def test_every_option_and_variable_is_named():
    options = {f"--{name.replace('_', '-')}" for name in inspect.signature(command.serve).parameters} - {"--runs"}
    mine = options - {"--device", "--trust-graph"}  # those of all commands
    assert mine - set(re.findall(r"--[a-z-]+", PAGE)) == set()
    assert {command.KEYS, command.SECRET} == set(re.findall(r"TEXTGEN_\w+", PAGE))


def test_every_error_code_has_a_row():
    sources = [path.read_text() for path in Path(command.__file__).parent.rglob("*.py")]
    codes = {code for source in sources for code in re.findall(r'code="(\w+)"', source)}
    codes |= {code for source in sources for code in re.findall(r'unavailable\("[^"]*", "(\w+)"\)', source)}
    cells = re.findall(r"\| ([^|]*) \|$", section("Errors"), re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", " ".join(cells))) - {"code"} == codes


def test_every_metric_is_named():
    kept = {metric.name for metric in metrics.Metrics().registry.collect() if metric.name.startswith("textgen:")}
    named = re.findall(r"`(textgen:\w+)`", section("Metrics and the log"))
    assert {name.removesuffix("_total") for name in named} == {name.removesuffix("_total") for name in kept}


def test_the_times_are_those_of_the_server():
    assert f"less than {server.KEEP_ALIVE} seconds" in PAGE
    assert f"every {completions.PING_EVERY:.0f} seconds" in (DEPLOY / "nginx.conf").read_text()


def test_every_link_leads_somewhere():
    for target, heading in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", PAGE):
        path = ROOT / "docs" / (target or "serve.md")
        assert path.is_file(), target
        titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert not heading or heading in [re.sub(r"[^\w -]", "", title).replace(" ", "-").lower() for title in titles]


# -- systemd


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[method-assign, assignment]
    parser.read(DEPLOY / "textgen-serve.service")
    return parser


def deny_executable_memory() -> None:
    """As ``NoNewPrivileges=`` and ``MemoryDenyWriteExecute=`` do (prctl; the latter from Linux 6.3 on)."""
    prctl = ctypes.CDLL(None).prctl
    prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    prctl(65, 1, 0, 0, 0)  # PR_SET_MDWE


def test_the_unit_starts_a_server_that_may_not_make_memory_executable(start, workplace):
    """No systemd runs here: what is shown is its command line, and two of its restrictions."""
    words = shlex.split(unit()["Service"]["ExecStart"].replace("%d", str(workplace.folder)))
    assert words[:3] == ["/opt/textgen/bin/textgen", "serve", "/srv/textgen/dinos"]
    found = start(["textgen", "serve", "dinos", *words[3:]], "--port", "0", preexec_fn=deny_executable_memory)
    headers = {"Authorization": "Bearer the-keys"}
    answer = httpx.post(found.url + "/v1/completions", json={"prompt": "Tyra", "seed": 7}, headers=headers).json()
    assert "Tyra" + answer["choices"][0]["text"] == write()
    credentials = re.findall(
        r"^LoadCredential=(\w+):/etc/textgen/(\w+)$", (DEPLOY / "textgen-serve.service").read_text(), re.MULTILINE
    )
    assert credentials == [("keys", "keys"), ("secret", "secret")]
    assert int(unit()["Service"]["TimeoutStopSec"]) > GRACE + 2


def test_systemd_understands_the_unit(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("there is no systemd-analyze")
    file = tmp_path / "textgen-serve.service"
    file.write_text((DEPLOY / "textgen-serve.service").read_text().replace("/opt/textgen/bin/textgen", sys.executable))
    checked = subprocess.run(["systemd-analyze", "verify", file], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    rated = ["systemd-analyze", "security", "--offline=true", "--threshold=15", str(file)]  # tenths: 1.5 is "OK"
    done = subprocess.run(rated, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


# -- the container


class Instruction(NamedTuple):
    """A line of the Dockerfile."""

    name: str
    value: str


INSTRUCTIONS = [
    Instruction(*line.split(" ", 1))
    for line in (DEPLOY / "Dockerfile").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


def instruction(name: str) -> str:
    (found,) = [each.value for each in INSTRUCTIONS if each.name == name]
    return found


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of the image, as far as it can be made without Docker.

    Shown: the files that are copied make a wheel, which installs, and starts as the image does. Not shown: the base
    image, and that the requirements install in it. They are those of the environment of the tests.
    """
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling, which builds the wheel, is not installed")
    root = tmp_path_factory.mktemp("image")
    sent = re.findall(r"^!(\S+)$", (DEPLOY / "Dockerfile.dockerignore").read_text(), re.MULTILINE)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("TEXTGEN_")}
    variables |= {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0"}
    variables["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{variables['PATH']}"
    folder, stage = root, 0
    for name, value in INSTRUCTIONS:
        if name == "FROM":
            stage += 1
        elif name == "WORKDIR":
            folder = root / value.lstrip("/")
            folder.mkdir()
        elif name == "COPY" and stage == 1:
            *sources, target = value.split()
            for source in sources:
                assert source in sent, f"{source} is not sent to Docker"
                copy(ROOT / source, folder / target / source if len(sources) > 1 else folder / target)
        elif name == "RUN":
            shell = ["sh", "-ec", value.replace("/opt/", f"{root}/opt/")]
            done = subprocess.run(shell, cwd=folder, env=variables, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            for own in root.glob("opt/textgen/lib/python*/site-packages"):
                outer = sysconfig.get_path("purelib")
                (own / "outer.pth").write_text(f"import site; site.addsitedir({outer!r})\n")
    assert [each.value for each in INSTRUCTIONS if each.name == "COPY"][-1] == "--from=build /opt/textgen /opt/textgen"
    shutil.rmtree(root / "source")
    return root


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


@pytest.mark.slow
def test_the_image_serves_as_nobody_without_a_file_to_write(image, start, workplace, tmp_path):
    if not can_seal():
        pytest.skip("unshare is not permitted here")
    port = free_port()
    (tmp_path / "tensorflow.py").write_text("raise ImportError('the image has no such library')\n")
    name, _, runs = instruction("ENV").partition("=")
    assert runs == "/runs"
    user = instruction("USER").partition(":")[0]
    assert int(user) > 0
    entry = [word.replace("/opt/", f"{image}/opt/") for word in ast.literal_eval(instruction("ENTRYPOINT"))]
    variables = [f"{name}={workplace.folder / 'runs'}", "PATH=/usr/bin:/bin", f"PYTHONPATH={tmp_path}"]
    seal = "mount --bind . .\n" + READ_ONLY.replace(str(NOBODY), user)
    outside = ["unshare", "--user", "--map-root-user", "--mount", "--propagation", "private"]
    found = start(
        [*outside, "sh", "-c", seal, "sh", ".", "env", "-i", *variables, *entry, "dinos"],
        "--port",
        str(port),
        cwd=tmp_path,
    )
    assert found.url == f"http://127.0.0.1:{port}"
    answer = httpx.post(found.url + "/v1/completions", json={"prompt": "Tyra", "seed": 7}).json()
    assert "Tyra" + answer["choices"][0]["text"] == write()
    health = ast.literal_eval(instruction("HEALTHCHECK").removeprefix("CMD "))
    assert health[0] == "/opt/textgen/bin/python"
    check = health[2].replace("8080", str(port))
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
    found.close()
    assert found.process.returncode == 0
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, check=False).returncode == 1


@pytest.mark.slow
def test_the_image_has_the_wheel_alone(image):
    python = image / "opt" / "textgen" / "bin" / "python"
    code = "import textgen, textgen_serve; print(textgen.__file__, textgen_serve.__file__)"
    clean = {"PATH": "/usr/bin:/bin"}
    printed = subprocess.run([python, "-I", "-c", code], env=clean, capture_output=True, text=True, check=True).stdout
    assert all(path.startswith(str(image)) for path in printed.split())
    assert [path.name for path in image.iterdir()] == ["opt"]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


# -- Kubernetes


@pytest.fixture(scope="module")
def manifest() -> tuple[dict[str, Any], dict[str, Any]]:
    """The deployment and the service. No cluster is asked: what is shown is that they fit the server and each other."""
    yaml = pytest.importorskip("yaml")
    deployment, service = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    assert (deployment["apiVersion"], deployment["kind"]) == ("apps/v1", "Deployment")
    assert (service["apiVersion"], service["kind"]) == ("v1", "Service")
    return deployment, service


def test_the_probes_are_answered(manifest, start, workplace):
    pod = manifest[0]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    arguments = [word.replace("/secrets/", f"{workplace.folder}/") for word in container["args"]]
    found = start(["textgen", "serve", *arguments])
    (port,) = container["ports"]
    assert arguments[arguments.index("--port") + 1] == str(port["containerPort"]) == instruction("EXPOSE")
    probes = [container[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness")]
    for probe in probes:
        assert probe["httpGet"]["port"] == port["name"]
        assert httpx.get(found.url + probe["httpGet"]["path"]).status_code == 200
    assert httpx.get(found.url + "/v1/models").status_code == 401  # the keys are read
    (used,) = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{found.process.pid}/status").read_text())
    limits = {"Mi": 2**10, "Gi": 2**20}
    for given in (container["resources"]["requests"]["memory"], container["resources"]["limits"]["memory"]):
        assert int(used) < int(given[:-2]) * limits[given[-2:]]


def test_the_manifest_fits_the_image_and_itself(manifest):
    deployment, service = manifest
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert labels == deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"]
    assert service["spec"]["ports"][0]["targetPort"] == container["ports"][0]["name"]
    user = pod["securityContext"]
    assert f"{user['runAsUser']}:{user['runAsGroup']}" == instruction("USER")
    assert user["runAsNonRoot"] is container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is pod["automountServiceAccountToken"] is False
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts["runs"] == instruction("ENV").partition("=")[2]
    assert mounts.keys() == {volume["name"] for volume in pod["volumes"]}
    files = [word for word in container["args"] if word.startswith("/")]
    made = re.findall(r"--from-file=(\w+)", (DEPLOY / "kubernetes.yaml").read_text())
    assert files == [f"{mounts['secrets']}/{name}" for name in made]
    waits = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > waits + GRACE
    hung = container["livenessProbe"]["periodSeconds"] * container["livenessProbe"]["failureThreshold"]
    assert hung > GRACE


# -- nginx


def test_nginx_passes_streams_on_as_they_come(start, tmp_path):
    if not shutil.which("nginx"):
        pytest.skip("there is no nginx")
    port, name = free_port(), "text.example.org"
    one, other = (start(f"textgen serve dinos --allowed-host {name} --queue 0 --rows {rows}") for rows in (1, 4))
    text = (DEPLOY / "nginx.conf").read_text()
    text = re.sub(r"\n *ssl_certificate.*", "", text).replace("listen 443 ssl;", f"listen 127.0.0.1:{port};")
    text = text.replace(
        "server 127.0.0.1:8080 ", " max_fails=0; ".join(f"server {each.url[7:]}" for each in (one, other)) + " "
    )
    temporary = "".join(
        f"{kind}_temp_path {tmp_path}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    file = tmp_path / "nginx.conf"
    file.write_text(
        f"daemon off; master_process off; pid {tmp_path}/pid; error_log stderr;\n"
        f"events {{ }}\nhttp {{ access_log off; {temporary}\n{text}\n}}\n"
    )
    process = subprocess.Popen(["nginx", "-p", tmp_path, "-c", file], stderr=subprocess.PIPE)
    try:
        url, headers = f"http://127.0.0.1:{port}", {"Host": name}
        until = time.monotonic() + 10
        while True:
            try:
                assert httpx.get(url + "/health", headers=headers).status_code == 200
                break
            except httpx.ConnectError:
                assert time.monotonic() < until, process.poll()
                time.sleep(0.05)
        body = {"prompt": "Tyra", "seed": 7, "stream": True, "ignore_eos": True, "max_tokens": 20_000}
        with httpx.stream("POST", url + "/v1/completions", json=body, headers=headers, timeout=60) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            lines = (line for line in answer.iter_lines() if line)
            began = time.monotonic()
            next(lines)
            first = time.monotonic() - began
            *_, last = lines
            assert last == "data: [DONE]"
            assert first < (time.monotonic() - began) / 2
        # While the first instance is full, the other one writes.
        long = {"prompt": "Tyra", "stream": True, "ignore_eos": True, "max_tokens": 100_000, "top_k": 9}
        with httpx.stream("POST", one.url + "/v1/completions", json=long, headers=headers, timeout=60) as answer:
            kept = answer.iter_lines()  # without it, the stream would be closed
            next(kept)
            short = {"prompt": "Tyra", "seed": 7}
            answers = [httpx.post(url + "/v1/completions", json=short, headers=headers, timeout=60) for _ in range(4)]
            refused = httpx.get(one.url + "/metrics", headers=headers).text
        assert {"Tyra" + answer.json()["choices"][0]["text"] for answer in answers} == {write()}
        assert re.search(r"^textgen:requests_rejected_total.* [1-9]", refused, re.MULTILINE)
        assert httpx.get(url + "/metrics", headers=headers).status_code == 404
        assert httpx.get(url + "/v1/models", headers={"Host": "elsewhere.example"}).status_code == 403
    finally:
        process.terminate()
        process.wait(10)
