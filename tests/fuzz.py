"""Feeds refopt inputs that are almost right, or not at all, and wants clear errors or results.

``python -m tests.fuzz`` from the checkout runs 10,000 cases of every kind of input, drawn by
Hypothesis; ``--cases 100000 vectors protocol`` as many of two kinds; with ``--engine atheris``
documents are changed byte by byte, guided by the lines of refopt that they reach. A case that
ends in anything but a result or the documented error, of one line, is a defect of refopt: it is
printed, shrunk as far as Hypothesis can, and the exit status is 1. pytest runs 300 cases of every
kind (test_fuzz.py).
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any, Final

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from refopt import specification, vectors
from refopt.adapters.adapter import TargetError
from refopt.adapters.program import Process, ProgramSession, Started, understood
from refopt.oracle import deviations

LONGEST: Final = 2000
"""The characters that an error may have."""

ROUND: Final = 2000
"""Cases that Hypothesis draws at a time: it remembers them all."""


def clear(message: str, start: str = "") -> None:
    """Checks that an error is one line that can be printed, and says what it is about."""
    assert message.startswith(start), message
    assert len(message.removeprefix(start)) > 3, message
    assert len(message) < LONGEST, f"{len(message)} characters"
    assert message.isprintable(), repr(message)


# Inputs: text of real ones with some of its tokens changed, or anything

_TOKEN: Final = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|\w+|\s+|.', re.DOTALL)

_ODD: Final = (
    *("null", "true", "false", "{}", "[]", '""', "''", "0", "-1", "1.5", "1e400", "-0.0", "nan"),
    *("inf", "9" * 400, "1" * 5000, '"\\u0000"', '"\\ud800"', '"\\n"', '"a b"', '"' + "x" * 9999),
    *("[" * 3000, "(" * 300, "{" * 2000, "a.b.c.", "a=" * 500, "\n", "\x00", "\ufeff", "𝟏", "é"),
    *('"0x1p+0"', '"0x1p+1023"', '"-0x1p-1074"', '"0x1p+9999"', '"0x1.8p+1"', '"inf"', '"nan"'),
    *('"sgd"', '"lookahead(sgd, k=2)"', '"adam(eps=1e300)"', "lookahead(", "k=0", "k=10**9"),
    *("_", "__import__", "lambda: 0", "*", "**", ",", ":", "#", "=", "[[", "]]", "\\", '"""'),
)
"""Tokens that are at home nowhere."""


@st.composite
def mutants(draw: st.DrawFn, documents: Sequence[str], most: int = 4) -> str:
    """One of the documents with a few spans of tokens replaced, deleted, repeated or moved."""
    tokens = list(draw(st.sampled_from([_tokens(d) for d in documents])))
    for _ in range(draw(st.integers(1, most))):
        start = draw(st.integers(0, max(len(tokens) - 1, 0)))
        end = min(start + draw(st.integers(0, 6)), len(tokens))
        match draw(st.integers(0, 5)):
            case 0:
                tokens[start:end] = []
            case 1:
                tokens[start:end] = 2 * tokens[start:end]
            case 2:
                tokens[start : start + 1] = [draw(st.sampled_from(_ODD))]
            case 3:
                other = _tokens(draw(st.sampled_from(documents)))
                at = draw(st.integers(0, len(other) - 1))
                tokens[start:end] = other[at : at + draw(st.integers(1, 6))]
            case 4:
                tokens[start:end] = [draw(st.text(max_size=5))]
            case _:
                at = draw(st.integers(0, len(tokens)))
                tokens[at:at] = tokens[start:end]
    return "".join(tokens)


@cache
def _tokens(document: str) -> tuple[str, ...]:
    return tuple(_TOKEN.findall(document))


_TREES: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("0x1p+0"),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(), inside, max_size=4),
    max_leaves=8,
)
_NOTHING: Final = st.text() | _TREES.map(json.dumps) | st.lists(st.sampled_from(_ODD)).map("".join)
"""Text that was made from nothing."""


# Vectors


def small_vectors(name: str) -> str:
    """The shortest vectors of a specification, two steps of one."""
    path = vectors.folder() / f"{name}.json"
    content = json.loads(path.read_text("utf-8"))
    (vector,) = content["vectors"] = [min(content["vectors"], key=lambda v: len(json.dumps(v)))]
    vector["steps"] = vector["steps"][:2]
    vector["kills"] = vector["kills"][:1]
    content["mistakes"] = {id: content["mistakes"][id] for id in vector["kills"]}
    return json.dumps(content, indent=1)


