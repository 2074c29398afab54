"""Step counts that do not skip missing gradients."""

from refopt.layers import CountsMissing
from refopt.optimizer import variant


@variant(CountsMissing)
def count_missing():
    """``t`` counts every call, also those without a gradient for the parameter."""
