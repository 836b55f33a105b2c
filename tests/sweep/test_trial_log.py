"""A trial's own log, in a process that runs one trial after another."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import pytest

from essnet.sweep.trial_log import trial_log


def test_a_trial_gets_its_own_lines_and_no_other(tmp_path: Path) -> None:
    with trial_log(tmp_path / "a") as logger:
        logger.info("first")
        logging.getLogger("a library").warning("beware")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old ways", stacklevel=1)
    with trial_log(tmp_path / "b") as logger:
        logger.info("second")
    logging.getLogger("essnet.trial").error("nobody's")
    first, second = (tmp_path / "a").read_text(), (tmp_path / "b").read_text()
    assert "INFO first" in first
    assert "WARNING beware" in first
    assert "old ways" in first
    assert "second" not in first
    assert [line.split(" ", 3)[3] for line in second.splitlines()][1:] == ["second"]


def test_an_error_is_there_with_its_traceback_and_goes_on(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), trial_log(tmp_path / "log"):
        _ = 1 / 0
    text = (tmp_path / "log").read_text()
    assert "ERROR ZeroDivisionError" in text
    assert "_ = 1 / 0" in text


def test_a_stopped_trial_is_no_error(tmp_path: Path) -> None:
    with pytest.raises(SystemExit), trial_log(tmp_path / "log"):
        raise SystemExit
    text = (tmp_path / "log").read_text()
    assert text.endswith("INFO stopped\n")
    assert "Traceback" not in text


def test_a_retry_is_appended(tmp_path: Path) -> None:
    for attempt in ("one", "two"):
        with trial_log(tmp_path / "log") as logger:
            logger.info(attempt)
    assert [line.split()[-1] for line in (tmp_path / "log").read_text().splitlines()][1::2] == ["one", "two"]
