"""Golden vectors: runs with exact results, for implementations in any language.

``spec/vectors/<name>.json`` holds the vectors of an optimizer: hyperparameters, and for every step
the learning rate, the gradients, and the parameters and state that follow. Results come from exact
arithmetic (:mod:`refopt.arithmetic.balls`), rounded once, to float64; beside them stands how far
float32 and float64 arithmetic may be from them, element by element
(:mod:`refopt.arithmetic.bounds`). Real numbers are hexadecimal, so nothing is lost in reading them.

Vectors are drawn from the probes, cut to small shapes. Once drawn, a vector is what its file says:
:func:`write` adds vectors and refreshes bounds, but never changes what one gives or expects.
"""

from refopt.vectors.file import VectorError, VectorFile, folder, load, parse, schema
from refopt.vectors.maintenance import lint, verify, write

__all__ = [
    "VectorError",
    "VectorFile",
    "folder",
    "lint",
    "load",
    "parse",
    "schema",
    "verify",
    "write",
]
