"""From files and `key=value` arguments to validated configurations."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from essnet.config.absolute_paths import make_paths_absolute
from essnet.config.arm import Arm
from essnet.config.arm_checks import check_arm, read_points, without_effect
from essnet.config.errors import InputError, named
from essnet.config.extension_names import is_import_path
from essnet.config.extensions import CODE_KEYS
from essnet.config.messages import did_you_mean, in_one_line, validate
from essnet.config.overrides import dotted_paths, parse_overrides, touches, with_overrides
from essnet.config.shipped import own_or_shipped
from essnet.config.space import Space, space_type
from essnet.config.strict_yaml import dump_yaml, load_yaml_mapping
from essnet.config.sweep import SWEEP_BLOCKS, ArmOptions, SweepConfig, check_metric
from essnet.config.trial import TrialConfig

_SWEEP_PATHS = set(SWEEP_BLOCKS) - {"base", "overrides", "arms", "baseline"}
"""First words of the `key=value` paths that change the sweep; every other path changes the base trial."""


@dataclass(frozen=True)
class Sweep:
    """A sweep as it was asked for: its configuration, the base trial, and the arms, all checked."""

    config: SweepConfig
    base: Mapping[str, Any]
    arms: tuple[Arm, ...]
    warnings: tuple[str, ...] = ()
    """What is no mistake, but hardly meant; a line each."""
    added_trials: int = 0
    """Trials of the search beyond those that the configuration asks for."""

    @property
    def references(self) -> frozenset[str]:
        """Names of the arms that others are compared with, the baseline among them; they are never stopped early."""
        marked = (arm.name for arm in self.arms if arm.options.reference)
        return frozenset([self.config.baseline, *marked])

    @property
    def code(self) -> list[str]:
        """Import paths of other packages' code that the sweep names."""
        names: list[Any] = [self.config.scheduler.name, *self.config.report.figures]
        for arm, key in itertools.product(self.arms, CODE_KEYS):
            space = arm.spaces.get(key)
            names += [arm.value(key, {})] if space is None else space.values()
        return [name for name in names if is_import_path(name)]

    def trial_config(self, overrides: Mapping[str, Any]) -> TrialConfig:
        """Return the base trial with dotted `overrides` set.

        Raises
        ------
        InputError
            If the result is no valid trial.
        """
        config = validate(TrialConfig, with_overrides(self.base, overrides), where=lambda _: self.config.name)
        return with_absolute_paths(config)


def load_trial(path: Path, arguments: Sequence[str] = ()) -> TrialConfig:
    """Read a trial's YAML file and apply `key=value` arguments.

    Raises
    ------
    InputError
        If the file or an argument is wrong.
    """
    path = own_or_shipped(path)
    return trial_from_mapping(load_yaml_mapping(path), arguments, source=str(path))


def trial_from_mapping(mapping: Mapping[str, Any], arguments: Sequence[str], *, source: str) -> TrialConfig:
    """Validate a trial given as a mapping, with `key=value` arguments; `source` names it in messages.

    Raises
    ------
    InputError
        If the mapping or an argument is wrong.
    """
    if "arms" in mapping:
        raise InputError(f"{source}: is a sweep (it has arms); run it with `launch.py sweep`, or train its base")
    overrides = parse_overrides(arguments)
    config = validate(TrialConfig, with_overrides(mapping, overrides), where=_blame(source, overrides))
    return with_absolute_paths(config)


def load_sweep(path: Path, arguments: Sequence[str] = ()) -> Sweep:
    """Read a sweep's YAML file, apply `key=value` arguments, and check every arm.

    A path that begins with one of the sweep's own blocks changes the sweep; any other changes the base trial.

    Raises
    ------
    InputError
        If a file, an argument, an arm, or a value of a search space is wrong.
    """
    path = own_or_shipped(path)
    content = load_yaml_mapping(path)
    if "arms" not in content and "objective" in content:
        raise InputError(f"{path}: is a trial (it has no arms); run it with `launch.py train`")
    overrides = parse_overrides(arguments)
    for_sweep = {key: value for key, value in overrides.items() if key.split(".")[0] in _SWEEP_PATHS}
    for_base = {key: value for key, value in overrides.items() if key not in for_sweep}
    _check_first_words(for_base)
    config = validate(SweepConfig, with_overrides(content, for_sweep), where=_blame(str(path), for_sweep))

    base, where = _build_base(config, path, for_base)
    arms = tuple(_read_arm(name, content, path, base) for name, content in config.arms.items())

    def with_file(key: str) -> str:
        return in_one_line(_blame(str(path), for_sweep)(key), key)

    data_names = set().union(*(check_arm(arm, source=str(path), elsewhere=where) for arm in arms))
    for name, (place, metric) in itertools.product(sorted(data_names), config.search.metrics.items()):
        try:
            check_metric(metric, data_name=name)
        except ValueError as error:
            raise InputError(f"{with_file(f'search.{place}')}: {error}") from None
    first_points = read_points(config.search.points, arms, where=with_file("search.points"))
    with named(str(path)):
        unheard = [
            f"{key}={for_base[key]}: changes nothing; each arm sets it itself or does not look at it"
            for key in without_effect(for_base, arms)
        ]
    # A copy: the arms' conditions look at what was written.
    base = copy.deepcopy(base)
    make_paths_absolute(base)
    sweep = Sweep(
        config=config,
        base=base,
        arms=tuple(replace(arm, first_points=first_points.get(arm.name, ())) for arm in arms),
    )
    unstopped = _without_stops(sweep, where=with_file("scheduler.grace_steps"))
    return replace(sweep, warnings=(*unheard, *unstopped))


