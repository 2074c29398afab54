"""Optimizers that update arrays in place, with step sizes folded into one number, wrong."""

from __future__ import annotations

import copy
import inspect
import math
from typing import ClassVar

import numpy as np

from mistakes.target import Mistakes

MISTAKES = mistake = Mistakes()


class Optimizer:
    """Parameters that are updated in place, a dict of state for each, and a group of options."""

    zeros: ClassVar[tuple[str, ...]] = ("exp_avg", "exp_avg_sq")
    """The arrays of state, zero at first."""

    def __init__(self, params, **group):
        self.params = params
        taken = inspect.signature(self.update).parameters
        self.group = {name: value for name, value in group.items() if name in taken}
        self.state = [{} for _ in params]

    def step(self, grads):
        for p, g, state in zip(self.params, grads, self.state, strict=True):
            if g is None:
                continue
            if not state:
                state["step"] = 0
                for name in self.zeros:
                    state[name] = np.zeros_like(p)
            state["step"] += 1
            self.update(p, g, state, **self.group)
        return self.params

    def set_lr(self, lr):
        self.group["lr"] = lr

    def state_dict(self):
        return copy.deepcopy(self.state)

    def load_state_dict(self, state):
        self.state = copy.deepcopy(state)


def average(old, new, rate):
    """A moving average, in place."""
    old *= rate
    old += (1 - rate) * new


# Adam


@mistake(
    "adam",
    "step count stays at 1",
    entry=8,
    links="eriklindernoren/ML-From-Scratch#35 ufal/npfl114#79",
)
class CorrectionsWithoutExponent(Optimizer):
    def update(self, p, g, s, *, lr, beta1, beta2, eps):
        average(s["exp_avg"], g, beta1)
        average(s["exp_avg_sq"], g * g, beta2)
        denominator = np.sqrt(s["exp_avg_sq"]) / math.sqrt(1 - beta2) + eps
        p -= lr / (1 - beta1) * s["exp_avg"] / denominator


@mistake("adam", "step count is one too large", links="tiny-dnn/tiny-dnn#823")
class PowersStartAtTheRates(Optimizer):
    def update(self, p, g, s, *, lr, beta1, beta2, eps):
        if s["step"] == 1:
            s["power1"], s["power2"] = beta1, beta2
        s["power1"] *= beta1
        s["power2"] *= beta2
        average(s["exp_avg"], g, beta1)
        average(s["exp_avg_sq"], g * g, beta2)
        denominator = np.sqrt(s["exp_avg_sq"] / (1 - s["power2"])) + eps
        p -= lr * (s["exp_avg"] / (1 - s["power1"])) / denominator


@mistake("adam", "return h, m_old, v_old", links="raskr/rust-autograd#16")
class MomentsAreCopies(Optimizer):
    """New moments never reach the state."""

    def update(self, p, g, s, *, lr, beta1, beta2, eps):
        m = s["exp_avg"] * beta1 + (1 - beta1) * g
        v = s["exp_avg_sq"] * beta2 + (1 - beta2) * g * g
        m = m / (1 - beta1 ** s["step"])
        v = v / (1 - beta2 ** s["step"])
        p -= lr * m / (np.sqrt(v) + eps)


@mistake("adam", "v = beta2 * v + g**2")
class WeightMissingOnTheSquares(Optimizer):
    def update(self, p, g, s, *, lr, beta1, beta2, eps):
        average(s["exp_avg"], g, beta1)
        s["exp_avg_sq"] *= beta2
        s["exp_avg_sq"] += g * g
        step_size = lr / (1 - beta1 ** s["step"])
        denominator = np.sqrt(s["exp_avg_sq"]) / math.sqrt(1 - beta2 ** s["step"]) + eps
        p -= step_size * (s["exp_avg"] / denominator)


@mistake("adam", "(1 - beta1) * m + beta1 * g")
class InterpolatedByTheRate(Optimizer):
    def update(self, p, g, s, *, lr, beta1, beta2, eps):
        s["exp_avg"] += beta1 * (g - s["exp_avg"])
        s["exp_avg_sq"] += (1 - beta2) * (g * g - s["exp_avg_sq"])
        step_size = lr / (1 - beta1 ** s["step"])
        denominator = np.sqrt(s["exp_avg_sq"]) / math.sqrt(1 - beta2 ** s["step"]) + eps
        p -= step_size * (s["exp_avg"] / denominator)


@mistake(
    "adam",
    "(1 - beta2) * g * m",
    unexplained="the formula is built otherwise, in more than two places",
)
class ProductOfGradientAndMoment(Optimizer):
    def update(self, p, g, s, *, lr, beta1, beta2, eps):
        average(s["exp_avg"], g, beta1)
        average(s["exp_avg_sq"], abs(g * s["exp_avg"]), beta2)
        step_size = lr / (1 - beta1 ** s["step"])
        denominator = np.sqrt(s["exp_avg_sq"]) / math.sqrt(1 - beta2 ** s["step"]) + eps
        p -= step_size * (s["exp_avg"] / denominator)


