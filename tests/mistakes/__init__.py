"""Targets that are wrong, each in one way in which an optimizer of somebody's was wrong.

Every module lists its targets in ``MISTAKES``. The formulas are written as people write them, by
hand and without a look at the reference; how :func:`refopt.identify` is to name each is written
beside it.
"""
