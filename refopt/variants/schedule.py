"""Schedules of the learning rate: each scales that of everything inside it."""

from refopt import schedules
from refopt.layers import OnLearningRate
from refopt.optimizer import variant

constant = variant(OnLearningRate)(schedules.constant)
warmup = variant(OnLearningRate)(schedules.warmup)
warmup_zero_based = variant(OnLearningRate)(schedules.warmup_zero_based)
exponential = variant(OnLearningRate)(schedules.exponential)
step_decay = variant(OnLearningRate)(schedules.step_decay)
cosine = variant(OnLearningRate)(schedules.cosine)
cosine_periodic = variant(OnLearningRate)(schedules.cosine_periodic)
cosine_restarts = variant(OnLearningRate)(schedules.cosine_restarts)
cosine_growing_restarts = variant(OnLearningRate)(schedules.cosine_growing_restarts)
polynomial = variant(OnLearningRate)(schedules.polynomial)
one_cycle = variant(OnLearningRate)(schedules.one_cycle)
one_cycle_linear = variant(OnLearningRate)(schedules.one_cycle_linear)
one_cycle_three_phase = variant(OnLearningRate)(schedules.one_cycle_three_phase)
inverse_sqrt = variant(OnLearningRate)(schedules.inverse_sqrt)
inverse_time = variant(OnLearningRate)(schedules.inverse_time)
piecewise_linear = variant(OnLearningRate)(schedules.piecewise_linear)
piecewise_linear_zero_based = variant(OnLearningRate)(schedules.piecewise_linear_zero_based)