@mistake("adam", "(g - m)**2")
class BeliefForAdam(Optimizer):
    """The variance of AdaBelief."""

    def update(self, p, g, s, *, lr, beta1, beta2, eps):
        average(s["exp_avg"], g, beta1)
        residual = g - s["exp_avg"]
        average(s["exp_avg_sq"], residual * residual, beta2)
        step_size = lr / (1 - beta1 ** s["step"])
        denominator = np.sqrt(s["exp_avg_sq"]) / math.sqrt(1 - beta2 ** s["step"]) + eps
        p -= step_size * (s["exp_avg"] / denominator)


@mistake("adam", "v_hat = v / (1 - beta2**t) / (1 - beta2**t)", links="pytorch/pytorch#23737")
class CorrectionOutsideTheRoot(Optimizer):
    def update(self, p, g, s, *, lr, beta1, beta2, eps):
        average(s["exp_avg"], g, beta1)
        average(s["exp_avg_sq"], g * g, beta2)
        denominator = np.sqrt(s["exp_avg_sq"]) / (1 - beta2 ** s["step"]) + eps
        p -= lr / (1 - beta1 ** s["step"]) * s["exp_avg"] / denominator


@mistake("adam", "v * (1 - beta2**t)")
class DenominatorTimesItsCorrection(Optimizer):
    def update(self, p, g, s, *, lr, beta1, beta2, eps):
        average(s["exp_avg"], g, beta1)
        average(s["exp_avg_sq"], g * g, beta2)
        denominator = np.sqrt(s["exp_avg_sq"]) * math.sqrt(1 - beta2 ** s["step"]) + eps
        p -= lr / (1 - beta1 ** s["step"]) * s["exp_avg"] / denominator


@mistake(
    "adam",
    "the bias correction is written back into the learning rate",
    links="steveKapturowski/tensorflow-rl#20 PennyLaneAI/pennylane#1929",
)
class CorrectedRateIsKept(Optimizer):
    """The bias correction is written back into the learning rate, and compounds."""

    def update(self, p, g, s, *, lr, beta1, beta2, eps):
        average(s["exp_avg"], g, beta1)
        average(s["exp_avg_sq"], g * g, beta2)
        rate = s.get("lr", lr) * math.sqrt(1 - beta2 ** s["step"]) / (1 - beta1 ** s["step"])
        s["lr"] = rate
        p -= rate * s["exp_avg"] / (np.sqrt(s["exp_avg_sq"]) + eps)

    def set_lr(self, lr):
        super().set_lr(lr)
        for state in self.state:
            state.pop("lr", None)


@mistake("adam", "eps stays 1e-08")
class EpsilonFromAConstant(Optimizer):
    def update(self, p, g, s, *, lr, beta1, beta2, eps=1e-8):
        average(s["exp_avg"], g, beta1)
        average(s["exp_avg_sq"], g * g, beta2)
        denominator = np.sqrt(s["exp_avg_sq"]) / math.sqrt(1 - beta2 ** s["step"]) + 1e-8
        p -= lr / (1 - beta1 ** s["step"]) * s["exp_avg"] / denominator


@mistake("adam", "eps and lr exchanged, also when lr is set", links="offbit/evo-design#3")
class PositionalArguments(Optimizer):
    """Rate and epsilon come in each other's place."""

    def update(self, p, g, s, *, lr, beta1, beta2, eps):
        lr, eps = eps, lr
        average(s["exp_avg"], g, beta1)
        average(s["exp_avg_sq"], g * g, beta2)
        denominator = np.sqrt(s["exp_avg_sq"]) / math.sqrt(1 - beta2 ** s["step"]) + eps
        p -= lr / (1 - beta1 ** s["step"]) * s["exp_avg"] / denominator


@mistake("adam", "g + eps")
class EpsilonOnTheGradient(Optimizer):
    def update(self, p, g, s, *, lr, beta1, beta2, eps):
        average(s["exp_avg"], g, beta1)
        average(s["exp_avg_sq"], (g + eps) * (g + eps), beta2)
        denominator = np.sqrt(s["exp_avg_sq"]) / math.sqrt(1 - beta2 ** s["step"])
        p -= lr / (1 - beta1 ** s["step"]) * s["exp_avg"] / denominator


@mistake(
    "adam",
    "epsilon is added to the reciprocal",
    links="kozistr/pytorch_optimizer#480",
)
class EpsilonAfterTheReciprocal(Optimizer):
    def update(self, p, g, s, *, lr, beta1, beta2, eps):
        average(s["exp_avg"], g, beta1)
        average(s["exp_avg_sq"], g * g, beta2)
        inverse = 1 / (np.sqrt(s["exp_avg_sq"]) / math.sqrt(1 - beta2 ** s["step"])) + eps
        p -= lr / (1 - beta1 ** s["step"]) * s["exp_avg"] * inverse


# AMSGrad


