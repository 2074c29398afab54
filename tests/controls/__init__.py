"""Targets that are right, in orders of evaluation and styles that differ from the reference's.

Each module lists its targets in ``CONTROLS``. A reference that accuses one of them is useless in
CI: no mistake of theirs is worse.
"""
