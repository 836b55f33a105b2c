"""The compiled kernels against the plain engine in float64, which the oracle has checked."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

import essnet
from essnet.losses import embedding_softmax_loss
from essnet.losses.candidates import Candidates, LossSum
from essnet.losses.fused import strip_loss_sum, tile_loss_sum
from essnet.losses.fused.tile_loss import MAX_HELD_RANKS
from essnet.losses.plain import plain_loss_sum
from essnet.losses.rows import Rows
from essnet.neighbours import build_index
from tests.losses.batches import assert_close, make_batch, run, run_oracle


def make_rows(*, num_rows: int, num_classes: int, dim: int, scale: float = 20.0, seed: int = 0) -> Rows:
    generator = torch.Generator().manual_seed(seed)
    return Rows(
        pixels=0.9 * functional.normalize(torch.randn(num_rows, dim, generator=generator)),
        classes=functional.normalize(torch.randn(num_classes, dim, generator=generator)),
        targets=torch.randint(0, num_classes, (num_rows,), generator=generator),
        logit_scale=torch.tensor(scale),
    )


def without_ties(rows: Rows, k: int, *, by_distance: bool) -> Rows:
    """Leave out rows of which float32 cannot tell the k-th nearest other class from the one after it."""
    pixels, classes = rows.pixels.double(), rows.classes.double()
    similarities = -torch.cdist(pixels, classes) if by_distance else pixels @ classes.t()
    nearest = similarities.scatter_(1, rows.targets[:, None], -math.inf).topk(k + 1, dim=1).values
    kept = (nearest[:, k - 1] - nearest[:, k] > 1e-6).nonzero()[:, 0]
    return Rows(rows.pixels[kept], rows.classes, rows.targets[kept], rows.logit_scale)


def plain(rows: Rows, candidates: Candidates, *, by_distance: bool) -> LossSum:
    wide = Rows(rows.pixels.double(), rows.classes.double(), rows.targets, rows.logit_scale.double())
    index = None
    if candidates.num_neighbours:
        index = build_index(wide.classes, similarity="l2" if by_distance else "dot", backend="torch")
    return plain_loss_sum(wide, candidates, by_distance=by_distance, index=index, chunk_bytes=None, with_gradients=True)


def assert_equal_to_rounding(actual: LossSum, expected: LossSum) -> None:
    torch.testing.assert_close(actual.total.double(), expected.total, rtol=1e-5, atol=1e-9)
    for gradient, reference in (
        (actual.grad_pixels, expected.grad_pixels),
        (actual.grad_classes, expected.grad_classes),
    ):
        assert gradient is not None
        assert reference is not None
        assert (gradient - reference).abs().max() <= 1e-4 * reference.abs().max()


def all_of(num_classes: int) -> Candidates:
    return Candidates(num_neighbours=0, shared=torch.arange(num_classes))


def nearest_of(k: int) -> Candidates:
    return Candidates(num_neighbours=k, shared=torch.arange(0))


LossOf: TypeAlias = Callable[..., LossSum]
each_kernel = pytest.mark.parametrize("loss_sum", [strip_loss_sum, tile_loss_sum], ids=["strips", "tiles"])


@settings(max_examples=60, deadline=None)
@given(
    num_classes=st.sampled_from([3, 15, 16, 17, 100, 512, 513, 1030]),
    dim=st.integers(2, 20),
    num_rows=st.sampled_from([1, 31, 32, 33, 1100]),
    k=st.integers(0, 40),
    num_shared=st.integers(0, 1030),
    by_distance=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_candidates_in_tiles(
    num_classes: int, dim: int, num_rows: int, k: int, num_shared: int, by_distance: bool, seed: int
) -> None:
    rows = make_rows(num_rows=num_rows, num_classes=num_classes, dim=dim, seed=seed)
    k = min(k, num_classes - 2)
    shared = torch.randperm(num_classes, generator=torch.Generator().manual_seed(seed))[:num_shared]
    if k == 0 and len(shared) < 2:
        shared = torch.arange(num_classes)
    if k > 0:
        rows = without_ties(rows, k, by_distance=by_distance)
        assume(len(rows.targets))
    candidates = Candidates(num_neighbours=k, shared=shared, shared_logit_offset=0.7)
    actual = tile_loss_sum(rows, candidates, by_distance=by_distance, with_gradients=True)
    assert_equal_to_rounding(actual, plain(rows, candidates, by_distance=by_distance))


@pytest.mark.parametrize("by_distance", [True, False])
@pytest.mark.parametrize("num_classes", [MAX_HELD_RANKS, MAX_HELD_RANKS + 1, 3 * MAX_HELD_RANKS])
@pytest.mark.parametrize("kind", ["exact", "neighbours", "both"])
def test_more_classes_than_are_held_at_once(num_classes: int, by_distance: bool, kind: str) -> None:
    rows = make_rows(num_rows=70, num_classes=num_classes, dim=6)
    every = torch.arange(num_classes)
    candidates = {
        "exact": all_of(num_classes),
        "neighbours": nearest_of(7),
        "both": Candidates(num_neighbours=7, shared=every[1::2], shared_logit_offset=0.7),
    }[kind]
    actual = tile_loss_sum(rows, candidates, by_distance=by_distance, with_gradients=True)
    assert_equal_to_rounding(actual, plain(rows, candidates, by_distance=by_distance))


@settings(max_examples=60, deadline=None)
@given(
    num_classes=st.sampled_from([2, 3, 4, 19, 100, 300]),
    dim=st.integers(2, 20),
    num_rows=st.sampled_from([1, 127, 128, 129, 300]),
    k=st.integers(0, 70),
    by_distance=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_nearest_or_all_candidates_in_strips(
    num_classes: int, dim: int, num_rows: int, k: int, by_distance: bool, seed: int
) -> None:
    rows = make_rows(num_rows=num_rows, num_classes=num_classes, dim=dim, seed=seed)
    k = min(k, num_classes - 2)
    candidates = nearest_of(k) if k else all_of(num_classes)
    actual = strip_loss_sum(rows, candidates, by_distance=by_distance, with_gradients=True)
    assert_equal_to_rounding(actual, plain(rows, candidates, by_distance=by_distance))


@pytest.mark.parametrize("by_distance", [True, False])
def test_strips_keep_the_first_of_tied_neighbours(by_distance: bool) -> None:
    # 5 is the target, 3 the nearest; 0, 1 and 2 lie at the bound, where one has room; 4 is farther
    heights = torch.tensor([0.3, 0.3, 0.3, 0.1, 0.5, 0.2])
    classes = torch.stack([torch.cos(heights), torch.sin(heights)], dim=1)
    rows = Rows(torch.tensor([[1.0, 0.0]]), classes, torch.tensor([5]), torch.tensor(2.0))
    gradient = _present(strip_loss_sum(rows, nearest_of(2), by_distance=by_distance, with_gradients=True).grad_classes)
    assert gradient.abs().sum(dim=1).ne(0).tolist() == [True, False, False, True, False, True]


@each_kernel
@pytest.mark.parametrize("by_distance", [True, False])
@pytest.mark.parametrize("k", [63, 600])
def test_many_dimensions_and_neighbours(loss_sum: LossOf, by_distance: bool, k: int) -> None:
    rows = make_rows(num_rows=100, num_classes=700, dim=64, scale=100.0)
    actual = loss_sum(rows, nearest_of(k), by_distance=by_distance, with_gradients=True)
    assert_equal_to_rounding(actual, plain(rows, nearest_of(k), by_distance=by_distance))


@each_kernel
@pytest.mark.parametrize("logit_scale", [1.0, 100.0])
@pytest.mark.parametrize("distance", [1e-1, 1e-4])
@pytest.mark.parametrize("candidates", [all_of(100_000), nearest_of(7)], ids=["exact", "neighbours"])
def test_100_000_classes_keep_their_digits_at_small_distances(
    loss_sum: LossOf, candidates: Candidates, distance: float, logit_scale: float
) -> None:
    rows = make_rows(num_rows=40, num_classes=100_000, dim=12, scale=logit_scale)
    directions = functional.normalize(torch.randn(40, 12, generator=torch.Generator().manual_seed(1)))
    near = rows.targets.clone()
    near[::2] = near.flip(0)[::2]  # half of them near a rival
    rows = Rows(rows.classes[near] + distance * directions, rows.classes, rows.targets, rows.logit_scale)
    actual = loss_sum(rows, candidates, by_distance=True, with_gradients=True)
    assert_equal_to_rounding(actual, plain(rows, candidates, by_distance=True))


@each_kernel
def test_equal_classes_are_a_tie_that_ends(loss_sum: LossOf) -> None:
    rows = make_rows(num_rows=64, num_classes=1000, dim=4)
    same = Rows(rows.pixels, rows.classes[:1].repeat(1000, 1), rows.targets, rows.logit_scale)
    result = loss_sum(same, nearest_of(7), by_distance=True, with_gradients=True)
    torch.testing.assert_close(result.total, 64 * torch.tensor(8.0).log())
    assert result.grad_classes is not None
    assert result.grad_classes.isfinite().all()


@each_kernel
def test_threads_change_nothing_but_rounding_and_a_seed_repeats_itself(loss_sum: LossOf) -> None:
    rows = make_rows(num_rows=5000, num_classes=300, dim=12)
    before = torch.get_num_threads()
    results: dict[int, list[LossSum]] = {}
    try:
        for num_threads in (1, 2, 3):
            torch.set_num_threads(num_threads)
            results[num_threads] = [
                loss_sum(rows, nearest_of(7), by_distance=True, with_gradients=True) for _ in range(2)
            ]
    finally:
        torch.set_num_threads(before)
    for first, second in results.values():
        assert torch.equal(first.total, second.total)
        assert torch.equal(_present(first.grad_classes), _present(second.grad_classes))
        torch.testing.assert_close(first.total, results[1][0].total)
        torch.testing.assert_close(first.grad_classes, results[1][0].grad_classes, rtol=1e-4, atol=1e-5)
        assert torch.equal(_present(first.grad_pixels), _present(results[1][0].grad_pixels))


@pytest.mark.parametrize("dim", [3, 4])
def test_on_several_threads_as_a_model_calls_it(dim: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        batch = make_batch(size=(1, 40, 40), dim=dim)
        assert_close(run(embedding_softmax_loss, batch), run_oracle(batch, similarity="l2"))
    finally:
        torch.set_num_threads(before)


@each_kernel
def test_without_gradients_the_loss_is_the_same(loss_sum: LossOf) -> None:
    rows = make_rows(num_rows=100, num_classes=50, dim=5)
    alone = loss_sum(rows, all_of(50), by_distance=True, with_gradients=False)
    assert alone.grad_pixels is None
    assert torch.equal(alone.total, loss_sum(rows, all_of(50), by_distance=True, with_gradients=True).total)


def run_python(program: str, **variables: str) -> str:
    environment = {**os.environ, **variables}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_where_machine_code_cannot_be_kept_it_is_compiled_anyway() -> None:
    program = (
        "import pathlib\n"
        "def refuse(*args, **kwargs): raise PermissionError('read-only')\n"
        "pathlib.Path.mkdir = refuse\n"
        "import numpy as np\n"
        "from essnet.losses.fused.compiled import exponential\n"
        "print(type(exponential._cache).__name__, float(exponential(np.float32(-1.0))))\n"
    )
    cache, value = run_python(program).split()
    assert cache == "NullCache"
    assert float(value) == pytest.approx(0.36787944)


def test_machine_code_is_that_of_all_sources(tmp_path: Path) -> None:
    # what one file's kernel calls from another's is compiled into it, and numba looks at the first file only
    shutil.copytree(Path(essnet.__file__).parent, tmp_path / "essnet", ignore=shutil.ignore_patterns("__pycache__"))
    program = (
        "import numpy as np\n"
        "from essnet.losses.fused.class_blocks import softmax_pulls\n"
        "print(float(softmax_pulls(np.zeros((1, 1, 16), np.float32), 0, 0, np.float32(0), np.float32(1), False)))\n"
    )
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n" + program
    assert float(run_python(program)) == 16
    source = tmp_path / "essnet" / "losses" / "fused" / "compiled.py"
    source.write_text(source.read_text().replace("return p * _power_of_two(n)", "return 2 * p * _power_of_two(n)"))
    assert float(run_python(program)) == 32


def test_a_process_that_compiles_computes_what_one_does_that_loads_the_machine_code(tmp_path: Path) -> None:
    shutil.copytree(Path(essnet.__file__).parent, tmp_path / "essnet", ignore=shutil.ignore_patterns("__pycache__"))
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import torch\n"
        "from essnet.losses.candidates import Candidates\n"
        "from essnet.losses.fused import strip_loss_sum, tile_loss_sum\n"
        "from essnet.losses.rows import Rows\n"
        "torch.manual_seed(0); torch.set_num_threads(1)\n"
        "rows = Rows(torch.randn(4000, 12), torch.randn(64, 12), torch.randint(64, (4000,)), torch.tensor(1.0))\n"
        "for loss_sum in (strip_loss_sum, tile_loss_sum):\n"
        "    for by_distance in (True, False):\n"
        "        nearest = Candidates(7, torch.arange(0))\n"
        "        result = loss_sum(rows, nearest, by_distance=by_distance, with_gradients=True)\n"
        "        for tensor in (result.total, result.grad_pixels, result.grad_classes):\n"
        "            print(hash(tensor.contiguous().numpy().tobytes()))\n"
    )
    compiling, loading = (run_python(program, PYTHONHASHSEED="0") for _ in range(2))
    assert compiling == loading


@each_kernel
@pytest.mark.parametrize(
    ("spread", "scale", "by_distance"),
    [
        (1.0, 1e5, True),
        (1.0, 1e5, False),
        (2e4, 10.0, True),
        (400.0, 1.0, False),
        (1.0, 1e-5, True),
        (1.0, 1e-5, False),
    ],
)
def test_up_to_the_limits_of_the_rule(loss_sum: LossOf, spread: float, scale: float, by_distance: bool) -> None:
    rows = make_rows(num_rows=40, num_classes=50, dim=4, scale=scale)
    rows = Rows(rows.pixels * spread, rows.classes * spread, rows.targets, rows.logit_scale)
    actual = loss_sum(rows, all_of(50), by_distance=by_distance, with_gradients=True)
    expected = plain(rows, all_of(50), by_distance=by_distance)
    torch.testing.assert_close(actual.total.double(), expected.total, rtol=1e-4, atol=1e-6)
    assert _present(actual.grad_pixels).isfinite().all()
    assert _present(actual.grad_classes).isfinite().all()


def test_exponential() -> None:
    from essnet.losses.fused.compiled import exponential

    for x in [*torch.linspace(-59.99, 0, 4001).tolist(), -1e-8]:
        x32 = torch.tensor(x)
        expected = x32.double().exp().item()
        assert float(exponential(x32.numpy()[()])) == pytest.approx(expected, rel=3e-7)
    for x, expected in ((-61.0, 0), (-100.0, 0), (-1e30, 0), (1e-3, 1), (1e30, 1)):
        assert float(exponential(torch.tensor(x).numpy()[()])) == expected


def test_log_one_plus() -> None:
    from essnet.losses.fused.compiled import log_one_plus

    for x in [0.0, *torch.logspace(-38, 29, 3001).tolist(), *torch.linspace(0.35, 3, 3001).tolist()]:
        x32 = torch.tensor(x)
        expected = x32.double().log1p().item()
        assert float(log_one_plus(x32.numpy()[()])) == pytest.approx(expected, rel=3e-7)


def _present(tensor: Tensor | None) -> Tensor:
    assert tensor is not None
    return tensor
