"""Properties: what an optimizer does whatever the numbers, sought to be refuted by Hypothesis.

Fixed probes tell formulas apart. What they cannot see is code that is wrong only for some shapes,
sizes, layouts in memory, orders of parameters or magnitudes. A property compares runs of the target
with each other (permuted elements permute the result), with what is known without running anything
(gradients of zero leave everything in place), or, in any order of calls, with the reference.

A specification states which properties its optimizer has; every property says where it must hold
bit for bit, and where within the bounds that :mod:`refopt.arithmetic.bounds` derives for the very
runs that are compared. Nothing is tuned.
"""

from refopt.oracle.properties.check import Properties, check_properties
from refopt.oracle.properties.report import PropertyReport, PropertyVerdict

__all__ = ["Properties", "PropertyReport", "PropertyVerdict", "check_properties"]
