"""Finds the adapter of a target, without importing a framework that is not already there."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from refopt.adapters.adapter import Adapter, Part


class TargetError(Exception):
    """A target cannot be found, started or stepped; says what to do about it."""


def imported(name: str) -> Any:
    """The object that ``package.module:attribute`` or ``path/to/file.py:attribute`` names.

    Raises:
        TargetError: there is no such module, file or attribute.
    """
    module_name, colon, attribute = name.rpartition(":")
    if not colon or not module_name or not attribute:
        raise TargetError(f"{name!r} is not of the form package.module:attribute")
    if module_name.endswith(".py"):
        module = _from_file(Path(module_name))
    else:
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            raise TargetError(f"cannot import {module_name}: {error}; is it installed?") from None
    try:
        found = module
        for part in attribute.split("."):
            found = getattr(found, part)
    except AttributeError:
        raise TargetError(f"{module_name} has no attribute {attribute!r}") from None
    return found


def framework(target: Any) -> str | None:
    """The framework whose kind of optimizer a target is, by the modules of its class."""
    kind = target if isinstance(target, type) else type(target)
    modules = [base.__module__ for base in kind.__mro__]
    if not isinstance(target, type):
        modules.append(getattr(target, "__module__", None) or "")
    for module in modules:
        root = module.partition(".")[0]
        if root in _KINDS:
            return root
    return None


def adapt(parts: tuple[Part, ...], framework: str | None) -> Adapter:
    """The adapter for a target of a framework, or for a plain one."""
    if framework is None:
        from refopt.adapters.plain import PlainAdapter

        return PlainAdapter(parts)
    module, name = _KINDS[framework]
    adapter: type[Adapter] = getattr(importlib.import_module(module), name)
    return adapter(parts)


_KINDS = {
    "torch": ("refopt.adapters.torch", "TorchAdapter"),
    "optax": ("refopt.adapters.optax", "OptaxAdapter"),
    "keras": ("refopt.adapters.keras", "KerasAdapter"),
}


def _from_file(path: Path) -> Any:
    if not path.is_file():
        raise TargetError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise TargetError(f"{path} fails when imported: {type(error).__name__}: {error}") from error
    return module
