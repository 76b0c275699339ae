"""The cluster's programs as processes: started, ended and measured by name."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from cluster.guardian import Guardian

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class Process:
    """A program that can be ended and started again with the same command; its log goes on in one file."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log: Path,
        environment: Mapping[str, str],
        guardian: Guardian,
    ) -> None:
        self.name = name
        self.command = [str(word) for word in command]
        self.log = log
        self._environment = dict(environment)
        self._guardian = guardian
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the program in a process group of its own."""
        assert not self.alive, f"{self.name} runs already"
        with self.log.open("ab") as log:
            self._running = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | self._environment,
                start_new_session=True,
            )
        self._guardian.watch(self._running.pid)

    def stop(self, grace: float = 5) -> None:
        """SIGTERM, and SIGKILL after `grace` seconds: an API server waits a minute for open watches."""
        if self._running is None:
            return
        self._signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._running.wait(grace)
        self.kill()

    def kill(self) -> None:
        """SIGKILL to the whole process group."""
        if self._running is None:
            return
        self._signal(signal.SIGKILL)
        self._running.wait()
        self._guardian.release(self._running.pid)
        self._running = None

    def freeze(self) -> None:
        """SIGSTOP: the program hangs, its connections stay open. `thaw` lets it go on."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    @property
    def alive(self) -> bool:
        return self._running is not None and self._running.poll() is None

    @property
    def pid(self) -> int:
        assert self._running, f"{self.name} does not run"
        return self._running.pid

    @property
    def rss_mib(self) -> float:
        """Resident memory now, in MiB."""
        return self._status("VmRSS") / 1024

    @property
    def peak_rss_mib(self) -> float:
        """Most resident memory since its start, in MiB."""
        return self._status("VmHWM") / 1024

    @property
    def cpu_seconds(self) -> float:
        """User and system time since its start."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND

    def log_since(self, offset: int = 0, lines: int = 30) -> str:
        """The last lines of what it logged after a byte offset."""
        with self.log.open("rb") as log:
            log.seek(offset)
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])

    def _status(self, field: str) -> int:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)


class Processes:
    """All processes of one cluster by name; they end with this one, even if it is killed."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._logs.mkdir(parents=True, exist_ok=True)
        self._guardian = Guardian()
        self._by_name: dict[str, Process] = {}

    def start(
        self, name: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None
    ) -> Process:
        """Starts a program under a name, which may have had another command before."""
        if name in self._by_name:
            self._by_name[name].stop()
        process = Process(name, command, self._logs / f"{name}.log", environment or {}, self._guardian)
        self._by_name[name] = process
        process.start()
        return process

    def __getitem__(self, name: str) -> Process:
        return self._by_name[name]

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[Process]:
        return iter(self._by_name.values())

    def rss_mib(self) -> dict[str, float]:
        """Resident memory of each process that runs, in MiB."""
        return {name: process.rss_mib for name, process in self._by_name.items() if process.alive}

    def wait_until_ready(self, name: str, ready: Callable[[], bool], seconds: float = 60) -> None:
        """Returns when the probe says yes.

        Raises:
            AssertionError: the process ended or took too long; with the end of its log.
        """
        deadline = time.monotonic() + seconds
        process = self._by_name[name]
        while process.alive and time.monotonic() < deadline:
            if ready():
                return
            time.sleep(0.05)
        state = "is not ready" if process.alive else "has ended"
        raise AssertionError(f"{name} {state} after {seconds} s at most:\n{process.log_since()}")

    def close(self) -> None:
        """Ends all at once, the last started first; nobody needs their data any more."""
        for process in reversed(self._by_name.values()):
            process.kill()
        self._guardian.close()
