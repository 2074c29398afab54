"""Programs in any language: ``exec:COMMAND`` starts one that speaks JSON lines.

COMMAND is split as a shell would (``exec:./adamw --fast 'a b'``) and run without one, in the
current folder of a POSIX system. refopt writes one request a line to the program's standard input
and waits; the program writes one reply a line to its standard output, and flushes it. Everything is
UTF-8, an object a line, without line breaks inside. ``spec/schema/protocol.json`` is the JSON
Schema of all messages. Standard error is the program's own; its last line is shown when it fails.

A process is one run: refopt starts a new one for each, and while the state of one is saved and
loaded into another both are alive. The requests come in this order; ``id`` counts them, and the
reply repeats it::

    > {"method":"start","id":1,"protocol":1}
    < {"id":1,"protocol":1,"name":"adamw.c","accepts":["lr","eps"],
       "supports":["set_lr","save_load","missing"]}

``protocol`` is the newest version that refopt speaks; the program replies with the one that it
will use, which is that or an older one. ``accepts`` are the hyperparameters that it takes, by
canonical name (``refopt show adamw`` lists them); others it is never given, and is expected to have
at their values in the specification. ``supports`` says what it can do besides: change its learning
rate; save and load its state; step while the gradients of some parameters are missing. What it
cannot do is not asked of it: the verdict has a note, or lacks the probe. ::

    > {"method":"init","id":2,"dtype":"float32","shapes":[[],[2]],
       "params":[["0x1p+0"],["-0x1.8p-3","0x0p+0"]],
       "hyperparameters":{"lr":"0x1p-2","eps":"0x1p-20"},"options":{}}
    < {"id":2}

Parameters are flat, row by row, with their shapes: ``[]`` is a single number, ``[0]`` none at all.
``dtype`` is the format that they are numbers of: ``float32``, ``float64``, ``bfloat16`` or
``float16``, as the user asked. Numbers are text, whatever their format, hexadecimal as C99 prints
them with ``%a`` and ``strtod`` reads them, since no bit may be lost:
``0x1.8p-3`` is 0.1875; ``inf``, ``-inf`` and ``nan`` exist. Hyperparameters that are flags are
true or false, counts are integers, and a schedule is an object of factors by step. ``options`` are
those of the user (``--option name=value``). The program may reply ``{"id":2,"skip":"no float64"}``
where it cannot run this, such as a dtype that it does not know, and is then not judged. ::

    > {"method":"step","id":3,"gradients":[["0x1p+1"],null]}
    < {"id":3,"params":[["0x1.8p-1"],["-0x1.8p-3","0x0p+0"]]}

One gradient for each parameter, flat as the parameter is, or null where it is missing; the reply
has all parameters after the step. The other requests come between steps::

    > {"method":"set_lr","id":4,"lr":"0x1p-3"}
    < {"id":4}
    > {"method":"save","id":5}
    < {"id":5,"state":{"t":1}}
    > {"method":"load","id":3,"state":{"t":1}}
    < {"id":3}
    > {"method":"stop","id":6}

``state`` is whatever the program likes; refopt hands it back as it was written. ``load`` comes to a
new process that was started with ``init``, with the parameters as they were when it was saved.
After ``stop``, and at the end of its input, the program ends; it need not reply. After a second it
is killed, and so are the programs that it started.

To any request the program may reply ``{"id":3,"error":"what went wrong"}``. That, a reply that is
late, longer than 64 MiB, out of order or not in the schema, and an early end all make the verdict
an error. In Python a whole program is little more than this::

    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps({"id": request["id"], **answer(request)}), flush=True)
"""

from __future__ import annotations

import atexit
import math
import os
import re
import shlex
import signal
import subprocess
import textwrap
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar

import msgspec
import numpy as np
from msgspec import Meta

from refopt.adapters.adapter import Adapter, Arrays, Gradients, Part, TargetError
from refopt.hyperparameters import DOMAINS, Boolean, Interval

PROTOCOL: Final = 1
"""The version of the protocol."""

LONGEST: Final = 64 * 2**20
"""The bytes that a reply may have."""

_FIRST_REPLY: Final = 60.0
"""Seconds for a program's first reply, in which an interpreter may start or code be compiled."""

_GRACE: Final = 1.0
"""Seconds in which a program ends that was told to, or whose output has ended."""

_HEX: Final[Mapping[str, str]] = {
    "pattern": r"^-?(0x[01](\.[0-9a-f]{1,13})?p[+-]?[0-9]{1,4}|inf|nan)$",
    "description": "a number, hexadecimal as C99 prints it: 0x1.8p+1 is 3",
}

