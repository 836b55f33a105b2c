"""Nothing is unpickled from a file that somebody may have given the user."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = {
    # What this sweep's own worker wrote of its failure, a moment ago.
    "essnet/sweep/callback.py": {"cloudpickle.loads"},
}
SAFE_YAML = {"StrictLoader", "_YAML_LOADER"}


def _calls(source: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Each call's function and keyword arguments, as they are written."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {one.arg or "": ast.unparse(one.value) for one in node.keywords}


def unsafe(source: str) -> set[str]:
    """The functions that a module calls in a way that may run a file's code."""
    found = set()
    for name, keywords in _calls(source):
        module, _, function = name.rpartition(".")
        if (
            (
                module.endswith(("pickle", "dill", "joblib", "shelve", "marshal"))
                and function in ("load", "loads", "open")
            )
            or function in ("Unpickler", "unsafe_load", "full_load", "read_pickle")
            or (name == "torch.load" and keywords.get("weights_only") != "True")
            or (name in ("np.load", "numpy.load") and keywords.get("allow_pickle") != "False")
            or (name == "yaml.load" and keywords.get("Loader") not in SAFE_YAML)
        ):
            found.add(name)
    return found


def test_nothing_is_unpickled() -> None:
    files = list((ROOT / "essnet").rglob("*.py"))
    assert files
    found = {str(path.relative_to(ROOT)): unsafe(path.read_text(encoding="utf-8")) for path in files}
    assert {path: names for path, names in found.items() if names - ALLOWED.get(path, set())} == {}


def test_what_would_be_found() -> None:
    for line in (
        "pickle.load(file)", "cloudpickle.loads(b)", "torch.load(path)", "torch.load(path, weights_only=False)",
        "np.load(path)", "yaml.load(text, Loader=yaml.Loader)", "yaml.unsafe_load(text)", "pickle.Unpickler(file)",
    ):  # fmt: skip
        assert unsafe(line), line
    for line in ("torch.load(path, weights_only=True)", "np.load(path, allow_pickle=False)", "json.load(file)"):
        assert not unsafe(line), line
