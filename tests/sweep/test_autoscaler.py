from __future__ import annotations

from pathlib import Path

import pytest

from essnet.sweep import autoscaler
from essnet.sweep.resources import NodeType

BOOTSTRAP = """
max_workers: 4
head_node_type: head
available_node_types:
  head: {resources: {CPU: 8}, max_workers: 0, node_config: {}}
  gpu_worker: {resources: {CPU: 16, GPU: 2, "accelerator_type:T4": 1, memory: 1000}, min_workers: 1, max_workers: 4}
  cpu_worker: {resources: {CPU: 32}, max_workers: 2}
  unused: {resources: {CPU: 1}, max_workers: 0}
  bare: {max_workers: 1}
"""


class NothingInState:
    def get_cluster_config(self) -> None:
        return None


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(autoscaler, "state", NothingInState())
    monkeypatch.setattr(autoscaler, "BOOTSTRAP_CONFIG", tmp_path / "bootstrap.yaml")
    return tmp_path / "bootstrap.yaml"


def test_what_ray_up_left_on_the_head(written: Path) -> None:
    written.write_text(BOOTSTRAP)
    assert autoscaler.node_types() == (
        NodeType("gpu_worker", cpus=16, gpus=2, most=4),
        NodeType("cpu_worker", cpus=32, gpus=0, most=2),
        NodeType("bare", cpus=0, gpus=0, most=1),
    )


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "[",
        "a: 1",
        "available_node_types: 3\nhead_node_type: x",
        "head_node_type: h\navailable_node_types: {w: 3}",
        "head_node_type: h\navailable_node_types: {w: {max_workers: many}}",
    ],
)
def test_a_file_that_says_nothing_is_no_error(written: Path, text: str | None) -> None:
    if text is not None:
        written.write_text(text)
    assert autoscaler.node_types() == ()