@mistake("amsgrad", "adam where amsgrad belongs", entry=36)
class MaximumIsNotRead(Optimizer):
    zeros = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")

    def update(self, p, g, s, *, lr, beta1, beta2, eps):
        average(s["exp_avg"], g, beta1)
        average(s["exp_avg_sq"], g * g, beta2)
        np.maximum(s["max_exp_avg_sq"], s["exp_avg_sq"], out=s["max_exp_avg_sq"])
        denominator = np.sqrt(s["exp_avg_sq"]) / math.sqrt(1 - beta2 ** s["step"]) + eps
        p -= lr / (1 - beta1 ** s["step"]) * s["exp_avg"] / denominator


@mistake("amsgrad", "return h, m, v, v")
class MaximumOfTwoSteps(Optimizer):
    """The larger of this step's second moment and the last one's."""

    def update(self, p, g, s, *, lr, beta1, beta2, eps):
        before = s["exp_avg_sq"].copy()
        average(s["exp_avg"], g, beta1)
        average(s["exp_avg_sq"], g * g, beta2)
        larger = np.maximum(before, s["exp_avg_sq"])
        denominator = np.sqrt(larger) / math.sqrt(1 - beta2 ** s["step"]) + eps
        p -= lr / (1 - beta1 ** s["step"]) * s["exp_avg"] / denominator


@mistake("amsgrad", "xp.max(", "largest element")
class MaximumOverTheTensor(Optimizer):
    """One maximum for all elements."""

    zeros = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")

    def update(self, p, g, s, *, lr, beta1, beta2, eps):
        average(s["exp_avg"], g, beta1)
        average(s["exp_avg_sq"], g * g, beta2)
        if p.size:
            s["max_exp_avg_sq"][...] = max(s["max_exp_avg_sq"].max(), s["exp_avg_sq"].max())
        denominator = np.sqrt(s["max_exp_avg_sq"]) / math.sqrt(1 - beta2 ** s["step"]) + eps
        p -= lr / (1 - beta1 ** s["step"]) * s["exp_avg"] / denominator


# AdaMax


@mistake("adamax", "root of the correction", links="tensorflow/swift-apis#741")
class StepSizeOfAdam(Optimizer):
    def update(self, p, g, s, *, lr, beta1, beta2, eps):
        average(s["exp_avg"], g, beta1)
        s["exp_avg_sq"] *= beta2
        np.maximum(s["exp_avg_sq"], abs(g) + eps, out=s["exp_avg_sq"])
        step_size = lr * math.sqrt(1 - beta2 ** s["step"]) / (1 - beta1 ** s["step"])
        p -= step_size * s["exp_avg"] / s["exp_avg_sq"]


@mistake("adamax", "m / (1 - beta1) / u", links="tensorflow/tfjs-core#280")
class AdamaxWithoutExponent(Optimizer):
    def update(self, p, g, s, *, lr, beta1, beta2, eps):
        average(s["exp_avg"], g, beta1)
        s["exp_avg_sq"][...] = np.maximum(beta2 * s["exp_avg_sq"], abs(g) + eps)
        p -= lr / (1 - beta1) * s["exp_avg"] / s["exp_avg_sq"]


@mistake("adamax", "xp.maximum(beta2 * u, xp.abs(m) + eps)")
class NormOfTheMoment(Optimizer):
    def update(self, p, g, s, *, lr, beta1, beta2, eps):
        average(s["exp_avg"], g, beta1)
        s["exp_avg_sq"][...] = np.maximum(beta2 * s["exp_avg_sq"], abs(s["exp_avg"]) + eps)
        p -= lr / (1 - beta1 ** s["step"]) * s["exp_avg"] / s["exp_avg_sq"]


@mistake("adamax", "the sum instead of the maximum")
class SumForMaximum(Optimizer):
    def update(self, p, g, s, *, lr, beta1, beta2, eps):
        average(s["exp_avg"], g, beta1)
        s["exp_avg_sq"] *= beta2
        s["exp_avg_sq"] += abs(g) + eps
        p -= lr / (1 - beta1 ** s["step"]) * s["exp_avg"] / s["exp_avg_sq"]


# NAdam


@mistake("nadam_constant_momentum", "step count stays at 1", entry=90, links="FluxML/Flux.jl#789")
class PowersFromTheOptions(Optimizer):
    """The running powers are read from the options, and stay what they are."""

    def update(self, p, g, s, *, lr, beta1, beta2, eps):
        power1, power2 = beta1, beta2
        average(s["exp_avg"], g, beta1)
        average(s["exp_avg_sq"], g * g, beta2)
        ahead = beta1 * s["exp_avg"] / (1 - beta1 * power1) + (1 - beta1) * g / (1 - power1)
        p -= lr * ahead / (np.sqrt(s["exp_avg_sq"] / (1 - power2)) + eps)


@mistake("nadam_constant_momentum", "m", "beta1 * m", links="deeplearning4j/nd4j#1891")
class LookAheadIsKept(Optimizer):
    """The momentum of the look-ahead is multiplied into the moment itself."""

    def update(self, p, g, s, *, lr, beta1, beta2, eps):
        average(s["exp_avg"], g, beta1)
        average(s["exp_avg_sq"], g * g, beta2)
        s["exp_avg"] *= beta1
        ahead = s["exp_avg"] / (1 - beta1 ** (s["step"] + 1))
        ahead = ahead + (1 - beta1) * g / (1 - beta1 ** s["step"])
        p -= lr * ahead / (np.sqrt(s["exp_avg_sq"] / (1 - beta2 ** s["step"])) + eps)


