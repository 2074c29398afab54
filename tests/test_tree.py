"""Nested containers of parameters."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refopt.tree import Tree, flattened, rebuilt

keys = st.text(st.characters(exclude_characters=".", codec="utf-8"), min_size=1, max_size=3)
leaves = st.integers()
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=12,
)


def test_leaves_are_named_by_the_keys_and_positions_that_lead_to_them() -> None:
    tree = {"encoder": [{"kernel": 1, "bias": 2}, (3, 4)], "scale": 5, "none": None}
    assert flattened(tree) == {
        "encoder.0.kernel": 1,
        "encoder.0.bias": 2,
        "encoder.1.0": 3,
        "encoder.1.1": 4,
        "scale": 5,
        "none": None,
    }


def test_a_single_leaf_has_the_empty_name() -> None:
    assert flattened(7) == {"": 7}
    assert rebuilt(7, {"": 8}) == 8


def test_order_is_that_of_the_containers() -> None:
    assert list(flattened({"b": 1, "a": [2, 3]})) == ["b", "a.0", "a.1"]


@pytest.mark.parametrize("empty", [{}, [], ()], ids=repr)
def test_empty_containers_have_no_leaves_and_stay(empty: Tree) -> None:
    assert flattened(empty) == {}
    assert rebuilt(empty, {}) == empty
    assert flattened({"a": empty, "b": 1}) == {"b": 1}


def test_keys_that_are_not_strings_keep_their_type() -> None:
    tree = {0: "zero", (1, 2): "pair"}
    assert flattened(tree) == {"0": "zero", "(1, 2)": "pair"}
    assert rebuilt(tree, {"0": 5, "(1, 2)": 6}) == {0: 5, (1, 2): 6}


def test_named_tuples_stay_what_they_are() -> None:
    class Layer(NamedTuple):
        kernel: Any
        bias: Any

    changed = rebuilt({"layer": Layer(1, 2)}, {"layer.0": 3, "layer.1": 4})
    assert changed == {"layer": Layer(3, 4)}
    assert isinstance(changed["layer"], Layer)


@pytest.mark.parametrize("tree", [{"a.b": 1, "a": {"b": 2}}, {1: 1, "1": 2}], ids=repr)
def test_two_leaves_of_one_name_are_an_error(tree: Tree) -> None:
    with pytest.raises(ValueError, match=r"two parameters are named '(a\.b|1)'"):
        flattened(tree)


@given(trees)
def test_a_tree_is_rebuilt_from_its_leaves(tree: Tree) -> None:
    before = copy.deepcopy(tree)
    assert rebuilt(tree, flattened(tree)) == tree
    assert tree == before


@given(trees)
def test_leaves_can_be_exchanged_one_by_one(tree: Tree) -> None:
    changed = {name: [leaf] for name, leaf in flattened(tree).items()}
    boxed = rebuilt(tree, changed)
    assert flattened(boxed) == {f"{name}.0" if name else "0": x[0] for name, x in changed.items()}
