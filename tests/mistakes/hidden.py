"""Mistakes that ordinary runs do not show: rare values, long runs, equal shapes, two at once."""

from __future__ import annotations

import numpy as np

from mistakes.stepping import Adam
from mistakes.target import Mistakes
from mistakes.wrappers import Lazy

MISTAKES = mistake = Mistakes()


@mistake("adam", "of one shape share their state", entry=75)
class StateByShape(Adam):
    """Parameters of one shape have one state."""

    def __init__(self, params, **rates):
        super().__init__(params, **rates)
        first = {}
        self.slots = [first.setdefault(p.shape, i) for i, p in enumerate(params)]

    def update(self, i, g):
        slot = self.slots[i]
        self.t[i] += 1
        self.apply(self.params[i], g, self.m[slot], self.v[slot], self.t[i])


@mistake(
    "adam",
    "what was loaded does not go on as what was saved",
    entry=144,
    links="pytorch/pytorch#196083",
)
class StateIsAliased(Adam):
    """Two optimizers share one state after saving and loading in one process."""

    def state_dict(self):
        return {"m": self.m, "v": self.v, "t": self.t}

    def load_state_dict(self, state):
        self.m, self.v, self.t = state["m"], state["v"], state["t"]


@mistake("adam", "t", "256", entry=17, links="pytorch/pytorch#75224")
class CountInBfloat16(Adam):
    """256 + 1 is 256 with 8 bits of precision."""

    def update(self, i, g):
        self.t[i] += 1
        self.apply(self.params[i], g, self.m[i], self.v[i], min(self.t[i], 256))


@mistake("adam", "step 128", "math domain error")
class CountInOneByte(Adam):
    """The count wraps from 127 to -128."""

    def update(self, i, g):
        self.t[i] = int(np.array(self.t[i] + 1).astype(np.int8))
        self.apply(self.params[i], g, self.m[i], self.v[i], self.t[i] or 1)


@mistake("lazy(adam)", "xp.sum(g")
class RowsThatSumToZero(Lazy):
    def absent(self, g):
        others = tuple(range(1, g.ndim))
        return np.sum(g, axis=others, keepdims=True) == 0 if others else g == 0
