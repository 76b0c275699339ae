"""Helm, and what the charts come to."""

from __future__ import annotations

import pytest

from tools.helm import Helm


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Without a cluster."""
    return Helm(tmp_path_factory.mktemp("helm"))