@mistake("nadam", "0.96**t", "0.96**(t + 1)")
class ScheduleWithoutItsRate(Optimizer):
    def update(self, p, g, s, *, lr, beta1, beta2, eps, momentum_decay):
        mu = beta1 * (1 - 0.5 * 0.96 ** s["step"])
        following = beta1 * (1 - 0.5 * 0.96 ** (s["step"] + 1))
        s["product"] = s.get("product", 1.0) * mu
        average(s["exp_avg"], g, beta1)
        average(s["exp_avg_sq"], g * g, beta2)
        denominator = np.sqrt(s["exp_avg_sq"] / (1 - beta2 ** s["step"])) + eps
        p -= lr * (1 - mu) / (1 - s["product"]) * g / denominator
        p -= lr * following / (1 - s["product"] * following) * s["exp_avg"] / denominator


# RAdam


def rectification(t, beta2):
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * t * beta2**t / (1 - beta2**t)
    if length <= 4:
        return None
    ratio = (length - 4) * (length - 2) * longest
    return math.sqrt(ratio / ((longest - 4) * (longest - 2) * length))


@mistake("radam", "multiplied by the step count", links="tensorflow/swift-apis#564")
class StepSizeTimesTheStep(Optimizer):
    def update(self, p, g, s, *, lr, beta1, beta2, eps):
        average(s["exp_avg"], g, beta1)
        average(s["exp_avg_sq"], g * g, beta2)
        step_size = lr * s["step"] / (1 - beta1 ** s["step"])
        r = rectification(s["step"], beta2)
        if r is None:
            p -= step_size * s["exp_avg"]
        else:
            root = np.sqrt(s["exp_avg_sq"] / (1 - beta2 ** s["step"]))
            p -= step_size * r * s["exp_avg"] / (root + eps)


@mistake("radam", "adam where radam belongs")
class NeverTooShort(Optimizer):
    def update(self, p, g, s, *, lr, beta1, beta2, eps):
        average(s["exp_avg"], g, beta1)
        average(s["exp_avg_sq"], g * g, beta2)
        root = np.sqrt(s["exp_avg_sq"] / (1 - beta2 ** s["step"]))
        p -= lr / (1 - beta1 ** s["step"]) * s["exp_avg"] / (root + eps)


@mistake("radam", "rho_inf = 2 / (1 - beta2)\n")
class ShorterAverage(Optimizer):
    """The longest average is taken as that of plain, not of centred, windows."""

    def update(self, p, g, s, *, lr, beta1, beta2, eps):
        t = s["step"]
        average(s["exp_avg"], g, beta1)
        average(s["exp_avg_sq"], g * g, beta2)
        longest = 2 / (1 - beta2)
        length = longest - 2 * t * beta2**t / (1 - beta2**t)
        m_hat = s["exp_avg"] / (1 - beta1**t)
        if length <= 4:
            p -= lr * m_hat
            return
        ratio = (length - 4) * (length - 2) * longest
        r = math.sqrt(ratio / ((longest - 4) * (longest - 2) * length))
        p -= lr * r * m_hat / (np.sqrt(s["exp_avg_sq"] / (1 - beta2**t)) + eps)


# Momentum


@mistake(
    "sgd(dampening=0.0, nesterov=True)",
    "looks ahead in the momentum buffer",
    "always the momentum buffer",
    links="ml-explore/mlx#87",
)
class LookAheadBeforeTheBuffer(Optimizer):
    zeros = ("buffer",)

    def update(self, p, g, s, *, lr, momentum, dampening):
        g = g + momentum * s["buffer"]
        s["buffer"] *= momentum
        s["buffer"] += g
        p -= lr * s["buffer"]


@mistake(
    "sgd(dampening=0.0, nesterov=True)",
    "lr",
    "momentum",
    links="pytorch/pytorch#14465",
    unexplained="the formula is built otherwise, in more than two places",
)
class DifferenceOfVelocities(Optimizer):
    """The step of the lecture notes, with the learning rate left out of one of its terms."""

    zeros = ("buffer",)

    def update(self, p, g, s, *, lr, momentum, dampening):
        before = s["buffer"].copy()
        s["buffer"] *= momentum
        s["buffer"] += g
        p += momentum * (s["buffer"] - before) - lr * s["buffer"]


@mistake("sgd_lr_inside", "lr")
class VelocityTimesTheRate(Optimizer):
    zeros = ("velocity",)

    def update(self, p, g, s, *, lr, momentum):
        s["velocity"] *= momentum
        s["velocity"] += lr * g
        p -= lr * s["velocity"]


