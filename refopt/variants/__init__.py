"""The variants: plain array math that changes one stage of an optimizer's step.

Each function is declared with the kind of layer it makes (:mod:`refopt.layers`), and reads what
its arguments name. Called with an optimizer, a variant returns the optimizer with it around.
"""
