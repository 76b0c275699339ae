import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from asrtune_api.errors import AsrtuneError, DataInvalidError
from asrtune_trainer.data.audio import AudioError
from asrtune_trainer.data.pool import chunked, worker_pool
from asrtune_trainer.data.reasons import Reason
from tools.pool_functions import die_at_50, fail_at_50, process_of, raise_audio_error, square


def test_results_come_in_order_from_other_processes() -> None:
    with worker_pool(2, 1000) as pool:
        assert list(pool.map(square, range(1000))) == [n * n for n in range(1000)]
        found = set(pool.map(process_of, range(1000)))
    assert os.getpid() not in found
    assert 1 <= len(found) <= 2


def test_little_work_needs_no_process() -> None:
    with worker_pool(8, 32) as pool:
        assert set(pool.map(process_of, range(32))) == {os.getpid()}


def test_items_are_taken_as_they_are_needed() -> None:
    taken = []

    def endless() -> object:
        number = 0
        while True:
            taken.append(number)
            yield number
            number += 1

    with worker_pool(2, 10**6) as pool:
        results = pool.map(square, endless())  # type: ignore[arg-type]
        assert [next(results) for _ in range(100)] == [n * n for n in range(100)]
    assert len(taken) < 1000


def test_errors_cross_the_border_whole() -> None:
    with worker_pool(2, 1000) as pool:
        with pytest.raises(DataInvalidError) as caught:
            list(pool.map(fail_at_50, range(1000)))
        assert (caught.value.message, caught.value.where) == ("broken", "here")
        with pytest.raises(AudioError) as audio:
            list(pool.map(raise_audio_error, range(1000)))
        assert (audio.value.reason, audio.value.detail) == (Reason.SILENT, "why")


def test_killed_process_is_told_to_people() -> None:
    with worker_pool(2, 1000) as pool, pytest.raises(AsrtuneError, match="died") as caught:
        list(pool.map(die_at_50, range(1000)))
    assert caught.value.reason == "WorkerDied"


PARENT = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from asrtune_trainer.data.pool import worker_pool
from pool_functions import process_of

if __name__ == "__main__":
    with worker_pool(2, 1000) as pool:
        print(*set(pool.map(process_of, range(1000))), flush=True)
        time.sleep(60)
"""


def test_processes_end_with_a_killed_parent(tmp_path: Path) -> None:
    (tmp_path / "pool_functions.py").write_text(
        "import os, time\ndef process_of(n):\n    time.sleep(0.001)\n    return os.getpid()\n"
    )
    program = tmp_path / "parent.py"
    program.write_text(PARENT)
    with subprocess.Popen([sys.executable, program, tmp_path], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = [int(word) for word in parent.stdout.readline().split()]
        parent.kill()
    assert workers
    waited = 0
    while any(is_running(worker) for worker in workers):
        time.sleep(0.1)
        waited += 1
        assert waited < 300, "a worker outlived its parent"


def is_running(process: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (3, [3]), (4, [4]), (9, [4, 4, 1])])
def test_chunks(count: int, sizes: list[int]) -> None:
    chunks = list(chunked(range(count), 4))
    assert [len(chunk) for chunk in chunks] == sizes
    assert [number for chunk in chunks for number in chunk] == list(range(count))
