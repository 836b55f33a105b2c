"""Code of other packages, by its name: whether there is such a name, whether it may run here, and what it makes.

A configuration is read without importing anything. An import path is imported only where the person who runs a command
has written it, in a YAML file, an override or `--allow-code`: a checkpoint or a sweep's folder may be a stranger's, and
naming code there must not be enough to run it. What an installed package offers is trusted as that package is.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from essnet.config.errors import InputError, first_line
from essnet.config.extension_names import IMPORT_PATH, installed, is_import_path, is_well_formed
from essnet.config.messages import did_you_mean
from essnet.config.overrides import flatten

ALLOWED_VARIABLE = "ESSNET_ALLOW_CODE"
"""Environment variable with import paths that may be imported, separated by commas: for what has no command line."""

CODE_KEYS = ("data.name", "objective.name")
"""Where a trial may name code."""

_BY_KEYWORD = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)

_allowed: dict[str, Path] = {}
"""Import path -> the folder in which it is looked for beside Python's own path."""


def check_name(name: str, *, group: str, built_in: Collection[str]) -> str:
    """Return a name if it is built in, an import path, or what an installed package offers in a group.

    Raises
    ------
    ValueError
        If it is not; the message has the names that are known.
    """
    if is_import_path(name):
        if not is_well_formed(name):
            raise ValueError(f"found {name!r}; expected {IMPORT_PATH}")
    elif name not in built_in and name not in installed(group):
        raise ValueError(f"found {name!r}; one of {', '.join([*built_in, *installed(group), IMPORT_PATH])}")
    return name


def code_in(values: Mapping[str, Any]) -> list[str]:
    """Return the import paths that a trial, or overrides of one, name: nested mappings, or dotted paths."""
    return [value for path, value in flatten(values) if path in CODE_KEYS and is_import_path(value)]


def allow(names: Iterable[str], *, folder: Path | None = None) -> None:
    """Let import paths be imported by this process from now on, since who runs it has written them.

    They are found where Python looks, and after that in `folder`, by default the working directory.

    Raises
    ------
    InputError
        If one is no import path.
    """
    for name in names:
        if not is_well_formed(name):
            raise InputError(f"--allow-code: found {name!r}; expected {IMPORT_PATH}")
        _allowed[name] = folder or Path.cwd()


def imported_here() -> list[Path]:
    """Return the packages, and modules that are in none, that were imported from the folders of `allow`."""
    found: dict[Path, None] = {}
    for name, folder in _allowed.items():
        top = name.partition(":")[0].partition(".")[0]
        file = getattr(sys.modules.get(top), "__file__", None)
        if file is not None and Path(file) in (folder / f"{top}.py", folder / top / "__init__.py"):
            found[folder / f"{top}.py" if Path(file).name != "__init__.py" else folder / top] = None
    return list(found)


def load(name: str, *, group: str, key: str) -> Any:
    """Import what a name stands for, which is not built in; `key` is where it is written, for messages.

    Raises
    ------
    InputError
        If nobody has allowed the import path, or there is no such module, attribute or entry point.
    """
    found = f"{key}: found {name!r}"
    if is_import_path(name):
        folder = _allowed_folder(name, key=key)
        if str(folder) not in sys.path:
            sys.path.append(str(folder))  # at the end: nothing there hides an installed package
        return _imported(name, found=found, looked_in=f"neither installed nor in {folder}")
    offers = installed(group).get(name, ())
    if not offers:
        raise InputError(f"{found}, which no installed package offers in {group}")
    if len(offers) > 1:
        choices = " and ".join(offer.value for offer in offers)
        raise InputError(f"{found}, which is both {choices}; take one of these import paths")
    return _imported(f"{offers[0].module}:{offers[0].attr}", found=found, looked_in="which its package should have")


def build(name: str, *, group: str, key: str, given: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    """Call what a name stands for with `given` and the options that stand beside it, as keyword arguments.

    Parameters
    ----------
    name, group, key
        As `load` takes them; `key` ends in `.name`, and options stand in `.options` beside it.
    given
        What everything of the group is given, and has to take.
    options
        The user's. A name that the function does not take is refused here, a value by the function itself: with a
        ValueError that says what would be right.

    Raises
    ------
    InputError
        As `load`, and if the function does not take what it is given, or refuses it.
    """
    function = load(name, group=group, key=key)
    where = f"{key.removesuffix('.name')}.options"
    _check_arguments(function, name, key=key, where=where, given=given, options=options)
    try:
        return function(**given, **options)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{key}: {name} says: {first_line(error)}") from error


def check_result(value: object, *, name: str, key: str, has: Iterable[str], what: str) -> None:
    """Check that what an extension returned has what it needs; `what` says what that is, for the message.

    Raises
    ------
    InputError
        If something is missing.
    """
    missing = [member for member in has if not hasattr(value, member)]
    if missing:
        raise InputError(
            f"{key}: {name} returned {type(value).__name__} without {', '.join(missing)}; expected {what} "
            "(docs/extending.md)"
        )


def _allowed_folder(name: str, *, key: str) -> Path:
    if name in _allowed:
        return _allowed[name]
    if name in os.environ.get(ALLOWED_VARIABLE, "").split(","):
        return Path.cwd()
    raise InputError(
        f"{key}: found {name}, code that this command was not asked to run; if you trust it: --allow-code {name}, "
        f"or {ALLOWED_VARIABLE}={name} in the environment"
    )


def _imported(path: str, *, found: str, looked_in: str) -> Any:
    """Return what an import path leads to; `found` begins messages, `looked_in` says where there is no such module."""
    module_name, _, attribute = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # whatever the code of another package does when it is imported
        if isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}."):
            raise InputError(f"{found}; there is no module {error.name}, {looked_in}") from error
        reason = "it ends Python" if isinstance(error, SystemExit) else f"{type(error).__name__}, {first_line(error)}"
        raise InputError(f"{found}; {module_name} cannot be imported ({reason})") from error
    value: Any = module
    for part in attribute.split("."):
        if not hasattr(value, part):
            own = [word for word, one in vars(module).items() if getattr(one, "__module__", None) == module_name]
            raise InputError(f"{found}; {module_name} has no {attribute}{did_you_mean(part, own) if own else ''}")
        value = getattr(value, part)
    return value


def _check_arguments(
    function: Any, name: str, *, key: str, where: str, given: Mapping[str, Any], options: Mapping[str, Any]
) -> None:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        raise InputError(f"{key}: {name} is {type(function).__name__}; expected a function, or a class") from None
    takes_all = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    named = {word: one for word, one in parameters.items() if one.kind in _BY_KEYWORD}
    lacking = [word for word in given if word not in named]
    if lacking and not takes_all:
        raise InputError(f"{key}: {name} does not take {', '.join(lacking)}; it is called with {', '.join(given)}")
    free = [word for word in named if word not in given]
    for option in options:
        if option in given or (option not in named and not takes_all):
            hint = did_you_mean(option, free, prefix=f"{where}.") if free else f"; {name} has no options"
            raise InputError(f"{where}.{option}: unknown key{hint}")
    for word in free:
        if named[word].default is inspect.Parameter.empty and word not in options:
            raise InputError(f"{where}.{word}: is missing; {name} needs it")
