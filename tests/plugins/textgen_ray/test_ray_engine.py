"""Jobs on a Ray cluster of two nodes: two ``ray start`` on this machine."""

import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

import textgen
from tests.trials.ray_kills import Node, access, free_port, two_nodes
from textgen.errors import OptionError, TextgenError, UnavailableError

RUN = Path(__file__).parents[2] / "recorded" / "lstm-trees"

#: Of the jobs: texts, seed, characters at most.
TEXTS = {"num": 60, "seed": 7, "length": 12}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed; the extra ray has it"),
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="the processes of a node are found by /proc"),
]


@pytest.fixture(scope="module")
def address() -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def nodes(address: str) -> Iterator[tuple[Node, Node]]:
    """Two nodes; their token is that of this process, too, which reads it when it imports Ray."""
    environment = access()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.delenv("RAY_ADDRESS", raising=False)
        with two_nodes(environment, address) as started:
            yield started


@pytest.fixture(scope="module")
def write(address: str, nodes: tuple[Node, Node]) -> Callable[..., bytes]:
    """Writes a job; returns the bytes of its parts, joined."""
    generator = textgen.load(RUN)

    def run(out: Path, **options: object) -> bytes:
        generator.write(f"{out}/", **{**TEXTS, "engine_options": {"address": address}, **options})  # type: ignore[arg-type]
        return b"".join(part.read_bytes() for part in sorted(out.glob("part-*")))

    return run


@pytest.fixture
def connected(address: str, nodes: tuple[Node, Node]) -> Iterator[None]:
    """A connection of the caller's, which spares the jobs of a test new workers."""
    import ray

    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()


def test_the_bytes_are_those_of_one_process(write, connected, tmp_path: Path) -> None:
    alone = write(tmp_path / "alone", engine="local", workers=1, engine_options={})
    for workers, shard_rows in ((1, 1000), (2, 7), (5, 7), (None, 1)):
        out = tmp_path / f"{workers}-{shard_rows}"
        assert write(out, engine="ray", workers=workers, shard_rows=shard_rows) == alone
    assert sys.modules["ray"].is_initialized()  # the caller's connection stays


def test_a_mistake_of_a_row_is_one_line(write, connected, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("oak\n" * 5 + "\N{SNOWMAN}\n")
    with pytest.raises(OptionError, match=r"row 5: .*U\+2603"):
        write(tmp_path / "out", engine="ray", num=1, prompts_file=prompts)


def test_a_node_with_another_textgen_is_told(write, connected, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr("textgen_ray.engine.__version__", "9.9")  # here; the nodes have the real one
    with pytest.raises(TextgenError, match=rf"has textgen-rnn {re.escape(textgen.__version__)}; install 9\.9 there"):
        write(tmp_path / "out", engine="ray")


def test_what_no_node_has_is_one_line(address: str, write, connected, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"no node of the Ray cluster has 1 CPU and 2 GPU for a worker"):
        write(tmp_path / "out", engine="ray", engine_options={"address": address, "gpus": 2})


@pytest.mark.keras
def test_two_processes_that_ray_starts_train_the_run_of_one(
    address: str, nodes: tuple[Node, Node], tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_text("it was the best of times, it was the worst of times\n" * 12)
    options = ("model.units=8", "model.dropout=0", "model.weight_dropout=0", "training.epochs=2", "training.length=10")
    assignments = [word for option in options for word in ("--set", option)]
    command = [sys.executable, "-m", "textgen", "train", "text.txt", "--model", "gru", *assignments, "--device", "cpu"]
    by_ray = ["--engine", "ray", "--workers=2", "--set", f"engine.address={address}"]
    both = [
        subprocess.Popen([*command, "--out", out, *more], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        for out, more in (("alone", []), ("together", by_ray))
    ]
    assert [process.communicate(timeout=500)[0] for process in both] == ["alone\n", "together\n"]
    assert [process.returncode for process in both] == [0, 0]
    alone, together = (textgen.load(tmp_path / out).artifact.manifest.metrics for out in ("alone", "together"))
    for name in ("loss", "held_out_loss", "step"):
        assert together[name] == pytest.approx(alone[name], rel=1e-5)


def test_workers_and_a_node_that_are_killed_change_no_byte(
    write, connected, nodes: tuple[Node, Node], tmp_path: Path
) -> None:
    options = {"num": 40_000, "shard_rows": 400}
    alone = write(tmp_path / "alone", engine="local", workers=1, **{**options, "engine_options": {}})
    # a job may end before a slow machine has started the worker of its second node: both write before it begins
    began: set[Node] = set()
    for attempt in range(50):
        write(
            tmp_path / f"warm-{attempt}",
            engine="ray",
            progress=lambda *_: began.update(node for node in nodes if node.writing),
            **{**options, "num": 4_000},
        )
        if len(began) == len(nodes):
            break
    victims = [(400, nodes[0], False), (4_000, nodes[1], False), (10_000, nodes[1], True)]

    def progress(step: str, done: int, total: int) -> None:
        if not victims or done < victims[0][0]:
            return
        _, node, is_whole = victims[0]
        if is_whole:
            node.kill()
        elif writing := node.writing:
            os.kill(writing[0], signal.SIGKILL)
        else:
            return  # until it writes a chunk
        victims.pop(0)

    assert write(tmp_path / "out", engine="ray", progress=progress, **options) == alone
    assert not victims


@pytest.mark.parametrize(
    ("where", "error", "message"),
    [
        ("127.0.0.1:1", UnavailableError, r"cannot connect to the Ray cluster 127\.0\.0\.1:1: connection refused; "),
        ("ray://127.0.0.1:10001", OptionError, "address must be host:port, auto or local, not 'ray://127"),
        ("127.0.0.1:99999", OptionError, "address must be host:port"),
    ],
)
def test_a_cluster_that_is_not_there_is_one_line(
    where: str, error: type[TextgenError], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        textgen.load(RUN).write(tmp_path / "out", **TEXTS, engine="ray", engine_options={"address": where})  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