@mistake("sgd_lr_inside", "momentum * u", "lr * ", links="BRML/climin#29")
class OldVelocityTimesTheRate(Optimizer):
    zeros = ("velocity",)

    def update(self, p, g, s, *, lr, momentum):
        s["velocity"][...] = lr * momentum * s["velocity"] + lr * g
        p -= s["velocity"]


@mistake("sgd(dampening=0.0)", "momentum of 0", "0.9")
class NoMomentumIsTheDefault(Optimizer):
    """``momentum or 0.9``: zero counts as not given."""

    zeros = ("buffer",)

    def update(self, p, g, s, *, lr, momentum, dampening):
        s["buffer"] *= momentum or 0.9
        s["buffer"] += g
        p -= lr * s["buffer"]


@mistake("sgd", "(1 - dampening)**2 * g")
class DampenedTwice(Optimizer):
    """The buffer is dampened, and so is the step."""

    def update(self, p, g, s, *, lr, momentum, dampening):
        if s["step"] == 1 or not momentum:
            s["buffer"] = g.copy()
        else:
            s["buffer"] *= momentum
            s["buffer"] += (1 - dampening) * (1 - dampening) * g
        p -= lr * s["buffer"]


# Adagrad, Adadelta, RMSprop


@mistake("adagrad", "xp.sum(g**2)")
class OneAccumulatorForATensor(Optimizer):
    def update(self, p, g, s, *, lr, eps, initial_accumulator):
        s["sum"] = s.get("sum", initial_accumulator) + np.sum(g * g)
        p -= lr / (np.sqrt(s["sum"]) + eps) * g


@mistake("adagrad", "initial_accumulator", "s + g**2 + initial_accumulator")
class InitialValueInEveryStep(Optimizer):
    zeros = ("sum",)

    def update(self, p, g, s, *, lr, eps, initial_accumulator):
        s["sum"] += g * g
        s["sum"] += initial_accumulator
        p -= lr * g / (np.sqrt(s["sum"]) + eps)


@mistake("adagrad", "1 / xp.sqrt(s) + eps")
class ReciprocalPlusEpsilon(Optimizer):
    zeros = ("sum",)

    def update(self, p, g, s, *, lr, eps, initial_accumulator):
        if s["step"] == 1:
            s["sum"] += initial_accumulator
        s["sum"] += g * g
        p -= lr * g * (1 / np.sqrt(s["sum"]) + eps)


@mistake("adagrad", "s + g**2", "0.9")
class ForgetsItsSum(Optimizer):
    """The sum decays, as in RMSprop."""

    zeros = ("sum",)

    def update(self, p, g, s, *, lr, eps, initial_accumulator):
        if s["step"] == 1:
            s["sum"] += initial_accumulator
        s["sum"] *= 0.9
        s["sum"] += g * g
        p -= lr * g / (np.sqrt(s["sum"]) + eps)


@mistake("adadelta", "(rho * v + (1 - rho)) * g**2", links="deeplearning4j/nd4j#1239")
class AverageTimesTheSquare(Optimizer):
    zeros = ("square_avg", "acc_delta")

    def update(self, p, g, s, *, lr, rho, eps):
        s["square_avg"] *= rho
        s["square_avg"] += 1 - rho
        s["square_avg"] *= g * g
        delta = np.sqrt(s["acc_delta"] + eps) / np.sqrt(s["square_avg"] + eps) * g
        average(s["acc_delta"], delta * delta, rho)
        p -= lr * delta


@mistake("adadelta", "v = v + (rho * v", links="tensorflow/tensorflow#644")
class AddedToItself(Optimizer):
    """``+=`` where ``=`` belongs."""

    zeros = ("square_avg", "acc_delta")

    def update(self, p, g, s, *, lr, rho, eps):
        s["square_avg"] += rho * s["square_avg"] + (1 - rho) * g * g
        delta = np.sqrt(s["acc_delta"] + eps) / np.sqrt(s["square_avg"] + eps) * g
        average(s["acc_delta"], delta * delta, rho)
        p -= lr * delta


@mistake("adadelta", "v = v + g**2", links="aseveryn/deep-qa#10")
class NothingIsForgotten(Optimizer):
    zeros = ("square_avg", "acc_delta")

    def update(self, p, g, s, *, lr, rho, eps):
        s["square_avg"] += g * g
        delta = np.sqrt(s["acc_delta"] + eps) / np.sqrt(s["square_avg"] + eps) * g
        average(s["acc_delta"], delta * delta, rho)
        p -= lr * delta


@mistake("adadelta", "(1 - rho) * xp.abs(h)")
class StepsNotSquared(Optimizer):
    zeros = ("square_avg", "acc_delta")

    def update(self, p, g, s, *, lr, rho, eps):
        average(s["square_avg"], g * g, rho)
        delta = np.sqrt(s["acc_delta"] + eps) / np.sqrt(s["square_avg"] + eps) * g
        average(s["acc_delta"], abs(delta), rho)
        p -= lr * delta