def to_yaml(config: TrialConfig | SweepConfig) -> str:
    """Return a configuration as YAML text that loads to the same configuration."""
    return dump_yaml(config.model_dump())


def with_absolute_paths(config: TrialConfig) -> TrialConfig:
    """Return the configuration with its paths absolute: trials of a sweep run in other folders."""
    values = config.model_dump()
    make_paths_absolute(values)
    return TrialConfig.model_validate(values)


def _check_first_words(overrides: Mapping[str, Any]) -> None:
    """Check where the command line's paths begin: a misspelt block of the sweep is no key of a trial."""
    for path in overrides:
        first = path.split(".")[0]
        if first in SWEEP_BLOCKS:
            raise InputError(f"{path}: {first} stands in the sweep's file; the command line cannot change it")
        if first not in TrialConfig.model_fields:
            raise InputError(f"{path}: unknown key{did_you_mean(first, {*TrialConfig.model_fields, *_SWEEP_PATHS})}")


def _build_base(
    config: SweepConfig, path: Path, for_base: Mapping[str, Any]
) -> tuple[dict[str, Any], Callable[[str], str]]:
    """Return the base trial with what is set in every arm, and a function that says for a path where it was set."""
    base, base_source = _read_base(config, path)
    for source, block in ((base_source, base), (f"{path}: overrides", config.overrides), ("", for_base)):
        _refuse_spaces(block, source=source)
    in_every_arm = dotted_paths(config.overrides, source=f"{path}: overrides")
    with named(f"{path}: overrides"):
        base = with_overrides(base, in_every_arm)
    base = with_overrides(base, for_base)
    if config.tracking is not None:
        tracking = config.tracking.model_dump(exclude_unset=True)
        with named(base_source):
            base = with_overrides(base, {f"tracking.{key}": value for key, value in tracking.items()})
    base.setdefault("name", config.name)

    def where(key: str) -> str:
        return _blame(f"{path}: overrides" if touches(key, in_every_arm) else base_source, for_base)(key)

    return base, where


def _read_base(config: SweepConfig, path: Path) -> tuple[dict[str, Any], str]:
    if isinstance(config.base, dict):
        return config.base, f"{path}: base"
    base_path = path.parent / config.base
    if not base_path.is_file():
        raise InputError(f"{path}: base: found {config.base!r}, and there is no file {base_path}")
    base = load_yaml_mapping(base_path)
    if "arms" in base:
        raise InputError(f"{path}: base: {base_path} is a sweep (it has arms); expected a trial")
    return base, str(base_path)


def _refuse_spaces(block: Mapping[str, Any], *, source: str, prefix: str = "") -> None:
    """Refuse search spaces in what all arms have in common."""
    for key, value in block.items():
        path = f"{prefix}{key}"
        if space_type(value) is not None:
            text = f"found a search space; write it in each arm that searches it, as arms.NAME.{path}"
            raise InputError(in_one_line(source, path, text))
        if isinstance(value, Mapping):
            _refuse_spaces(value, source=source, prefix=f"{path}.")


def _read_arm(name: str, content: Mapping[str, Any], path: Path, base: Mapping[str, Any]) -> Arm:
    fixed: dict[str, Any] = {}
    spaces: dict[str, Space] = {}

    def read(block: Mapping[str, Any], prefix: str) -> None:
        for key, value in block.items():
            dotted = f"{prefix}{key}"
            if dotted in fixed or dotted in spaces:
                raise InputError(f"{path}: arms.{name}: {dotted}: written twice, dotted and nested")
            kind = space_type(value)
            if kind is not None:
                where = f"{path}: arms.{name}.{dotted}"
                # mypy cannot infer a lambda with a default.
                spaces[dotted] = validate(kind, value, where=lambda _, where=where: where)  # type: ignore[misc]
            elif isinstance(value, Mapping) and value:
                read(value, f"{dotted}.")
            else:
                fixed[dotted] = value

    own = {key: value for key, value in content.items() if key in ArmOptions.model_fields}
    options = validate(ArmOptions, own, where=lambda key: f"{path}: arms.{name}")
    read({key: value for key, value in content.items() if key not in own}, "")
    for dotted in (*fixed, *spaces):
        if dotted.split(".")[0] in ("name", "tracking"):
            raise InputError(f"{path}: arms.{name}: {dotted}: belongs to the sweep, and is the same for all arms")
    with named(f"{path}: arms.{name}"):
        with_overrides(base, fixed)
    return Arm(name=name, base=base, fixed=fixed, spaces=spaces, options=options)


def _without_stops(sweep: Sweep, *, where: str) -> list[str]:
    """Say it if every trial that a scheduler may stop ends before it is allowed to; `where` names its key."""
    scheduler = sweep.config.scheduler
    arms = [arm for arm in sweep.arms if arm.name not in sweep.references]
    if scheduler.name == "none" or scheduler.grace_steps is None or not arms:
        return []
    longest = max(arm.value("trainer.max_steps", point) for arm in arms for point in arm.probe_points())
    if longest > scheduler.grace_steps:
        return []
    return [
        f"{where}: found {scheduler.grace_steps}, but trials that {scheduler.name} may stop have at most "
        f"trainer.max_steps={longest}, so it stops none; take fewer"
    ]


def _blame(source: str, overrides: Mapping[str, Any]) -> Callable[[str], str]:
    """Return what stands before a path in a message: nothing where the command line set it, else the file."""

    def where(path: str) -> str:
        return "" if path and touches(path, overrides) else source

    return where