_VECTORS: Final = ("rescale", "sgd", "adam", "lookahead", "one_cycle", "gradient_accumulation")


def read_vectors(text: str) -> None:
    """Parses, lints and verifies."""
    try:
        file = vectors.parse("x.json", text)
    except vectors.VectorError as error:
        clear(str(error), "x.json: ")
        return
    for problem in (*vectors.lint("sgd", file, text), *vectors.verify(file)):
        clear(problem)


# Specifications


def read_specification(text: str) -> None:
    """Parses a file of spec/."""
    try:
        specification.parse("spec/x.toml", text)
    except specification.SpecificationError as error:
        clear(str(error), "spec/x.toml: ")


def files_of_specifications() -> list[str]:
    """The files of spec/."""
    folder = specification.folder()
    return [folder.joinpath(f"{name}.toml").read_text("utf-8") for name in specification.names()]


_EXPRESSIONS: Final = (
    "sgd",
    "adam(lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8)",
    "lookahead(gradient_centralization(radam(beta1=0.95)), k=6, alpha=0.5)",
    "clip_by_global_norm(l2(rmsprop(centered=True), weight_decay=0.1), max_norm=1.0)",
    "piecewise_linear(sgd(momentum=0.9, nesterov=True), {2: 0.3, 5: 1.0})",
    "gradient_accumulation(lamb, 4)",
    "polynomial(adam, decay_steps=3, power=2.0)",
)


def read_expression(text: str) -> None:
    """Resolves what a user gives as --spec, in its canonical form and in a dialect."""
    for dialect in (None, "torch"):
        try:
            optimizer = specification.resolve(text, dialect)
        except (ValueError, TypeError) as error:
            clear(str(error))
        else:
            assert str(specification.resolve(str(optimizer))) == str(optimizer)


# Known deviations

_DEVIATIONS: Final = (
    """[[deviation]]
match = "*::test_adamw[adamw-missing]"
kind = "deviates"
reason = "a missing gradient counts as a step"
url = "https://example.org/issues/12"
expect = "missing gradients count"

[[deviation]]
match = "tests/test_?.py::test_[sgd*"
kind = "error"
reason = "not yet"
""",
)


def read_deviations(text: str) -> None:
    """Parses a file of known deviations, and asks each about a test."""
    try:
        entries = deviations.parse("known.toml", text)
    except deviations.DeviationsError as error:
        clear(str(error), "known.toml: ")
        return
    for entry in entries:
        entry.known.matches("tests/test_a.py::test_adamw[adamw-missing]")
        clear(entry.place.replace("\n", " "))


# The protocol

_CONVERSATION: Final = (
    '{"id":1,"protocol":1,"name":"it","accepts":["lr"],"supports":["set_lr","save_load"]}',
    '{"id":2}',
    '{"id":3}',
    '{"id":4,"params":[["0x1.8p-1"],["-0x1.8p-3","0x0p+0"]]}',
    '{"id":5,"params":[["inf"],["nan","-0x1.fffffep+127"]]}',
    '{"id":6,"state":{"t":1,"m":[["0x1p+0"]]}}',
    '{"id":7}',
)
_SKIP: Final = '{"id":2,"skip":"no float64"}'
_ERROR: Final = '{"id":null,"error":"what went wrong"}'
_CONVERSATIONS: Final = (
    "\n".join(_CONVERSATION),
    "\n".join((_CONVERSATION[0], _SKIP)),
    "\n".join((*_CONVERSATION[:4], _ERROR)),
)


class Scripted(Process):
    """A process that replies by a script, without a program that runs."""

    def __init__(self, script: Sequence[bytes]) -> None:
        self.name = "the program"
        self._count = 0
        self._script = script

    def ask(self, kind: Any, request: Any, **content: Any) -> Any:
        line = self._script[self._count] if self._count < len(self._script) else b""
        self._count += 1
        return understood(self.name, line, kind, request(id=self._count, **content))


