"""Where things are in a pod: told to `resolve`, mounted by `render/volumes.py`, in the command by `render/pods.py`."""

from __future__ import annotations

from typing import Final

from asrtune_api.resolve import Place

RUN_DIR: Final = "/etc/asrtune/run"
RUN_KEY: Final = "run.json"
"""Key of the RunSpec in its ConfigMap, and its file name."""
RUN_FILE: Final = f"{RUN_DIR}/{RUN_KEY}"
CREDENTIALS_DIR: Final = "/etc/asrtune/credentials"
SCRATCH_DIR: Final = "/scratch"
"""Working directory and home: copies of audio, models and checkpoints, and the caches of libraries."""
TERMINATION_LOG: Final = "/dev/termination-log"

TELEMETRY_PORT: Final = 9400
"""Of /metrics and /progress on rank 0, where the runtime names none."""
RENDEZVOUS_PORT: Final = 29500
"""Of torchrun's store on rank 0; torch's own default."""

POD: Final = Place(
    credentials_dir=CREDENTIALS_DIR,
    telemetry_host="0.0.0.0",  # noqa: S104 (a pod: the operator and Prometheus ask from outside)
    telemetry_port=TELEMETRY_PORT,
)
"""A pod, for `resolve`."""
