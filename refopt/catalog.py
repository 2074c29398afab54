"""Names to optimizers: every rule, variant and composition, and the expressions that stack them."""

from __future__ import annotations

import ast
import difflib
import reprlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import Any, Final

from refopt.layers import REQUIRED, Layer
from refopt.optimizer import Optimizer, RuleConstructor, VariantConstructor
from refopt.rules import (
    adadelta,
    adagrad,
    adam,
    adamax,
    amsgrad,
    lion,
    nadam,
    radam,
    rmsprop,
    rprop,
    sgd,
)
from refopt.variants import (
    accumulation,
    centralization,
    clip,
    l2,
    layer_adaptation,
    lazy,
    lookahead,
    missing,
    rescale,
    schedule,
    weight_decay,
)


def _rules(lr: float, module: ModuleType) -> dict[str, RuleConstructor]:
    """The rules of a module: its public functions but those that only return state."""
    return {
        name: RuleConstructor(value, lr)
        for name, value in vars(module).items()
        if isinstance(value, FunctionType)
        and not name.startswith("_")
        and not name.endswith(("_init", "_missing"))
    }


RULES: Final[Mapping[str, RuleConstructor]] = {
    **_rules(1.0, adadelta),
    **_rules(1e-2, adagrad),
    **_rules(1e-3, adam),
    **_rules(2e-3, adamax),
    **_rules(1e-3, amsgrad),
    **_rules(1e-4, lion),
    **_rules(2e-3, nadam),
    **_rules(1e-3, radam),
    **_rules(1e-3, rmsprop),
    **_rules(1.0, rprop),
    **_rules(1e-2, sgd),
}
"""The rules, with the learning rates that their sources recommend."""


def _variants(module: ModuleType) -> dict[str, VariantConstructor]:
    """The variants of a module."""
    return {n: value for n, value in vars(module).items() if isinstance(value, VariantConstructor)}


VARIANTS: Final[Mapping[str, VariantConstructor]] = {
    **_variants(accumulation),
    **_variants(centralization),
    **_variants(clip),
    **_variants(l2),
    **_variants(layer_adaptation),
    **_variants(lazy),
    **_variants(lookahead),
    **_variants(missing),
    **_variants(rescale),
    **_variants(schedule),
    **_variants(weight_decay),
}

COMPOSITIONS: Final[Mapping[str, str]] = {
    "adamw": "weight_decay(adam)",
    "lamb": "layer_adaptation(weight_decay(adam(eps=1e-6)))",
    "lars": "trust_ratio(sgd_lr_inside(momentum=0.9))",
    "ranger": "lookahead(gradient_centralization(radam(beta1=0.95, eps=1e-5)), k=6, alpha=0.5)",
    "smoothed_accumulation": "update_every(beta_tilde(_))",
}
"""Optimizers that are nothing but a rule with variants, and variants nothing but others."""


_QUOTED: Final = reprlib.Repr()
"""Quotes what a user wrote, shortened where it is long."""
_QUOTED.maxstring = 100


class CatalogError(ValueError):
    """An expression names something that does not exist, or is not an expression."""


def names() -> list[str]:
    """Every name that an expression may use."""
    return [*RULES, *COMPOSITIONS, *VARIANTS]


def constructor(name: str) -> Callable[..., Optimizer]:
    """What makes the optimizers of a name: of a rule, around another, or of a composition."""
    if name in COMPOSITIONS:
        return StackConstructor(name) if goes_around(name) else CompositionConstructor(name)
    return RULES[name] if name in RULES else VARIANTS[name]


def goes_around(name: str) -> bool:
    """Whether a name takes an optimizer inside."""
    return name in VARIANTS or (name in COMPOSITIONS and "_" in _names(COMPOSITIONS[name]))


@dataclass(frozen=True)
class CompositionConstructor:
    """Makes optimizers of a composition: ``adamw(lr=1e-3, weight_decay=0.1)``."""

    name: str

    def __call__(self, **hyperparameters: Any) -> Optimizer:
        """The composition with those hyperparameters of its parts."""
        return build(self.name).with_hyperparameters(**hyperparameters)


@dataclass(frozen=True)
class StackConstructor:
    """Puts several variants around an optimizer: ``smoothed_accumulation(adam(), k=4)``.

    Each of them takes the same arguments.
    """

    name: str

    def __call__(self, optimizer: Optimizer, *values: Any, **given: Any) -> Optimizer:
        """The optimizer with the variants around it."""
        for part in components(self.name):
            optimizer = VARIANTS[part](optimizer, *values, **given)
        return optimizer


def layer(name: str) -> Layer:
    """The layer that a rule or a variant makes, with its default hyperparameters."""
    return RULES[name].default if name in RULES else VARIANTS[name].default


Forms = Callable[[str], str | None]
"""What a name stands for in a dialect: an expression, in which ``_`` is the optimizer inside."""


def build(expression: str, forms: Forms | None = None) -> Optimizer:
    """The optimizer that an expression describes.

    >>> str(build("lookahead(adamw(beta1=0.95), k=6)"))
    'lookahead(weight_decay(adam(beta1=0.95)), k=6)'

    Raises:
        CatalogError: the expression does not parse or uses an unknown name.
        TypeError: a hyperparameter does not exist.
        ValueError: a hyperparameter lies outside its domain.
    """
    return _Reader(expression, forms or _canonical).read(_parsed(expression), None)