def read_replies(text: str) -> None:
    """A run with every request, to which the lines are the replies."""
    process = Scripted(text.encode("utf-8", "surrogateescape").split(b"\n"))
    theta = [np.zeros((), "float32"), np.zeros(2, "float32")]
    try:
        about: Started = process.start()
        session: Any = ProgramSession(process, theta, {"lr": "0x1p+0"}, {}, about.supports)
        if "set_lr" in about.supports:
            session.set_lr(0.5)
        for _ in range(2):
            arrays = session.step(theta)
            assert [(a.shape, a.dtype) for a in arrays] == [(p.shape, p.dtype) for p in theta]
        if "save_load" in about.supports:
            session.load_state_dict(session.state_dict())
    except TargetError as error:
        clear(str(error))


# Kinds


@dataclass
class Kind:
    """A kind of input.

    Attributes:
        documents: real ones.
        read: what reads them, and others.
        errors: what becomes of bytes that are not UTF-8.
        cases: how many there were.
    """

    documents: Callable[[], Sequence[str]]
    read: Callable[[str], None]
    errors: str = "replace"
    cases: int = 0

    def test(self, cases: int) -> Callable[[], None]:
        """The test that draws so many cases, mostly what is almost a document."""
        documents = self.documents()
        almost = mutants(documents) | mutants(documents, 1)
        anything = _NOTHING | st.binary().map(lambda data: data.decode("utf-8", self.errors))

        @settings(
            max_examples=cases,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
        )
        @given(almost | almost | anything)
        def test(text: str) -> None:
            self.cases += 1
            self.read(text)

        return test


KINDS: Final = {
    "vectors": Kind(lambda: [small_vectors(name) for name in _VECTORS], read_vectors),
    "specification": Kind(files_of_specifications, read_specification),
    "expression": Kind(lambda: _EXPRESSIONS, read_expression),
    "deviations": Kind(lambda: _DEVIATIONS, read_deviations),
    "protocol": Kind(lambda: _CONVERSATIONS, read_replies, errors="surrogateescape"),
}


def by_hypothesis(name: str, cases: int) -> None:
    """Draws the cases round by round."""
    kind = KINDS[name]
    for number, start in enumerate(range(0, cases, ROUND)):
        seed(number)(kind.test(min(ROUND, cases - start)))()


def by_atheris(name: str, cases: int) -> None:
    """Has atheris change the documents, byte by byte; ends the process."""
    import atheris

    kind = KINDS[name]
    with TemporaryDirectory() as corpus:
        for i, document in enumerate(kind.documents()):
            Path(corpus, str(i)).write_text(document, "utf-8")
        # A case that fails stays for whoever looks into it, away from the checkout.
        kept = f"-artifact_prefix={gettempdir()}/"
        options = [f"-atheris_runs={cases}", "-verbosity=0", "-len_control=0", kept]
        arguments = [name, *options, corpus]
        atheris.Setup(arguments, lambda data: kind.read(data.decode("utf-8", kind.errors)))
        atheris.Fuzz()


_INSTRUMENTED: Final = """
import atheris, sys
with atheris.instrument_imports(include=["refopt"]):
    from tests import fuzz
fuzz.by_atheris(sys.argv[1], int(sys.argv[2]))
"""


def main() -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}")
    parser.add_argument("--cases", type=int, default=10_000, help="of each kind")
    parser.add_argument("--engine", choices=["hypothesis", "atheris"], default="hypothesis")
    asked = parser.parse_args()
    if unknown := set(asked.kinds) - KINDS.keys():
        parser.error(f"there is no kind {', '.join(sorted(unknown))}; {', '.join(KINDS)} are")
    warnings.simplefilter("error")
    failed = False
    for name in asked.kinds or KINDS:
        began = time.perf_counter()
        found = False
        if asked.engine == "atheris":
            command = [sys.executable, "-W", "error", "-c", _INSTRUMENTED, name, str(asked.cases)]
            found = subprocess.run(command, check=False).returncode != 0
        else:
            try:
                by_hypothesis(name, asked.cases)
            except Exception:  # noqa: BLE001  it is shown, and the other kinds run
                traceback.print_exc()
                found = True
        failed = failed or found
        drawn = KINDS[name].cases or asked.cases
        seconds = time.perf_counter() - began
        print(f"{name}: {drawn} cases, {'a defect' if found else 'nothing'} found; {seconds:.0f} s")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
