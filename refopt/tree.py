"""Parameters as nested dicts, lists and tuples of arrays: flattened to named leaves and back."""

from __future__ import annotations

from typing import Any

Tree = Any
"""One array, or a dict, list or tuple of trees."""


def flattened(tree: Tree) -> dict[str, Any]:
    """The leaves by name: the keys and positions that lead to them, joined by dots.

    >>> flattened({"dense": {"kernel": 1.0, "bias": 2.0}, "scales": [3.0, 4.0]})
    {'dense.kernel': 1.0, 'dense.bias': 2.0, 'scales.0': 3.0, 'scales.1': 4.0}
    >>> flattened(5.0)
    {'': 5.0}

    Raises:
        ValueError: two leaves have the same name.
    """
    children = _children(tree)
    if children is None:
        return {"": tree}
    leaves: dict[str, Any] = {}
    _gather(children, "", leaves)
    return leaves


def rebuilt(tree: Tree, leaves: dict[str, Any]) -> Tree:
    """A tree of the same form with other leaves, given by name."""
    return _mapped(tree, (), leaves)


def _gather(children: list[tuple[str, Tree]], path: str, leaves: dict[str, Any]) -> None:
    for key, child in children:
        name = path + key
        inside = _children(child)
        if inside is not None:
            _gather(inside, f"{name}.", leaves)
        elif name in leaves:
            raise ValueError(f"two parameters are named {name!r}; rename a key that contains a dot")
        else:
            leaves[name] = child


def _mapped(tree: Tree, path: tuple[str, ...], leaves: dict[str, Any]) -> Tree:
    children = _children(tree)
    if children is None:
        return leaves[".".join(path)]
    changed = [_mapped(child, (*path, key), leaves) for key, child in children]
    if isinstance(tree, dict):
        return dict(zip(tree, changed, strict=True))
    make = getattr(tree, "_make", type(tree))  # the type of a named tuple takes its fields apart
    return make(changed)


def _children(tree: Tree) -> list[tuple[str, Tree]] | None:
    if isinstance(tree, dict):
        return [(str(key), child) for key, child in tree.items()]
    if isinstance(tree, list | tuple):
        return [(str(i), child) for i, child in enumerate(tree)]
    return None
