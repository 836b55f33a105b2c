from __future__ import annotations

import pytest

from essnet import training


@pytest.mark.parametrize("name", training._FILES)
def test_each_name_is_in_the_file_where_it_is_looked_up(name: str) -> None:
    assert getattr(training, name).__name__ == name


def test_a_name_that_there_is_not() -> None:
    with pytest.raises(AttributeError, match=r"^module .essnet\.training. has no attribute .trainers.$"):
        _ = training.trainers
