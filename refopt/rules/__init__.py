"""The rules: each a straight-line function in plain array math, to be read beside its paper.

``h, *state = rule(xp, t, g, *state, *, hyperparameters)`` takes the namespace, the 1-based step,
the gradient and the state, and returns the direction and the new state. A rule that also reads
``lr`` keeps the learning rate inside its state and returns ``lr * h``.
"""