Text = Annotated[str, Meta(min_length=1, max_length=10_000)]
Hex = Annotated[str, Meta(**_HEX)]
Numbers = tuple[Hex, ...]
"""The elements of an array, row by row."""
# The pattern stands in the schema alone: msgspec frees a type that is text with a pattern or an
# object twice (its issue 717).
Value = Annotated[str, Meta(extra_json_schema=dict(_HEX))] | bool | int | dict[str, Hex]
"""Of a hyperparameter: a real number, a flag, a count, or a schedule's factors by step."""


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line; ``id`` counts the requests to a process, and a reply repeats it."""

    id: int


class Start(Message, frozen=True, tag_field="method", tag="start"):
    """Comes first, with the newest version of the protocol that refopt speaks."""

    protocol: int


class Init(Message, frozen=True, tag_field="method", tag="init"):
    """Starts a run on these parameters."""

    dtype: str
    shapes: tuple[tuple[int, ...], ...]
    params: tuple[Numbers, ...]
    hyperparameters: dict[str, Value]
    options: dict[str, Any]


class Step(Message, frozen=True, tag_field="method", tag="step"):
    """Takes one step; null stands for a missing gradient."""

    gradients: tuple[Numbers | None, ...]


class SetLr(Message, frozen=True, tag_field="method", tag="set_lr"):
    """Changes the learning rate of the steps that follow."""

    lr: Hex


class Save(Message, frozen=True, tag_field="method", tag="save"):
    """Asks for the state."""


class Load(Message, frozen=True, tag_field="method", tag="load"):
    """Hands a state back that another process saved."""

    state: msgspec.Raw


class Stop(Message, frozen=True, tag_field="method", tag="stop"):
    """Ends the program."""


class Started(Message, frozen=True):
    """Replies to start: the version to use, and what the program is and can."""

    protocol: int
    name: Text
    accepts: tuple[Text, ...]
    supports: tuple[Literal["set_lr", "save_load", "missing"], ...]


class Done(Message, frozen=True):
    """Replies to init, set_lr and load."""


class Stepped(Message, frozen=True):
    """Replies to step: all parameters."""

    params: tuple[Numbers, ...]


class Saved(Message, frozen=True):
    """Replies to save: anything that load can take."""

    state: msgspec.Raw


class Skipped(Message, frozen=True):
    """Replies to init where the program cannot run this, and why."""

    skip: Text


class Failed(Message, frozen=True):
    """Replies to any request, and says what went wrong; the id is null where it is not known."""

    id: int | None  # type: ignore[assignment]
    error: Text


class _Outcome(msgspec.Struct, frozen=True):
    """What kind of reply a line is."""

    error: Any = None
    skip: Any = None


_REQUESTS: Final = (Start, Init, Step, SetLr, Save, Load, Stop)
_REPLIES: Final = (Started, Done, Stepped, Saved, Skipped, Failed)

Reply = TypeVar("Reply", Started, Done, Stepped, Saved)


def schema() -> dict[str, Any]:
    """The JSON schema of a line, as spec/schema/protocol.json holds it."""
    requests, definitions = msgspec.json.schema_components(_REQUESTS)
    replies, more = msgspec.json.schema_components(_REPLIES)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "anyOf": [{"$ref": "#/$defs/Request"}, {"$ref": "#/$defs/Reply"}],
        "$defs": {
            "Request": {"description": "What refopt writes.", "anyOf": list(requests)},
            "Reply": {"description": "What the program writes.", "anyOf": list(replies)},
            **definitions,
            **more,
        },
    }


@dataclass(frozen=True)
class Program:
    """A program that speaks the protocol, as a target.

    Attributes:
        command: what to run, with its arguments.
    """

    command: tuple[str, ...]

    @classmethod
    def parse(cls, command: str) -> Self:
        """The program that a line of a shell names.

        Raises:
            TargetError: it names none.
        """
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise TargetError(f"cannot split exec:{command}: {error}") from None
        if not words:
            raise TargetError("exec: names no program; give exec:COMMAND, such as exec:./adamw")
        return cls(tuple(words))


@dataclass(frozen=True)
class ProgramAdapter(Adapter):
    """A program, asked once what it is; each session is a process of its own."""

    program: Program
    about: Started
    takes_missing: bool
    running: list[Process] = field(default_factory=list)

    @classmethod
    def of(cls, parts: tuple[Part, ...]) -> Self:
        innermost, *outer = parts
        program: Any = innermost.factory
        if outer:
            raise TargetError("nothing can go around a program here; put it inside it")
        process = Process(program.command)
        try:
            with process.killed_after(_FIRST_REPLY):
                about = process.start()
        finally:
            process.end()
        return cls(parts, program, about, "missing" in about.supports)

    def accepted(self) -> frozenset[str]:
        return frozenset(self.about.accepts)

    def start(self, params: Arrays, hyperparameters: Mapping[str, Any]) -> ProgramSession:
        process = Process(self.program.command)
        self.running.append(process)
        if process.start() != self.about:
            raise TargetError(f"{process.name} says in each process that it is something else")
        accepted = self.accepted()
        given = {n: _value(n, v) for n, v in hyperparameters.items() if n in accepted}
        return ProgramSession(
            process, params, given, dict(self.parts[0].options), self.about.supports
        )

    def end_sessions(self) -> None:
        while self.running:
            self.running.pop().end()


class ProgramSession:
    """A process with its parameters; it can do what it said that it supports."""

    def __init__(
        self,
        process: Process,
        params: Arrays,
        hyperparameters: dict[str, Value],
        options: dict[str, Any],
        supports: Sequence[str],
    ) -> None:
        self._process = process
        self._shapes = [p.shape for p in params]
        self._dtype = params[0].dtype
        process.ask(
            Done,
            Init,
            dtype=self._dtype.name,
            shapes=tuple(self._shapes),
            params=tuple(map(_numbers, params)),
            hyperparameters=hyperparameters,
            options=options,
        )
        if "set_lr" in supports:
            self.set_lr = self._set_lr
        if "save_load" in supports:
            self.state_dict = self._state_dict
            self.load_state_dict = self._load_state_dict

    def step(self, grads: Gradients) -> Arrays:
        gradients = tuple(None if g is None else _numbers(g) for g in grads)
        params = self._process.ask(Stepped, Step, gradients=gradients).params
        if len(params) != len(self._shapes):
            raise TargetError(
                f"{self._process.name} replied to step with {len(params)} arrays for "
                f"{len(self._shapes)} parameters"
            )
        return [self._array(i, numbers) for i, numbers in enumerate(params)]

    def _set_lr(self, lr: float) -> None:
        self._process.ask(Done, SetLr, lr=float(lr).hex())

    def _state_dict(self) -> msgspec.Raw:
        return self._process.ask(Saved, Save).state

    def _load_state_dict(self, state: msgspec.Raw) -> None:
        self._process.ask(Done, Load, state=state)

    def _array(self, i: int, numbers: Numbers) -> np.ndarray:
        where = f"{self._process.name} replied to step with parameter {i}"
        size = math.prod(self._shapes[i])
        if len(numbers) != size:
            raise TargetError(f"{where} of {len(numbers)} elements instead of {size}")
        try:
            exact = np.array([float.fromhex(number) for number in numbers], np.float64)
        except OverflowError:
            raise TargetError(f"{where} holding a number that no float64 can be") from None
        with np.errstate(over="ignore"):
            array = exact.astype(self._dtype)
        wrong = np.flatnonzero((array != exact) & ~np.isnan(exact))
        if wrong.size:
            raise TargetError(f"{where} holding {numbers[wrong[0]]}, which is no {self._dtype}")
        return array.reshape(self._shapes[i])


class Process:
    """A running program.

    Args:
        command: what to run, with its arguments.

    Raises:
        TargetError: it cannot be run.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.name = "the program"
        self._count = 0
        self._last_words = b""
        self._limit: float | None = None  # of seconds, once it was too late
        self._asking = threading.Lock()
        pipe = subprocess.PIPE
        try:
            # A session of its own, so that what it starts can be killed with it.
            self._process = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            here = Path(command[0]).is_file() and "/" not in command[0]
            hint = f"; for the file in this folder write ./{command[0]}" if here else ""
            raise TargetError(f"cannot run {command[0]}: {reason}{hint}") from None
        atexit.register(self._kill)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._stdin = self._process.stdin
        self._stdout = self._process.stdout
        self._stderr = self._process.stderr
        self._listener = threading.Thread(target=self._listen, daemon=True, name="refopt stderr")
        self._listener.start()

    def start(self) -> Started:
        """What the program says of itself.

        Raises:
            TargetError: that is not the first request, or makes no sense.
        """
        about = self.ask(Started, Start, protocol=PROTOCOL)
        self.name = _line(about.name)
        if about.protocol != PROTOCOL:
            raise TargetError(
                f"{self.name} speaks version {about.protocol} of the protocol, "
                f"refopt speaks version {PROTOCOL}"
            )
        unknown = sorted(set(about.accepts) - DOMAINS.keys())
        if unknown:
            raise TargetError(
                f"{self.name} accepts {_line(unknown[0])!r}, which is no canonical name of a "
                f"hyperparameter; those are {', '.join(sorted(DOMAINS))}"
            )
        return about

    def ask(self, kind: type[Reply], request: Callable[..., Message], **content: Any) -> Reply:
        """The reply to a request.

        Raises:
            TargetError: there is none, or it is not as it should be.
        """
        self._count += 1
        message = request(id=self._count, **content)
        with self._asking:
            line = self._exchanged(message)
        return understood(self.name, line, kind, message)

    def end(self) -> None:
        """Stops the program, or kills it where it is busy or takes more than a second."""
        if self._asking.acquire(blocking=False):
            with self.killed_after(_GRACE):
                self._write(Stop(id=self._count + 1))
                with suppress(OSError):
                    self._stdin.close()
                self._process.wait()
            self._asking.release()
        self._kill()
        self._process.wait()
        atexit.unregister(self._kill)
        # Whoever waited for a reply or listened sees the end now, unless something that left the
        # session of the program still holds its output.
        self._listener.join(_GRACE)
        if self._asking.acquire(timeout=_GRACE):
            with suppress(OSError):
                self._stdin.close()
            self._stdout.close()
            self._asking.release()

    @contextmanager
    def killed_after(self, seconds: float) -> Iterator[None]:
        """Has the program killed if what happens inside takes longer."""

        def expired() -> None:
            self._limit = seconds
            self._kill()

        timer = threading.Timer(seconds, expired)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _kill(self) -> None:
        with suppress(ProcessLookupError, PermissionError):  # it has ended
            os.killpg(self._process.pid, signal.SIGKILL)

    def _listen(self) -> None:
        with self._stderr:
            while piece := self._stderr.readline(4096):
                self._last_words = piece.strip() or self._last_words

    def _write(self, message: Message) -> None:
        with suppress(OSError):  # it has ended, which its output tells
            self._stdin.write(msgspec.json.encode(message) + b"\n")
            self._stdin.flush()

    def _exchanged(self, message: Message) -> bytes:
        method = _method(message)
        self._write(message)
        line = self._stdout.readline(LONGEST + 1)
        if len(line) > LONGEST:
            raise TargetError(
                f"{self.name} replied to {method} with more than {LONGEST >> 20} MiB in a line"
            )
        if not line.endswith(b"\n"):
            raise TargetError(f"{self.name} {self._end()} instead of replying to {method}")
        return line

    def _end(self) -> str:
        """How the output of the program came to its end."""
        try:
            status = self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            return "closed its standard output"
        if self._limit is not None:
            return f"did nothing for {self._limit:g} s"
        self._listener.join(_GRACE)
        said = _line(self._last_words.decode(errors="replace"))
        how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        return f"ended {how} ({said})" if said else f"ended {how}"


