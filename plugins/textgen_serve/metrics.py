"""What operators see: metrics, with vLLM's names and meanings under the prefix ``textgen:``, and lines of the log."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

#: The beginning of the names of all metrics.
_PREFIX = "textgen:"

#: Upper bounds of seconds, from 100 microseconds on: small models write a token in less than a millisecond.
_FAST = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_SLOW = (*_FAST, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0, 600.0)

#: Upper bounds of numbers of tokens.
_TOKENS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)


class Metrics:
    """The metrics of a server; those of models have the label ``model_name``."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests_running = self._gauge("num_requests_running", "Requests that are being written.")
        self.requests_waiting = self._gauge("num_requests_waiting", "Requests that wait for a place.")
        self.rows_running = self._gauge("num_rows_running", "Texts that are being written.")
        self.tasks = Gauge(f"{_PREFIX}num_tasks", "Tasks of the event loop.", registry=self.registry)
        self.prompt_tokens = self._counter("prompt_tokens", "Tokens of prompts that were read.")
        self.generation_tokens = self._counter("generation_tokens", "Tokens written.")
        self.success = self._counter("request_success", "Texts written to their end.", "finished_reason")
        self.cancelled = self._counter("requests_cancelled", "Requests whose client left.")
        self.rejected = self._counter("requests_rejected", "Requests refused because the queue was full.")
        self.first_token = self._histogram("time_to_first_token_seconds", "From request to first text.", _SLOW)
        self.inter_token = self._histogram("inter_token_latency_seconds", "Between two tokens of a text.", _FAST)
        self.latency = self._histogram("e2e_request_latency_seconds", "From request to the end of its answer.", _SLOW)
        self.queue_time = self._histogram("request_queue_time_seconds", "From request to its place.", _SLOW)
        self.request_prompt = self._histogram("request_prompt_tokens", "Tokens of the prompts of a request.", _TOKENS)
        self.request_generation = self._histogram("request_generation_tokens", "Tokens written for a request.", _TOKENS)
        self.iteration = self._histogram("iteration_tokens_total", "Tokens written in a turn.", _TOKENS)

    def _gauge(self, name: str, about: str) -> Gauge:
        return Gauge(f"{_PREFIX}{name}", about, ["model_name"], registry=self.registry)

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"{_PREFIX}{name}", about, ["model_name", *labels], registry=self.registry)

    def _histogram(self, name: str, about: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"{_PREFIX}{name}", about, ["model_name"], buckets=buckets, registry=self.registry)

    def show(self, refresh: Callable[[], None]) -> bytes:
        """All metrics in the text format of Prometheus, after the gauges were refreshed."""
        refresh()
        return generate_latest(self.registry)


def log(event: str, **fields: object) -> None:
    """Write a line of JSON to stderr: the time, what happened, and more fields."""
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = json.dumps({"time": time, "event": event, **fields})
    print(f"{line}\n", end="", file=sys.stderr, flush=True)  # in one piece: another thread may print, too


def log_error(error: BaseException) -> None:
    """Log an error that is not a client's fault, with its traceback."""
    trace = "".join(traceback.format_exception(error))
    log("error", error=type(error).__name__, message=str(error)[:1_000], traceback=trace[-10_000:])
