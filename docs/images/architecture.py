"""Draws docs/images/architecture.svg: python -m docs.images.architecture, from the root.

The layers are those that import-linter holds the imports to, in pyproject.toml, and the words are the first sentence of
each package's own description: the picture cannot say something else than the code.
"""

from __future__ import annotations

import ast
import html
import textwrap
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PICTURE = Path(__file__).with_suffix(".svg")

_WIDTH = 960
_MARGIN = 16
_GAP = 10
_LINE = 15
_CHARACTER = 6.3
"""Width of one, in pixels, where the text is 11.5 pixels high."""
_MOST_BOXES = 4
"""A layer of more modules is one box that names them."""
_ALONE = {"tracking": "alone imports MLflow", "sweep": "alone imports Ray and Optuna"}
_FILLS = {"cli": "#fde8d0", "report": "#dff0e4", "sweep": "#dff0e4", "config": "#e4e4ec"}
_OTHERS = "#dbeaf7"


def layers() -> list[list[str]]:
    """Return the modules of each layer, the one that nothing else imports first, without the package's name."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = (one for one in settings["tool"]["importlinter"]["contracts"] if one["type"] == "layers")
    return [[name.strip().removeprefix("essnet.") for name in layer.split("|")] for layer in contract["layers"]]


def purpose(module: str) -> str:
    """Return the first sentence of what a package says of itself."""
    package = ROOT / "essnet" / module / "__init__.py"
    path = package if package.is_file() else package.parent.with_suffix(".py")
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split(". ")[0].split("\n\n")[0]


def picture() -> str:
    """Return the picture as SVG."""
    parts: list[str] = []
    top = _MARGIN
    for modules in layers():
        boxes = [_box(module) for module in modules]
        if len(boxes) > _MOST_BOXES:
            boxes = [(", ".join(modules), "", _OTHERS)]
        width = (_WIDTH - 2 * _MARGIN - (len(boxes) - 1) * _GAP) / len(boxes)
        wrapped = [textwrap.wrap(text, int((width - 24) / _CHARACTER)) for _, text, _ in boxes]
        height = 30 + _LINE * max(map(len, wrapped))
        for place, ((name, _, fill), lines) in enumerate(zip(boxes, wrapped, strict=True)):
            left = _MARGIN + place * (width + _GAP)
            parts.append(
                f'<rect x="{left:.0f}" y="{top}" width="{width:.0f}" height="{height}" rx="6" fill="{fill}" '
                'stroke="#556"/>'
            )
            parts.append(_text(left + 12, top + 20, name, bold=True))
            parts += [_text(left + 12, top + 36 + _LINE * number, line) for number, line in enumerate(lines)]
        top += height + _GAP
    total = top - _GAP + _MARGIN
    title = "Packages of essnet in layers: each imports only from those below it"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {total}" role="img" '
        f'font-family="Helvetica, Arial, sans-serif">\n<title>{title}</title>\n'
        f'<rect width="{_WIDTH}" height="{total}" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _box(module: str) -> tuple[str, str, str]:
    text = purpose(module).rstrip(".")
    note = f" ({_ALONE[module]})" if module in _ALONE else ""
    return module, f"{text}{note}", _FILLS.get(module, _OTHERS)


def _text(x: float, y: float, text: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold" font-size="13"' if bold else ' font-size="11.5"'
    return f'<text x="{x:.0f}" y="{y:.0f}"{weight} fill="#111122">{html.escape(text, quote=False)}</text>'


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
