"""What the paper's settings take, computed: the table of docs/paper.md.

    python benchmarks/paper_cost.py             prints it
    python benchmarks/paper_cost.py --write     writes it into the page

Nothing is trained. The floating-point operations of a training step are counted as torch runs it on tensors without
contents, forward and backward, and hours follow from them and from two rates that are only assumed: that a GPU reaches
`--utilisation` of `--tflops`, its peak for float32 as torch computes it by default on that GPU's matrix units.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch
from torch.utils.flop_counter import FlopCounterMode

from essnet.config import TrialConfig, load_trial
from essnet.models import build_model

DOCUMENT = ROOT / "docs" / "paper.md"
BEGIN, END = "<!-- cost: written by benchmarks/paper_cost.py -->", "<!-- end of cost -->"
NUM_CLASSES = {"voc": 21, "cityscapes": 19, "ade20k": 150, "coco_stuff10k": 171, "coco_lvis": 1284}
TFLOPS, UTILISATION = 156.0, 0.15
"""An A100's peak in TF32; and what convolutional networks in plain PyTorch often reach of it."""
_BYTES = 4
_MIB = 2**20


@dataclass(frozen=True)
class Cost:
    """What a trial takes."""

    name: str
    config: TrialConfig
    num_classes: int
    step_gflop: float
    """10^9 floating-point operations of a step, forward and backward, of encoder, decoder and output layer."""

    @property
    def logits_mib(self) -> float:
        """Bytes of one copy of the logits of the full softmax at the images' size."""
        pixels = self.config.trainer.batch_size * self.config.data.crop_size**2
        return pixels * self.num_classes * _BYTES / _MIB

    @property
    def embeddings_mib(self) -> float:
        """The same of the embeddings."""
        return self.logits_mib * self.config.objective.embedding_dim / self.num_classes

    def hours(self, *, flop_per_second: float) -> float:
        """Return the hours of all steps at a rate."""
        return self.step_gflop * 1e9 * self.config.trainer.max_steps / flop_per_second / 3600


def cost(name: str) -> Cost:
    """Count the operations of a step of `experiments/<name>/paper.yaml`."""
    config = load_trial(ROOT / "experiments" / name / "paper.yaml")
    num_classes = NUM_CLASSES[name]
    with torch.device("meta"):
        model = build_model(model=config.model, objective=config.objective, num_classes=num_classes, pretrained=False)
        side = config.data.crop_size
        images = torch.empty(config.trainer.batch_size, 3, side, side)
        with FlopCounterMode(display=False) as counter:
            model(images).sum().backward()
    return Cost(name=name, config=config, num_classes=num_classes, step_gflop=counter.get_total_flops() / 1e9)


def table(costs: Sequence[Cost], *, tflops: float, utilisation: float) -> str:
    """Return the costs in Markdown."""
    rate = tflops * 1e12 * utilisation
    lines = [
        "Computed, not measured: operations of a step as torch counts them, and hours if a GPU reaches "
        f"{utilisation:.0%} of {tflops:g} TFLOP/s (an A100's peak in TF32). Evaluations, reading images and the loss "
        "come on top.",
        "",
        "| data set | C | encoder | crop, batch | steps | TFLOP a step | GPU hours a trial | of the sweep's 12 trials "
        "| one copy of the logits | of the embeddings |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in costs:
        config, hours = one.config, one.hours(flop_per_second=rate)
        lines.append(
            f"| {one.name} | {one.num_classes:,} | {config.model.encoder} "
            f"| {config.data.crop_size}, {config.trainer.batch_size} | {config.trainer.max_steps:,} "
            f"| {one.step_gflop / 1e3:.2f} | {hours:.1f} | {12 * hours:.0f} "
            f"| {one.logits_mib:,.0f} MiB | {one.embeddings_mib:,.0f} MiB |"
        )
    return "\n".join(lines)


def main() -> None:
    """Count, and print or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tflops", type=float, default=TFLOPS)
    parser.add_argument("--utilisation", type=float, default=UTILISATION)
    parser.add_argument("--write", action="store_true", help="into docs/paper.md")
    options = parser.parse_args()
    text = table([cost(name) for name in NUM_CLASSES], tflops=options.tflops, utilisation=options.utilisation)
    if not options.write:
        print(text)
        return
    document = DOCUMENT.read_text(encoding="utf-8")
    before, rest = document.split(BEGIN)
    _, after = rest.split(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
