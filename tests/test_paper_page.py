"""What docs/paper.md says of our keys and of the cost of a trial is so."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.paper_cost import BEGIN, END, NUM_CLASSES, TFLOPS, UTILISATION, cost, table
from essnet.config.trial_keys import can_be, key_paths

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "paper.md").read_text(encoding="utf-8")


def test_every_key_beside_the_originals_flags_is_one() -> None:
    begin = PAGE.index("| its flag (default)")
    rows = [line.split("|") for line in PAGE[begin : PAGE.index("\n\n", begin)].splitlines()[2:]]
    assert len(rows) > 20
    ours = [name for row in rows for name in re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)(?::[^`]*)?`", row[2])]
    known = set(key_paths())
    assert "objective.embedding_dim" in ours
    assert not [name for name in ours if name not in known and name != "launch.py"]
    values = [pair for row in rows for pair in re.findall(r"`([a-z_]+\.[a-z_]+): ([a-z0-9_]+)`", row[2])]
    assert values
    for name, text in values:
        assert can_be(name, {"true": True, "2012": 2012}.get(text, text)), (name, text)


def test_the_cost_of_a_trial_is_the_one_that_the_script_computes() -> None:
    written = PAGE[PAGE.index(BEGIN) + len(BEGIN) : PAGE.index(END)].strip()
    # The operations of a step take seconds to count: of one data set here.
    (row,) = [line for line in written.splitlines() if line.startswith("| cityscapes |")]
    assert row in table([cost("cityscapes")], tflops=TFLOPS, utilisation=UTILISATION)
    assert [line.split("|")[1].strip() for line in written.splitlines()[4:]] == list(NUM_CLASSES)
