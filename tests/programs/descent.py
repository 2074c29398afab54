"""Gradient descent as a program, and every way in which a program can misbehave.

    python descent.py BEHAVIOUR [FILE]

The standard library alone, so that it starts at once. Every line that it reads or writes is added
to FILE, or its process id where it outlasts others.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

behaviour = sys.argv[1]
file = Path(sys.argv[2]) if len(sys.argv) > 2 else None
Reply = dict[str, Any]

ABOUT: Reply = {
    "protocol": 1,
    "name": "descent.py",
    "accepts": [],
    "supports": ["set_lr", "save_load", "missing"],
}
LR = 0.25


class Descent:
    """theta - lr * g in the numbers of Python, rounded once."""

    def start(self, request: Reply) -> Reply:
        return {**ABOUT}

    def init(self, request: Reply) -> Reply:
        self.lr = LR
        self.single = request["dtype"] == "float32"
        self.params = [[float.fromhex(x) for x in array] for array in request["params"]]
        return {}

    def step(self, request: Reply) -> Reply:
        for theta, g in zip(self.params, request["gradients"], strict=True):
            for i, x in enumerate(g or ()):
                moved = theta[i] - self.lr * float.fromhex(x)
                theta[i] = struct.unpack("f", struct.pack("f", moved))[0] if self.single else moved
        return {"params": [[x.hex() for x in theta] for theta in self.params]}

    def set_lr(self, request: Reply) -> Reply:
        self.lr = float.fromhex(request["lr"])
        return {}

    def save(self, request: Reply) -> Reply:
        return {"state": {"lr": self.lr}}

    def load(self, request: Reply) -> Reply:
        self.lr = request["state"]["lr"]
        return {}

    def stop(self, request: Reply) -> Reply:
        sys.exit(0)


def fail(reply: Reply) -> Reply:
    assert reply
    raise RuntimeError("no such kernel")


def die(reply: Reply) -> Reply:
    os.kill(os.getpid(), signal.SIGSEGV)
    return reply


def close(reply: Reply) -> Reply:
    os.close(1)
    hang(reply)
    return reply


def hang(reply: Reply) -> Reply:
    time.sleep(600)
    return reply


def write(text: bytes) -> Callable[[Reply], Reply]:
    def wrote(reply: Reply) -> Reply:
        sys.stdout.buffer.write(text)
        sys.stdout.flush()
        return reply

    return wrote


def flood(reply: Reply) -> Reply:
    while True:
        write(b"x" * 2**20)(reply)


def scold(reply: Reply) -> Reply:
    sys.stderr.write("a long complaint\n" * 10_000)
    return reply


def spawn(reply: Reply) -> Reply:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    note(str(child.pid))
    return reply


def note(line: str) -> None:
    if file is not None:
        with file.open("a", encoding="utf-8") as notes:
            notes.write(f"{line}\n")


def params(change: Callable[[list[list[Any]]], Any]) -> Callable[[Reply], Reply]:
    def changed(reply: Reply) -> Reply:
        change(reply["params"])
        return reply

    return changed


def also(**content: Any) -> Callable[[Reply], Reply]:
    return lambda reply: {**reply, **content}


BEHAVIOURS: dict[str, tuple[str, Callable[[Reply], Any]]] = {
    # start
    "hangs at start": ("start", hang),
    "exits at start": ("start", lambda reply: sys.exit(3)),
    "from the future": ("start", also(protocol=2)),
    "unknown hyperparameter": ("start", also(accepts=["learning_rate"])),
    "unknown ability": ("start", also(supports=["fly"])),
    "nameless": ("start", lambda reply: {k: v for k, v in reply.items() if k != "name"}),
    "changes": ("start", lambda reply: {**reply, "name": f"descent {os.getpid()}"}),
    "cannot anything": ("start", also(supports=[])),
    "takes rates": ("start", also(accepts=["lr", "k", "nesterov", "weight_decay", "schedule"])),
    # init
    "skips": ("init", lambda reply: {"id": reply["id"], "skip": "no\tGPU\n\x1b[31mhere"}),
    "hangs at init": ("init", hang),
    "refuses": ("init", lambda reply: {"id": reply["id"], "error": "lr must be positive"}),
    # step
    "skips a step": ("step", lambda reply: {"id": reply["id"], "skip": "not today"}),
    "lost": ("step", lambda reply: {"id": None, "error": "what was that?"}),
    "error of no text": ("step", also(error=7)),
    "raises": ("step", fail),
    "crashes": ("step", die),
    "exits": ("step", lambda reply: sys.exit(0)),
    "closes": ("step", close),
    "hangs": ("step", hang),
    "chats": ("step", write(b"step done\n")),
    "not UTF-8": ("step", write(b'{"id":"\xff"}\n')),
    "nests": ("step", write(b'{"id":' + b"[" * 100_000 + b"\n")),
    "is a list": ("step", write(b"[1]\n")),
    "empty line": ("step", write(b"\n")),
    "huge": ("step", write(b'{"id":3,"params":[["' + b"0" * 65 * 2**20 + b'"]]}\n')),
    "floods": ("step", flood),
    "replies twice": ("step", lambda reply: write(json.dumps(reply).encode() + b"\n")(reply)),
    "wrong id": ("step", also(id=1)),
    "unknown key": ("step", also(colour="red")),
    "too few arrays": ("step", params(lambda p: p.pop())),
    "too few elements": ("step", params(lambda p: p[1].pop())),
    "decimal text": ("step", params(lambda p: p[1].__setitem__(2, "0.5"))),
    "decimal": ("step", params(lambda p: p[1].__setitem__(2, 0.5))),
    "too fine": ("step", params(lambda p: p[1].__setitem__(2, "0x1.0000001p+0"))),
    "too large": ("step", params(lambda p: p[1].__setitem__(2, "0x1p+128"))),
    "far too large": ("step", params(lambda p: p[1].__setitem__(2, "0x1p+9999"))),
    "not a number": (
        "step",
        params(lambda p: [a.__setitem__(slice(None), ["-nan"] * len(a)) for a in p]),
    ),
    "no params": ("step", lambda reply: {"id": reply["id"]}),
    "scolds": ("step", scold),
    "spawns": ("init", spawn),
    # others
    "forgets": ("load", lambda reply: {"id": reply["id"], "error": "cannot load"}),
    "stays": ("stop", hang),
    "well": ("", lambda reply: reply),
}


def main() -> None:
    method, misbehave = BEHAVIOURS[behaviour]
    descent = Descent()
    if behaviour in ("spawns", "stays", "hangs", "hangs at init"):
        note(str(os.getpid()))
    for line in sys.stdin:
        request = json.loads(line)
        if behaviour in ("well", "takes rates"):
            note(line.strip())
        if request["method"] == "stop" and method == "stop":
            misbehave({})
        reply = {"id": request["id"], **getattr(descent, request["method"])(request)}
        if request["method"] == method:
            reply = misbehave(reply)
        written = json.dumps(reply)
        if behaviour in ("well", "takes rates"):
            note(written)
        sys.stdout.write(f"{written}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
