"""Finds the adapter of a target, without importing a framework that is not already there."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import os
import sys
import warnings
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Final, NamedTuple

from refopt.adapters.adapter import Adapter, Part, TargetError, arguments_of, raised
from refopt.hyperparameters import DOMAINS

__all__ = ["TargetError", "adapt", "framework", "imported"]


class _Framework(NamedTuple):
    """Where a framework's optimizers are defined, and which class adapts them."""

    home: str
    module: str
    adapter: str


_FRAMEWORKS: Final = {
    "torch": _Framework("torch.optim", "refopt.adapters.torch", "TorchAdapter"),
    "optax": _Framework("optax", "refopt.adapters.optax", "OptaxAdapter"),
    "keras": _Framework("keras", "refopt.adapters.keras", "KerasAdapter"),
    "exec": _Framework("refopt.adapters.program", "refopt.adapters.program", "ProgramAdapter"),
    "mlx": _Framework("mlx.optimizers", "refopt.adapters.mlx", "MlxAdapter"),
    "onnx": _Framework(
        "onnx.reference.ops.aionnx_preview_training", "refopt.adapters.onnx", "OnnxAdapter"
    ),
    "paddle": _Framework("paddle", "refopt.adapters.paddle", "PaddleAdapter"),
    "tinygrad": _Framework("tinygrad.nn.optim", "refopt.adapters.tinygrad", "TinygradAdapter"),
}


def imported(name: str) -> Any:
    """The object that ``package.module:attribute`` or ``path/to/file.py:attribute`` names.

    ``exec:COMMAND`` names a program.

    Raises:
        TargetError: there is no such module, file or attribute, or no command.
    """
    if name.startswith("exec:"):
        from refopt.adapters.program import Program

        return Program.parse(name.removeprefix("exec:"))
    module_name, colon, attribute = name.rpartition(":")
    if not colon or not module_name or not attribute:
        hint = _with_colon(name)
        raise TargetError(f"{name!r} is not of the form package.module:attribute{hint}")
    is_file = module_name.endswith(".py")
    if is_file and not Path(module_name).is_file():
        raise TargetError(f"there is no file {module_name}")
    _choose_backend_of_keras()
    try:
        with warnings.catch_warnings():
            # By the import of Paddle; only its C++ extensions need that.
            warnings.filterwarnings("ignore", message="No ccache found")
            found = (
                _from_file(Path(module_name)) if is_file else importlib.import_module(module_name)
            )
    except ModuleNotFoundError as error:
        raise TargetError(f"cannot import {module_name}: {error}; is it installed?") from None
    except (Exception, SystemExit) as error:
        raise TargetError(f"cannot import {module_name}: {raised(error)}") from error
    try:
        for part in attribute.split("."):
            found = getattr(found, part)
    except AttributeError:
        raise TargetError(f"{module_name} has no attribute {attribute!r}") from None
    return found


def _with_colon(name: str) -> str:
    """What was meant, where it can be told."""
    if name.endswith(".py"):
        return f"; name what is in it: {name}:MyOptimizer"
    module, dot, attribute = name.rpartition(".")
    return f"; did you mean {module}:{attribute}?" if dot and module and attribute else ""


def framework(target: Any) -> str | None:
    """The framework whose kind of optimizer a target is or makes; None for a plain target.

    A class or instance belongs where one of its base classes is defined. A function belongs where
    it is defined, to what it is annotated to return, or to the one framework that everything it
    refers to comes from.
    """
    source = _source(target)
    if isinstance(source, type):
        return _defined_in(base.__module__ for base in source.__mro__)
    return _defined_in([source.__module__]) or _made_by(source)


def adapt(parts: tuple[Part, ...], framework: str | None) -> Adapter:
    """The adapter for a target of a framework, or for a plain one.

    Raises:
        TargetError: there is nothing to start.
    """
    if framework is not None:
        _, module, name = _FRAMEWORKS[framework]
        adapter: type[Adapter] = getattr(importlib.import_module(module), name)
        return adapter.of(tuple(_with_canonical_names(part) for part in parts))
    from refopt.adapters.plain import PlainAdapter

    innermost, *outer = parts
    if outer:
        raise TargetError(f"nothing can go around {innermost.factory!r} here; put it inside it")
    if not callable(innermost.factory):
        raise TargetError(
            f"{type(innermost.factory).__name__} cannot be called; "
            "a target is a class or function: Factory(params, **hyperparameters)"
        )
    return PlainAdapter.of(parts)


def _source(target: Any) -> type | FunctionType:
    """The function or class that a target is, calls with some arguments set, or is made from."""
    if isinstance(target, functools.partial):
        return _source(target.func)
    return target if isinstance(target, type | FunctionType) else type(target)


def _with_canonical_names(part: Part) -> Part:
    """A user's own function or class may use canonical names instead of the framework's."""
    source = _source(part.factory)
    if _defined_in([source.__module__]) is not None:
        return part
    own = {name: name for name in arguments_of(source)[0] if name in DOMAINS}
    return replace(part, arguments=own | dict(part.arguments))


def _defined_in(modules: Iterable[str]) -> str | None:
    for module in modules:
        for name, (home, *_) in _FRAMEWORKS.items():
            if module == home or module.startswith(f"{home}."):
                return name
    return None


def _made_by(function: FunctionType) -> str | None:
    """The framework whose optimizer a function returns."""
    returned, names = function.__annotations__.get("return"), []
    if isinstance(returned, str):
        returned, *names = returned.split(".")
        returned = function.__globals__.get(returned)
    if owners := _owners(returned, names) - {None}:
        return owners.pop() if len(owners) == 1 else None
    used = inspect.getclosurevars(function)
    for value in (*used.globals.values(), *used.nonlocals.values()):
        owners |= _owners(value, function.__code__.co_names)
    owners |= {name for name in _FRAMEWORKS if name in used.unbound}  # imported inside it
    return owners.pop() if len(owners) == 1 else None


def _owners(value: object, names: Iterable[str]) -> set[str | None]:
    """The frameworks that something a function refers to comes from; data comes from none.

    A module that is no framework may hold optimizers of one: ``names`` are those that are used.
    """
    if not isinstance(value, ModuleType):
        return {_owner(value)} if callable(value) else set()
    root = value.__name__.partition(".")[0]
    if root in _FRAMEWORKS:
        return {root}
    used = [vars(value)[name] for name in names if name in vars(value)]
    return {framework(each) for each in used if isinstance(each, type)} or {None}


def _owner(value: object) -> str | None:
    source = _source(value)
    if isinstance(source, FunctionType):
        return _defined_in([source.__module__])
    return framework(source)


def _choose_backend_of_keras() -> None:
    """Has Keras start on a backend that is installed: unless told, it takes TensorFlow."""
    if "keras" not in sys.modules and "KERAS_BACKEND" not in os.environ:
        for backend in ("jax", "torch"):
            if importlib.util.find_spec(backend) is not None:
                os.environ["KERAS_BACKEND"] = backend
                break


def _from_file(path: Path) -> ModuleType:
    # A name of its own, since a file may be called like any module: adam.py, torch.py.
    name = f"refopt_target_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
