"""Time and memory of output layer and loss, forward and backward, of every objective and its alternatives.

    python benchmarks/objectives.py --num-classes 19 150 1284 5000 --json objectives.json --plot objectives.png

The features are those of a 256-channel decoder at stride 4, the labels at full size; the gradients are those of
the features, the output layer and the class embeddings. Everything runs in one process and in turns
(A B C A B C ...), on the same inputs; each peak of memory is measured in a process of its own.

`full_softmax`, `embedding_softmax`, `knn_softmax`, `sampled_softmax` are essnet's output layers with their losses,
without the margin regulariser. `knn_gathered` is the obvious way to write the k-nearest loss;
`linear_cross_entropy` (torch's, in chunks), `cut_cross_entropy` and `liger` are the exact loss in the cosine form,
the last two where they are installed and on CUDA; `floor` is one product and one exponential, forward only.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

# As a script, only the script's own folder is on the path; essnet and this package are beside it. The processes
# that memory is measured in come from a server, which looks at the environment.
_ROOT = str(Path(__file__).resolve().parents[1])
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [_ROOT, os.environ.get("PYTHONPATH")]))

import torch

from benchmarks.implementations import IMPLEMENTATIONS, build, bytes_needed, why_not
from benchmarks.measurement import (
    LEAST_ROUNDS,
    available_bytes,
    extra_memory_alone_mib,
    seconds_of_rounds,
)
from benchmarks.problem import Problem, draw_inputs, label_size
from benchmarks.records import Record, environment, records, table
from essnet.atomic_files import write_json
from essnet.neighbours import SIMILARITIES

PLOT_FORMATS = ("png", "svg", "pdf")

_GIB = 2**30


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for; print tables, write files, and return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    device = _check(parser, options)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    threads = torch.get_num_threads()
    torch.manual_seed(options.seed)
    where = environment(device, threads=threads)
    print(_headline(where))
    results: list[Record] = []
    for num_classes in dict.fromkeys(options.num_classes):
        problem = Problem(
            num_classes=num_classes,
            pixels=options.pixels,
            embedding_dim=options.embedding_dim,
            num_neighbours=options.num_neighbours,
            num_random=options.num_random,
            similarity=options.similarity,
            seed=options.seed,
            device=options.device,
        )
        results += _measure(problem, options, where, device=device, threads=threads)
    if not results:
        parser.error("nothing of what was asked for can be measured here: the tables say why")
    if options.json is not None:
        write_json(options.json, results)
    if options.plot is not None:
        from benchmarks.objectives_plot import save_plot  # matplotlib takes a while to import

        save_plot(results, options.plot)
    return 0


def _measure(
    problem: Problem,
    options: argparse.Namespace,
    where: dict[str, object],
    *,
    device: torch.device,
    threads: int,
) -> list[Record]:
    """Measure one number of classes and print its table."""
    chosen = [name for name in IMPLEMENTATIONS if name in options.implementations]
    reasons = {name: why_not(name, problem) or _too_large(name, problem, device) for name in chosen}
    left_out = {name: reason for name, reason in reasons.items() if reason is not None}
    names = [name for name in chosen if name not in left_out]
    if names:
        _progress(f"C = {problem.num_classes:,}: {', '.join(names)}; {options.rounds} rounds, then memory")
    inputs = draw_inputs(problem)
    seconds = seconds_of_rounds(
        {name: build(name, problem, inputs) for name in names}, rounds=options.rounds, device=device
    )
    memory = {name: extra_memory_alone_mib(name, problem, threads=threads) for name in names}
    for name in (name for name, mib in memory.items() if mib is None):
        _progress(f"C = {problem.num_classes:,}: the process that measured {name}'s memory was killed")
    results = records(problem, seconds=seconds, extra_memory_mib=memory, environment=where)
    print(table(problem, results, left_out=left_out), flush=True)
    return results


def _too_large(name: str, problem: Problem, device: torch.device) -> str | None:
    needed, available = bytes_needed(name, problem), available_bytes(device)
    if available is None or needed <= available:
        return None
    return f"needs some {needed / _GIB:,.1f} GiB of memory, and {available / _GIB:,.1f} GiB are available"


def _headline(where: dict[str, object]) -> str:
    versions = where["versions"]
    assert isinstance(versions, dict)
    named = ", ".join(f"{name} {version}" for name, version in versions.items() if version is not None)
    return f"{where['accelerator'] or where['processor']}, {where['threads']} threads; {named}\n"


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line, without the usage before it."""
        self.exit(2, f"{self.prog}: {' '.join(message.split())}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _OneLineParser(description=(__doc__ or "").partition("\n")[0], allow_abbrev=False)

    def number(option: str, default: int, metavar: str, text: str) -> None:
        parser.add_argument(option, type=int, default=default, metavar=metavar, help=f"{text} (%(default)s)")

    classes = [19, 150, 1284, 5000]
    listed = " ".join(map(str, classes))
    parser.add_argument(
        "--num-classes", type=int, nargs="+", default=classes, metavar="C", help=f"numbers of classes ({listed})"
    )
    number("--pixels", 65536, "P", "pixels at the labels' size")
    number("--embedding-dim", 12, "D", "entries of an embedding")
    number("--num-neighbours", 7, "K", "nearest classes in the loss")
    number("--num-random", 256, "R", "random classes of sampled_softmax")
    parser.add_argument(
        "--similarity", choices=SIMILARITIES, default="l2", help="how pixels and classes meet (%(default)s)"
    )
    number("--rounds", LEAST_ROUNDS, "N", f"after the warm-up, at least {LEAST_ROUNDS}")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (%(default)s)")
    parser.add_argument(
        "--implementations",
        nargs="+",
        default=list(IMPLEMENTATIONS),
        metavar="NAME",
        help=f"some of {', '.join(IMPLEMENTATIONS)} (all that can run)",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="threads on the CPU (torch's choice)")
    number("--seed", 0, "N", "of inputs and weights")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the records here")
    parser.add_argument("--plot", type=Path, metavar="FILE", help=f"draw here, as {', '.join(PLOT_FORMATS)}")
    return parser


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> torch.device:
    """Refuse what cannot be measured before anything is; return the device."""
    least = {
        "num_classes": 2,
        "embedding_dim": 1,
        "num_neighbours": 1,
        "num_random": 1,
        "rounds": LEAST_ROUNDS,
        "threads": 1,
        "seed": 0,
    }
    for name, smallest in least.items():
        value = getattr(options, name)
        for number in value if isinstance(value, list) else [value]:
            if number is not None and number < smallest:
                parser.error(f"--{name.replace('_', '-')} {number}: must be at least {smallest}")
    try:
        label_size(options.pixels)
    except ValueError as error:
        parser.error(f"--pixels {options.pixels}: {error}")
    for name in options.implementations:
        if name not in IMPLEMENTATIONS:
            parser.error(f"--implementations {name}: unknown; choose from {', '.join(IMPLEMENTATIONS)}")
    if options.plot is not None and options.plot.suffix[1:].lower() not in PLOT_FORMATS:
        parser.error(f"--plot {options.plot}: the file's name must end in one of .{', .'.join(PLOT_FORMATS)}")
    device = _device(parser, options.device)
    for option, path in {"--json": options.json, "--plot": options.plot}.items():
        if path is not None:
            _check_file(parser, option, path)
    return device


def _check_file(parser: argparse.ArgumentParser, option: str, path: Path) -> None:
    if path.is_dir():
        parser.error(f"{option} {path}: is a folder; name a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"{option} {path}: its folder cannot be made ({error.strerror})")
    if not os.access(path.parent, os.W_OK):
        parser.error(f"{option} {path}: its folder cannot be written to")


def _device(parser: argparse.ArgumentParser, text: str) -> torch.device:
    try:
        device = torch.device(text)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        parser.error(f"--device {text}: unknown; choose cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        parser.error(f"--device {text}: torch sees {torch.cuda.device_count()} CUDA devices here; choose another")
    return device


if __name__ == "__main__":
    sys.exit(main())
