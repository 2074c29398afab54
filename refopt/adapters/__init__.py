"""What lets refopt step a target: plain Python, and the optimizers of frameworks.

An adapter knows how a kind of target is started and stepped, and nothing about optimizers: which
of a framework's arguments take which canonical hyperparameter comes from the specification.

**An adapter in 15 lines.** What no framework here knows is adapted by a plain target: a class that
takes NumPy arrays and the hyperparameters under their canonical names, those of ``refopt show``.
Say that this is to be checked:

>>> class Momentum:
...     def __init__(self, arrays, rate, decay):
...         self.arrays, self.rate, self.decay = arrays, rate, decay
...         self.velocity = [0 * array for array in arrays]
...
...     def apply(self, i, gradient):
...         self.velocity[i] = self.decay * self.velocity[i] + gradient
...         self.arrays[i] -= self.rate * self.velocity[i]

Then this is its adapter. A gradient of None means that the parameter has none in this step. The
last three methods are optional: without them nothing is checked that needs them.

>>> import copy
>>> class Adapted:
...     def __init__(self, params, lr, momentum):
...         self.optimizer = Momentum(params, rate=lr, decay=momentum)
...
...     def step(self, grads):
...         for i, g in enumerate(grads):
...             if g is not None:
...                 self.optimizer.apply(i, g)
...         return self.optimizer.arrays
...
...     def set_lr(self, lr):
...         self.optimizer.rate = lr
...
...     def state_dict(self):
...         return copy.deepcopy(self.optimizer.velocity)
...
...     def load_state_dict(self, state):
...         self.optimizer.velocity = copy.deepcopy(state)

>>> import refopt
>>> refopt.check(Adapted, "sgd(dampening=0.0)").conforms
True
>>> refopt.check(Adapted, "sgd(dampening=0.0, nesterov=True)").conforms
False

In a file it is checked by ``refopt check adapted.py:Adapted --spec "sgd(dampening=0.0)"``.

**A framework** gets a module here, as short as ``torch.py``: a subclass of
:class:`~refopt.adapters.adapter.Adapter` whose ``start`` returns such an object, one line in
``adapt.py`` that says where the framework's optimizers are defined, and in ``spec/`` the targets
and argument names of its dialects.
"""