@mistake("adadelta", "xp.sqrt(u)")
class NeverStarts(Optimizer):
    """Without epsilon above, the first step is zero and so are all others."""

    zeros = ("square_avg", "acc_delta")

    def update(self, p, g, s, *, lr, rho, eps):
        average(s["square_avg"], g * g, rho)
        delta = np.sqrt(s["acc_delta"]) / np.sqrt(s["square_avg"] + eps) * g
        average(s["acc_delta"], delta * delta, rho)
        p -= lr * delta


@mistake("rmsprop", "t == 1", "g**2")
class StartsAtTheFirstSquare(Optimizer):
    zeros = ("square_avg", "buffer")

    def update(self, p, g, s, *, lr, rho, eps, momentum):
        if s["step"] == 1:
            s["square_avg"] += g * g
        else:
            average(s["square_avg"], g * g, rho)
        s["buffer"] *= momentum
        s["buffer"] += g / (np.sqrt(s["square_avg"]) + eps)
        p -= lr * s["buffer"]


@mistake("rmsprop", "epsilon inside the root", "where momentum != 0")
class EpsilonMovesWithMomentum(Optimizer):
    """Two code paths: epsilon is inside the root where there is momentum."""

    zeros = ("square_avg", "buffer")

    def update(self, p, g, s, *, lr, rho, eps, momentum):
        average(s["square_avg"], g * g, rho)
        if momentum:
            s["buffer"] *= momentum
            s["buffer"] += g / np.sqrt(s["square_avg"] + eps)
            p -= lr * s["buffer"]
        else:
            p -= lr * g / (np.sqrt(s["square_avg"]) + eps)


@mistake("rmsprop", "the mean of g**2")
class RootOfTheMean(Optimizer):
    """The average is of the tensor's mean square."""

    zeros = ("square_avg", "buffer")

    def update(self, p, g, s, *, lr, rho, eps, momentum):
        if p.size:
            average(s["square_avg"], np.mean(g * g), rho)
        s["buffer"] *= momentum
        s["buffer"] += g / (np.sqrt(s["square_avg"]) + eps)
        p -= lr * s["buffer"]


@mistake("rmsprop(momentum=0.0)", "a factor instead of a divisor")
class TimesTheRoot(Optimizer):
    zeros = ("square_avg",)

    def update(self, p, g, s, *, lr, rho, eps):
        average(s["square_avg"], g * g, rho)
        p -= lr * g * (np.sqrt(s["square_avg"]) + eps)


# Decay


@mistake(
    "l2(adam)", "the gradient of the call before", links="tracel-ai/burn#614 tracel-ai/burn#656"
)
class DecayOfTheLastGradient(Optimizer):
    """The last gradient stands where the parameter belongs."""

    zeros = ("exp_avg", "exp_avg_sq", "last")

    def update(self, p, g, s, *, lr, beta1, beta2, eps, weight_decay):
        decayed = g + weight_decay * s["last"]
        s["last"][...] = g
        average(s["exp_avg"], decayed, beta1)
        average(s["exp_avg_sq"], decayed * decayed, beta2)
        denominator = np.sqrt(s["exp_avg_sq"]) / math.sqrt(1 - beta2 ** s["step"]) + eps
        p -= lr / (1 - beta1 ** s["step"]) * s["exp_avg"] / denominator


@mistake("l2(sgd(momentum=0.0))", "return weight_decay * theta", links="open-nudge/torchlayers#17")
class DecayReplacesTheGradient(Optimizer):
    def update(self, p, g, s, *, lr, weight_decay):
        p -= lr * (weight_decay * p)


@mistake("l2(nadam)", "g + weight_decay * (theta * g)", links="apache/mxnet#8925")
class GradientTimesTheDecay(Optimizer):
    def update(self, p, g, s, *, lr, beta1, beta2, eps, momentum_decay, weight_decay):
        g = g * (1.0 + weight_decay * p)
        mu = beta1 * (1 - 0.5 * 0.96 ** (s["step"] * momentum_decay))
        following = beta1 * (1 - 0.5 * 0.96 ** ((s["step"] + 1) * momentum_decay))
        s["product"] = s.get("product", 1.0) * mu
        average(s["exp_avg"], g, beta1)
        average(s["exp_avg_sq"], g * g, beta2)
        denominator = np.sqrt(s["exp_avg_sq"] / (1 - beta2 ** s["step"])) + eps
        ahead = following * s["exp_avg"] / (1 - s["product"] * following)
        p -= lr * (ahead + (1 - mu) * g / (1 - s["product"])) / denominator


@mistake("rescale(l2(sgd))", "l2(rescale(sgd))", links="chainer/chainer#7335")
class DecayIsRescaled(Optimizer):
    """The decay is added to the gradient before the loss scale is divided out."""

    def update(self, p, g, s, *, lr, momentum, dampening, weight_decay, scale):
        g = scale * (g + weight_decay * p)
        if s["step"] == 1 or not momentum:
            s["buffer"] = g
        else:
            s["buffer"] = momentum * s["buffer"] + (1 - dampening) * g
        p -= lr * s["buffer"]


