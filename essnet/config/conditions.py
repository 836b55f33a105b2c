"""Where a searched key matters: what a user writes with `when`, and what follows from the keys themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from essnet.config.space import same_value


@dataclass(frozen=True)
class Condition:
    """A key of the trial has one of some values, or (`negated`) none of them."""

    path: str
    values: tuple[Any, ...]
    negated: bool = False

    def allows(self, value: object) -> bool:
        """Return whether the condition holds where the key has this value."""
        return any(same_value(value, mine) for mine in self.values) != self.negated

    def describe(self, among: Sequence[Any] | None = None) -> str:
        """Return the condition in words, without the values that are not `among` those that there are."""
        possible = (one for one in self.values if among is None or any(same_value(one, other) for other in among))
        return f"{self.path} is {'not ' if self.negated else ''}{' or '.join(map(str, possible))}"


_EMBEDDINGS = Condition("objective.name", ("knn_softmax", "embedding_softmax", "sampled_softmax"))
_NEIGHBOURS = Condition("objective.name", ("knn_softmax", "sampled_softmax"))
_NORMALISED = Condition("objective.similarity", ("l2", "cosine"))
_OF_STEP = Condition("schedule.name", ("step",))

HAS_EFFECT: Mapping[str, tuple[Condition, ...]] = {
    "objective.embedding_dim": (_EMBEDDINGS,),
    "objective.similarity": (_EMBEDDINGS,),
    "objective.num_neighbours": (_NEIGHBOURS,),
    "objective.num_random": (Condition("objective.name", ("sampled_softmax",)),),
    "objective.logit_scale": (_EMBEDDINGS, _NORMALISED),
    "objective.learn_logit_scale": (_EMBEDDINGS, _NORMALISED),
    "objective.renormalise": (_EMBEDDINGS, _NORMALISED),
    "objective.margin_weight": (_EMBEDDINGS, _NORMALISED),
    "objective.margin": (_EMBEDDINGS, _NORMALISED, Condition("objective.margin_weight", (0,), negated=True)),
    "objective.search": (_NEIGHBOURS,),
    "objective.search_backend": (_NEIGHBOURS,),
    "optimizer.momentum": (Condition("optimizer.name", ("sgd",)),),
    "optimizer.class_embeddings_lr_factor": (_EMBEDDINGS,),
    "optimizer.class_embeddings_weight_decay": (_EMBEDDINGS,),
    "schedule.power": (Condition("schedule.name", ("poly", "multi_poly")),),
    "schedule.class_embeddings_power": (Condition("schedule.name", ("multi_poly",)), _EMBEDDINGS),
    "schedule.drop_every_steps": (_OF_STEP,),
    "schedule.drop_factor": (_OF_STEP,),
    "schedule.warmup_steps": (Condition("schedule.name", ("one_cycle",), negated=True),),
    "schedule.warmup_fraction": (Condition("schedule.name", ("one_cycle",)),),
    "evaluation.overlap": (Condition("evaluation.protocol", ("sliding",)),),
}
"""Keys that some trials do not look at -> what holds where they do."""

NEIGHBOURS_PATH = "objective.num_neighbours"
CLASSES_PATHS = ("data.name", "data.num_classes")
NUM_CLASSES = {"voc": 21, "ade20k": 150, "cityscapes": 19, "coco_stuff10k": 171, "coco_stuff": 171, "coco_lvis": 1284}
"""Classes of the data sets that always have the same."""


def most_neighbours(value_at: Callable[[str], Any]) -> int | None:
    """Return how many other classes there are, or None where the configuration alone does not tell.

    `value_at` gives the trial's value at a path, or raises KeyError.
    """
    try:
        name = value_at(CLASSES_PATHS[0])
        fixed = NUM_CLASSES.get(name) if isinstance(name, str) else None
        num_classes = fixed or value_at(CLASSES_PATHS[1])
    except KeyError:
        return None
    return num_classes - 1 if type(num_classes) is int else None