def understood(who: str, line: bytes, kind: type[Reply], request: Message) -> Reply:
    """The reply that a program wrote to a request.

    Raises:
        TargetError: it is another, or says that there is none.
    """
    where = f"{who} replied to {_method(request)} with"
    try:
        outcome = msgspec.json.decode(line, type=_Outcome)
        if outcome.error is not None:
            failed = msgspec.json.decode(line, type=Failed)
            raise TargetError(f"{where} an error: {_line(failed.error)}")
        if outcome.skip is not None and isinstance(request, Init):
            skipped = msgspec.json.decode(line, type=Skipped)
            raise TargetError(f"{who} skips this: {_line(skipped.skip)}")
        reply = msgspec.json.decode(line, type=kind)
    except msgspec.ValidationError as error:
        reason = _line(_REGEX.sub("a number in hexadecimal, such as '0x1.8p+1'", str(error)))
        raise TargetError(f"{where} what the protocol does not allow: {reason}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        shown = _line(line.decode(errors="replace"), 100)
        raise TargetError(
            f"{where} what is no JSON: {shown!r}; "
            "only replies belong on its standard output, everything else on standard error"
        ) from None
    if reply.id != request.id:
        raise TargetError(f"{where} the id {reply.id} instead of {request.id}")
    return reply


_REGEX: Final = re.compile(r"`str` matching regex '.*'")


def _method(request: Message) -> str:
    return str(request.__struct_config__.tag)


def _line(text: str, width: int = 400) -> str:
    """A text of the program on one line, that is safe to print."""
    printable = "".join(c if c.isprintable() else " " for c in text[:10_000])
    return textwrap.shorten(printable, width, placeholder=" ...")


def _numbers(array: np.ndarray) -> Numbers:
    return tuple(float(number).hex() for number in array.ravel())


def _value(name: str, value: Any) -> Value:
    """A hyperparameter as its domain has it, whether a user wrote 1 or 1.0."""
    domain = DOMAINS[name]
    if isinstance(domain, Boolean):
        return bool(value)
    if isinstance(domain, Interval):
        return int(value) if domain.integer else float(value).hex()
    return {str(step): float(factor).hex() for step, factor in value.items()}