@mistake("adamw", "xp.sqrt(v_hat) + eps + ", "weight_decay * theta", links="joennlae/tensorli#1")
class DecayInTheDenominator(Optimizer):
    def update(self, p, g, s, *, lr, beta1, beta2, eps, weight_decay):
        average(s["exp_avg"], g, beta1)
        average(s["exp_avg_sq"], g * g, beta2)
        m_hat = s["exp_avg"] / (1 - beta1 ** s["step"])
        v_hat = s["exp_avg_sq"] / (1 - beta2 ** s["step"])
        p -= lr * m_hat / (np.sqrt(v_hat) + eps + lr * weight_decay * p)


@mistake(
    "adamw",
    "weight_decay stays at the learning rate of the first call",
    links="PaddlePaddle/Paddle#30207",
)
class DecayAtTheFirstRate(Optimizer):
    """A schedule changes the step and not the decay."""

    def update(self, p, g, s, *, lr, beta1, beta2, eps, weight_decay):
        self.__dict__.setdefault("first_rate", lr)
        average(s["exp_avg"], g, beta1)
        average(s["exp_avg_sq"], g * g, beta2)
        p *= 1 - self.first_rate * weight_decay
        denominator = np.sqrt(s["exp_avg_sq"]) / math.sqrt(1 - beta2 ** s["step"]) + eps
        p -= lr / (1 - beta1 ** s["step"]) * s["exp_avg"] / denominator


@mistake("l2(adam)", "m = beta1 * m", "weight_decay * theta", "alone, not by l2")
class DecayInTheFirstMomentAlone(Optimizer):
    def update(self, p, g, s, *, lr, beta1, beta2, eps, weight_decay):
        average(s["exp_avg"], g + weight_decay * p, beta1)
        average(s["exp_avg_sq"], g * g, beta2)
        denominator = np.sqrt(s["exp_avg_sq"]) / math.sqrt(1 - beta2 ** s["step"]) + eps
        p -= lr / (1 - beta1 ** s["step"]) * s["exp_avg"] / denominator


@mistake("l2(sgd)", "without l2, but only where momentum is zero", links="ml-explore/mlx#440")
class NoDecayWithoutMomentum(Optimizer):
    """Returns before the decay where there is no momentum."""

    def update(self, p, g, s, *, lr, momentum, dampening, weight_decay):
        if momentum <= 0:
            p -= lr * g
            return
        g = g + weight_decay * p
        if s["step"] == 1:
            s["buffer"] = g
        else:
            s["buffer"] = momentum * s["buffer"] + (1 - dampening) * g
        p -= lr * s["buffer"]


@mistake("adamw", "weight_decay", "0.01")
class NoDecayIsTheDefault(Optimizer):
    """``weight_decay or 0.01``: zero counts as not given."""

    def update(self, p, g, s, *, lr, beta1, beta2, eps, weight_decay):
        average(s["exp_avg"], g, beta1)
        average(s["exp_avg_sq"], g * g, beta2)
        p *= 1 - lr * (weight_decay or 0.01)
        denominator = np.sqrt(s["exp_avg_sq"]) / math.sqrt(1 - beta2 ** s["step"]) + eps
        p -= lr / (1 - beta1 ** s["step"]) * s["exp_avg"] / denominator


@mistake("adamw", "theta", "norm")
class DecayOfTheUnitVector(Optimizer):
    """The decay has the direction of the parameter and a size of its own."""

    def update(self, p, g, s, *, lr, beta1, beta2, eps, weight_decay):
        average(s["exp_avg"], g, beta1)
        average(s["exp_avg_sq"], g * g, beta2)
        norm = np.sqrt(np.sum(p * p))
        if norm > 0:
            p -= lr * weight_decay * p / norm
        denominator = np.sqrt(s["exp_avg_sq"]) / math.sqrt(1 - beta2 ** s["step"]) + eps
        p -= lr / (1 - beta1 ** s["step"]) * s["exp_avg"] / denominator


# Lion


@mistake("lion", "sign")
class SignOfZeroIsOne(Optimizer):
    """``copysign`` knows no zero."""

    zeros = ("exp_avg",)

    def update(self, p, g, s, *, lr, beta1, beta2, weight_decay):
        c = beta1 * s["exp_avg"] + (1 - beta1) * g
        p *= 1 - lr * weight_decay
        p -= np.copysign(p.dtype.type(lr), c)
        average(s["exp_avg"], g, beta2)


@mistake("lion", "m = beta2 * m + (1 - beta1) * g")
class RatesOfLionMixed(Optimizer):
    zeros = ("exp_avg",)

    def update(self, p, g, s, *, lr, beta1, beta2, weight_decay):
        c = beta1 * s["exp_avg"] + (1 - beta1) * g
        p *= 1 - lr * weight_decay
        p -= lr * np.sign(c)
        s["exp_avg"] *= beta2
        s["exp_avg"] += (1 - beta1) * g