def components(expression: str, whole: Callable[[str], bool] = lambda name: False) -> list[str]:
    """The names of an expression, innermost first; compositions are taken apart unless ``whole``.

    >>> components("lookahead(adamw, k=5)")
    ['adam', 'weight_decay', 'lookahead']

    Raises:
        CatalogError: the expression does not parse.
    """
    found: list[str] = []
    for name in reversed(_names(expression)):
        if name in COMPOSITIONS and not whole(name):
            found += components(COMPOSITIONS[name], whole)
        elif name != "_":
            found.append(name)
    return found


def _names(expression: str) -> list[str]:
    """The names of an expression, outermost first."""
    return [node.id for node in ast.walk(_parsed(expression)) if isinstance(node, ast.Name)]


def _parsed(expression: str) -> ast.expr:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # what is odd is refused in any case
            tree = ast.parse(expression.strip(), mode="eval").body
        ast.unparse(tree)  # errors show parts of it, which a tree too deep does not allow
        return tree
    except (SyntaxError, ValueError, MemoryError, RecursionError):  # a null character, deep nesting
        raise CatalogError(
            f"{_QUOTED.repr(expression)} is not an expression such as 'lookahead(adam, k=5)'"
        ) from None


@dataclass(frozen=True)
class _Reader:
    """Reads the syntax tree of an expression."""

    expression: str
    forms: Forms
    states_defaults: bool = False
    """Whether the hyperparameters in it are the defaults of a composition rather than pinned."""
    supplied: Mapping[str, Any] = field(default_factory=dict)
    """Values for what has no default, where the expression is the form of a dialect."""

    def read(self, node: ast.expr, inside: Optimizer | None) -> Optimizer:
        match node:
            case ast.Name(id="_") if inside is not None:
                return inside
            case ast.Name(id=name):
                return self._named(name, [], {}, inside)
            case ast.Call(func=ast.Name(id=name), args=positional, keywords=keywords):
                return self._named(name, positional, self._given(name, keywords), inside)
        raise CatalogError(f"{self._quoted(node)} is not an optimizer")

    def _named(
        self,
        name: str,
        positional: list[ast.expr],
        hyperparameters: dict[str, Any],
        inside: Optimizer | None,
    ) -> Optimizer:
        optimizer = self._pinned(name, positional, hyperparameters, inside)
        return optimizer.unpinned(hyperparameters) if self.states_defaults else optimizer

    def _pinned(
        self,
        name: str,
        positional: list[ast.expr],
        hyperparameters: dict[str, Any],
        inside: Optimizer | None,
    ) -> Optimizer:
        form = self.forms(name)
        if goes_around(name):
            if not positional:
                raise CatalogError(f"{name} needs an optimizer inside, such as {name}(adam)")
            inner = self.read(positional[0], inside)
            values = [self._literal(value) for value in positional[1:]]
            if name in COMPOSITIONS:
                return StackConstructor(name)(inner, *values, **hyperparameters)
            defaults = VARIANTS[name].default.hyperparameters
            if form is None:
                required = [k for k in list(defaults)[len(values) :] if defaults[k] is REQUIRED]
                supplied = {k: self.supplied[k] for k in required if k in self.supplied}
                return VARIANTS[name](inner, *values, **(supplied | hyperparameters))
            given = dict(zip(defaults, values, strict=False)) | hyperparameters
            reader = _Reader(form, _canonical, supplied=given)
            return reader.read(_parsed(form), inner).with_outer(inner, given)
        if name not in RULES and name not in COMPOSITIONS:
            near = difflib.get_close_matches(name, names(), n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else "`refopt list` shows all names"
            raise CatalogError(f"no optimizer is named {_QUOTED.repr(name)}; {hint}")
        if positional:
            raise CatalogError(f"{name} goes around nothing: give it hyperparameters by name")
        if form is not None:
            return build(form).with_hyperparameters(**hyperparameters)
        if name in RULES:
            return RULES[name](**hyperparameters)
        parts = COMPOSITIONS[name]
        composed = _Reader(parts, self.forms, states_defaults=True).read(_parsed(parts), None)
        return composed.with_hyperparameters(**hyperparameters)

    def _given(self, name: str, keywords: list[ast.keyword]) -> dict[str, Any]:
        given: dict[str, Any] = {}
        for keyword in keywords:
            if keyword.arg is None or keyword.arg in given:
                where = f"{name} in {_QUOTED.repr(self.expression)}"
                raise CatalogError(f"{where} needs every hyperparameter by name, and once")
            given[keyword.arg] = self._literal(keyword.value)
        return given

    def _literal(self, node: ast.expr) -> Any:
        try:
            return ast.literal_eval(node)
        except (TypeError, ValueError):  # TypeError: a list as the key of a dict
            raise CatalogError(f"{self._quoted(node)} is not a number") from None

    def _quoted(self, node: ast.expr) -> str:
        return f"{_QUOTED.repr(ast.unparse(node))} in {_QUOTED.repr(self.expression)}"


def _canonical(name: str) -> None:
    """In the canonical form every name stands for itself."""
