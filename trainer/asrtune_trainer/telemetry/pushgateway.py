"""Pushes a run's metrics to a Prometheus Pushgateway, for machines that Prometheus cannot scrape."""

from __future__ import annotations

import threading
from collections.abc import Callable

from prometheus_client import push_to_gateway
from prometheus_client.registry import CollectorRegistry

from asrtune_trainer.telemetry.events import Event, StageFinished

JOB = "asrtune"
INTERVAL_SECONDS = 15.0
TIMEOUT_SECONDS = 5.0


class Pushgateway:
    """Pushes on a thread of its own: at most every 15 s, and at the end of each stage.

    A gateway that cannot be reached is told of once and tried again, since it may come back.

    Args:
        url: of the gateway.
        run: name of the run, which groups its metrics (label `run`).
        registry: what is pushed.
        warn: carries the one warning.
        interval: seconds between pushes.
        timeout: seconds a push may take.
    """

    name = "the Pushgateway"

    def __init__(
        self,
        url: str,
        run: str,
        registry: CollectorRegistry,
        warn: Callable[[str], None],
        *,
        interval: float = INTERVAL_SECONDS,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        self._url = url
        self._run = run
        self._registry = registry
        self._warn: Callable[[str], None] | None = warn
        self._interval = interval
        self._timeout = timeout
        self._news = False
        self._closing = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._work, name=self.name, daemon=True)
        self._thread.start()

    def accept(self, event: Event) -> None:
        self._news = True
        if isinstance(event, StageFinished):
            self._wake.set()

    def close(self) -> None:
        """Push the last values.

        Raises:
            TimeoutError: if the gateway does not answer.
        """
        self._closing = True
        self._wake.set()
        self._thread.join(2 * self._timeout)
        if self._thread.is_alive():
            raise TimeoutError(f"{self._url} does not answer; the last values are not there.")

    def _work(self) -> None:
        ending = False
        while not ending:
            self._wake.wait(self._interval)
            self._wake.clear()
            ending = self._closing
            if self._news:
                self._news = False
                self._push()

    def _push(self) -> None:
        try:
            push_to_gateway(
                self._url, JOB, self._registry, grouping_key={"run": self._run}, timeout=self._timeout
            )
        except Exception as error:  # noqa: BLE001 (a bad URL, a refused connection, an HTTP error...)
            if self._warn is not None:
                warn, self._warn = self._warn, None
                warn(f"{self.name} {self._url} cannot be reached: {error}")
