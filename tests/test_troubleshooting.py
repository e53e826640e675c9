"""The page on messages, which a reader searches for words of a message: they are those that the package says."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import nequip_elemtransfer

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "troubleshooting.md"
MESSAGES = re.findall(r"^(.+)\n: ", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


@cache
def said():
    """Every text in the package, with … in place of values, a line each."""
    texts = []
    for path in Path(nequip_elemtransfer.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                texts.append("".join(v.value if isinstance(v, ast.Constant) else "…" for v in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(re.sub(r"\s+", " ", text) for text in texts)


def pieces(message):
    """The words of a message between its values and its variants."""
    plain = re.sub(r"`` ?| ?``", "", message)
    return [piece for part in re.split(r"[…;]", plain) if len(piece := part.strip(" .:,`()")) > 3]


@pytest.mark.parametrize("message", MESSAGES)
def test_the_package_says_so(message):
    assert pieces(message) and [piece for piece in pieces(message) if piece not in said()] == []


def test_words_that_nothing_says_are_noticed():
    assert pieces("`` `element_transfer.…` is wrong … ``; so is …") == ["element_transfer", "is wrong", "so is"]
    assert "is wrong as can be" not in said()
