"""The same mistake wherever it can be made: another step count, or corrections made otherwise."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from functools import partial
from typing import Final

from refopt.oracle.edited import Change, Source
from refopt.oracle.rewriting import all_replaced, loaded, place_of
from refopt.oracle.substitutes import COUNTS
from refopt.oracle.trees import Renamed, expression, is_correction
from refopt.oracle.wording import written

CORRECTIONS: Final = {
    "(1 - {rate})**{t}": "the power is around the corrections, not inside",
    "1 - (1 - {rate}**{t})": "the powers are subtracted from 1 twice",
    "xp.where({t} == 1, 1.0, 1 - {rate}**({t} - 1))": (
        "the step count starts at zero, and the first step is not corrected"
    ),
}
"""What may stand for ``1 - rate**t`` in all places, and what is said of it."""


def everywhere(code: Source) -> Iterator[Change]:
    """Changes of a function in more than one place."""
    if "t" not in code.arguments:
        return
    nodes = [node for statement in code.statements for node in ast.walk(statement)]
    if sum(isinstance(node, ast.Name) and node.id == "t" for node in nodes) > 1:
        for text, words in COUNTS.items():
            yield _rewritten(code, Renamed("t", expression(text)), words)
    if sum(isinstance(node, ast.expr) and is_correction(node) for node in nodes) > 1:
        for text, words in CORRECTIONS.items():
            yield _rewritten(code, _Corrected(text), words)


class _Corrected(ast.NodeTransformer):
    """Puts something else in place of corrections."""

    def __init__(self, text: str) -> None:
        self.text = text

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        """The other expression where it is a correction."""
        if not is_correction(node):
            return self.generic_visit(node)  # type: ignore[return-value]
        power = node.right
        assert isinstance(power, ast.BinOp)
        rate, t = ast.unparse(power.left), ast.unparse(power.right)
        return expression(self.text.format(rate=rate, t=t))


def _rewritten(code: Source, transformer: ast.NodeTransformer, words: str) -> Change:
    """Every statement that reads the step count, transformed where that changes it."""
    reading = [statement for statement in code.statements if "t" in loaded(statement)]
    others = [transformer.visit(copy.deepcopy(statement)) for statement in reading]
    pairs = [
        (old, new)
        for old, new in zip(reading, others, strict=True)
        if ast.unparse(old) != ast.unparse(new)
    ]
    after = "\n".join(written(new) for _, new in pairs)
    place = place_of(code, pairs[0][0], after, words, "step count")
    place["before"] = "\n".join(code.text(old) for old, _ in pairs)
    return Change(place, partial(all_replaced, pairs))
