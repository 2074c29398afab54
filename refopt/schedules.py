"""Schedules: the factor by which the learning rate of the 1-based step ``t`` is multiplied.

Most sources count steps from 0: their index of the first step is ``t - 1``. Each function reads
what its source reads, so the first factor is that of index 0, unless its name or docstring says
otherwise.
"""


def constant(xp, t, *, factor=1.0):
    """The same factor at every step."""
    return factor


def warmup(xp, t, *, warmup_steps):
    """Linear warmup: 1/warmup_steps at the first step, 1 from step warmup_steps on."""
    return xp.minimum(1, t / warmup_steps)


def warmup_zero_based(xp, t, *, warmup_steps):
    """Linear warmup at the 0-based step: the first factor is 0."""
    return xp.minimum(1, (t - 1) / warmup_steps)


def exponential(xp, t, *, decay_rate, decay_steps=1):
    """Exponential decay by decay_rate in every decay_steps steps, smoothly."""
    return decay_rate ** ((t - 1) / decay_steps)


def step_decay(xp, t, *, decay_steps, decay_rate=0.1):
    """Decay by decay_rate once every decay_steps steps."""
    return decay_rate ** ((t - 1) // decay_steps)


def cosine(xp, t, *, decay_steps, end_factor=0.0):
    """Half a cosine from 1 to end_factor, which stays. Loshchilov & Hutter, arXiv:1608.03983."""
    fraction = xp.minimum(1, (t - 1) / decay_steps)
    return _cosine(xp, 1, end_factor, fraction)


def cosine_periodic(xp, t, *, decay_steps, end_factor=0.0):
    """A cosine of period 2*decay_steps: after the end it rises again."""
    return _cosine(xp, 1, end_factor, (t - 1) / decay_steps)


def cosine_restarts(xp, t, *, decay_steps, end_factor=0.0):
    """SGDR with cycles of equal length. Loshchilov & Hutter, arXiv:1608.03983, equation 5."""
    return _cosine(xp, 1, end_factor, (t - 1) % decay_steps / decay_steps)


def cosine_growing_restarts(xp, t, *, decay_steps, t_mult=2, end_factor=0.0):
    """SGDR with cycles that are each t_mult times as long as the one before."""
    n = t - 1
    cycle = xp.floor_log(1 + n * (t_mult - 1) / decay_steps, t_mult)
    start = decay_steps * (t_mult**cycle - 1) / (t_mult - 1)
    length = decay_steps * t_mult**cycle
    return _cosine(xp, 1, end_factor, (n - start) / length)


def polynomial(xp, t, *, decay_steps, power=1.0, end_factor=0.0):
    """Polynomial decay from 1 to end_factor, which stays."""
    fraction = xp.minimum(1, (t - 1) / decay_steps)
    return end_factor + (1 - end_factor) * (1 - fraction) ** power


def one_cycle(xp, t, *, total_steps, pct_start=0.3, div_factor=25.0, final_div_factor=1e4):
    """One cycle in two cosine phases: up to 1 within pct_start of the steps, then down."""
    n = t - 1
    start = 1 / div_factor
    end = start / final_div_factor
    peak = pct_start * total_steps - 1
    up = n / xp.maximum(1, peak)
    down = xp.minimum(1, (n - peak) / (total_steps - 1 - peak))
    return xp.where(n <= peak, _cosine(xp, start, 1, up), _cosine(xp, 1, end, down))


def one_cycle_linear(xp, t, *, total_steps, pct_start=0.3, div_factor=25.0, final_div_factor=1e4):
    """One cycle in two linear phases."""
    n = t - 1
    start = 1 / div_factor
    end = start / final_div_factor
    peak = pct_start * total_steps - 1
    up = n / xp.maximum(1, peak)
    down = xp.minimum(1, (n - peak) / (total_steps - 1 - peak))
    return xp.where(n <= peak, _line(start, 1, up), _line(1, end, down))


def one_cycle_three_phase(
    xp, t, *, total_steps, pct_start=0.3, div_factor=25.0, final_div_factor=1e4
):
    """One cycle as in the paper, linear: up, down as fast, then far below the start.

    Smith & Topin, arXiv:1708.07120, section 3. The first two phases take pct_start of the steps
    each, which must be more than one step and less than half of them.
    """
    n = t - 1
    start = 1 / div_factor
    end = start / final_div_factor
    peak = pct_start * total_steps - 1
    back = 2 * peak
    up = n / peak
    down = (n - peak) / peak
    out = xp.minimum(1, (n - back) / (total_steps - 1 - back))
    later = xp.where(n <= back, _line(1, start, down), _line(start, end, out))
    return xp.where(n <= peak, _line(start, 1, up), later)


def inverse_sqrt(xp, t, *, warmup_steps=4000):
    """Linear warmup, then 1/sqrt(t). Vaswani et al., arXiv:1706.03762, equation 3.

    Their learning rate is d_model**-0.5; the largest factor is warmup_steps**-0.5.
    """
    return xp.minimum(1 / xp.sqrt(t), t / (warmup_steps * xp.sqrt(warmup_steps)))


def inverse_time(xp, t, *, decay=0.0):
    """Decay with the inverse of the number of steps."""
    return 1 / (1 + (t - 1) * decay)


def piecewise_linear(xp, t, *, schedule):
    """Linear between knots {step: factor} from an implicit {0: 0}, constant after the last."""
    return _interpolated(xp, t, schedule)


def piecewise_linear_zero_based(xp, t, *, schedule):
    """Piecewise linear at the 0-based step: the first factor is 0 unless there is a knot at 0."""
    return _interpolated(xp, t - 1, schedule)


def _line(start, end, fraction):
    return start + (end - start) * fraction


def _cosine(xp, start, end, fraction):
    return end + (start - end) * (1 + xp.cos(xp.pi * fraction)) / 2


def _interpolated(xp, step, schedule):
    knots = sorted({0: 0.0, **schedule}.items())
    factor = knots[-1][1]
    for i in reversed(range(len(knots) - 1)):
        (left, low), (right, high) = knots[i : i + 2]
        factor = xp.where(step < right, _line(low, high, (step - left) / (right - left)), factor)
    return factor
