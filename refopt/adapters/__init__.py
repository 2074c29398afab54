"""What lets refopt step a target: plain Python, and the optimizers of frameworks.

An adapter knows how a kind of target is started and stepped, and nothing about optimizers: which
of a framework's arguments take which canonical hyperparameter comes from the specification.
"""
