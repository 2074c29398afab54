"""The engines: how the steps of an optimizer run fast, to the same bits."""

from refopt.engines.compiled import Compiled, compile

__all__ = ["Compiled", "compile"]