@mistake("lion", "m = beta2 * h + (1 - beta2) * g", "of lion")
class SignIsKeptInTheBuffer(Optimizer):
    """The sign is taken in place, and the buffer of the next step starts from it."""

    zeros = ("exp_avg",)

    def update(self, p, g, s, *, lr, beta1, beta2, weight_decay):
        c = s["exp_avg"]
        c *= beta1
        c += (1 - beta1) * g
        np.sign(c, out=c)
        p -= lr * (c + weight_decay * p)
        s["exp_avg"] *= beta2
        s["exp_avg"] += (1 - beta2) * g


# LAMB and LARS


def norm(x):
    return float(np.linalg.norm(np.ravel(x)))


def adam(s, g, beta1, beta2, eps):
    average(s["exp_avg"], g, beta1)
    average(s["exp_avg_sq"], g * g, beta2)
    root = np.sqrt(s["exp_avg_sq"] / (1 - beta2 ** s["step"]))
    return s["exp_avg"] / (1 - beta1 ** s["step"]) / (root + eps)


@mistake("lamb", "l2 where weight_decay belongs", links="cybertronai/pytorch-lamb#3")
class LambWithL2(Optimizer):
    def update(self, p, g, s, *, lr, beta1, beta2, eps, weight_decay):
        h = adam(s, g + weight_decay * p, beta1, beta2, eps)
        ratio = norm(p) / norm(h) if norm(p) > 0 and norm(h) > 0 else 1.0
        p -= lr * ratio * h


@mistake("lamb", "norm_theta / norm_h", "10")
class RatioAtMostTen(Optimizer):
    def update(self, p, g, s, *, lr, beta1, beta2, eps, weight_decay):
        h = adam(s, g, beta1, beta2, eps) + weight_decay * p
        ratio = norm(p) / norm(h) if norm(p) > 0 and norm(h) > 0 else 1.0
        p -= lr * min(max(ratio, 0.01), 10.0) * h


@mistake("lamb", "correct", "layer_adaptation")
class CorrectionOutsideTheNorm(Optimizer):
    """The bias correction sits in the step size, and the norm does not see it."""

    def update(self, p, g, s, *, lr, beta1, beta2, eps, weight_decay):
        average(s["exp_avg"], g, beta1)
        average(s["exp_avg_sq"], g * g, beta2)
        h = s["exp_avg"] / (np.sqrt(s["exp_avg_sq"]) + eps) + weight_decay * p
        ratio = norm(p) / norm(h) if norm(p) > 0 and norm(h) > 0 else 1.0
        step_size = lr * math.sqrt(1 - beta2 ** s["step"]) / (1 - beta1 ** s["step"])
        p -= step_size * ratio * h


@mistake("lamb", "norm_h", "eps")
class EpsilonInTheRatio(Optimizer):
    def update(self, p, g, s, *, lr, beta1, beta2, eps, weight_decay):
        h = adam(s, g, beta1, beta2, eps) + weight_decay * p
        ratio = norm(p) / (norm(h) + eps) if norm(p) > 0 and norm(h) > 0 else 1.0
        p -= lr * ratio * h


@mistake("lars", "lars as timm has it", entry=100)
class RateOutsideTheBuffer(Optimizer):
    zeros = ("buffer",)

    def update(self, p, g, s, *, lr, momentum, eta, weight_decay, eps):
        below = norm(g) + weight_decay * norm(p) + eps
        local = eta * norm(p) / below if norm(p) > 0 and norm(g) > 0 else 1.0
        s["buffer"] *= momentum
        s["buffer"] += local * (g + weight_decay * p)
        p -= lr * s["buffer"]


@mistake("lars", "the ratio, computed from the gradient, scales the direction", entry=100)
class RatioOutsideTheBuffer(Optimizer):
    zeros = ("buffer",)

    def update(self, p, g, s, *, lr, momentum, eta, weight_decay, eps):
        below = norm(g) + weight_decay * norm(p) + eps
        local = eta * norm(p) / below if norm(p) > 0 and norm(g) > 0 else 1.0
        s["buffer"] *= momentum
        s["buffer"] += lr * (g + weight_decay * p)
        p -= local * s["buffer"]


@mistake("lars", "ratio * g + weight_decay * theta")
class DecayOutsideTheLocalRate(Optimizer):
    zeros = ("buffer",)

    def update(self, p, g, s, *, lr, momentum, eta, weight_decay, eps):
        below = norm(g) + weight_decay * norm(p) + eps
        local = eta * norm(p) / below if norm(p) > 0 and norm(g) > 0 else 1.0
        s["buffer"] *= momentum
        s["buffer"] += lr * (local * g + weight_decay * p)
        p -= s["buffer"]


@mistake("lars", "the root of a sum of squares")
class NormsUnderOneRoot(Optimizer):
    zeros = ("buffer",)

    def update(self, p, g, s, *, lr, momentum, eta, weight_decay, eps):
        below = math.sqrt(norm(g) ** 2 + weight_decay * norm(p) ** 2) + eps
        local = eta * norm(p) / below if norm(p) > 0 and norm(g) > 0 else 1.0
        s["buffer"] *= momentum
        s["buffer"] += lr * local * (g + weight_decay * p)
        p -= s["buffer"]
