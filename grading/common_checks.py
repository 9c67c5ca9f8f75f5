"""Checks of every module: clear_cache, and no Python loop over samples. Their findings are deviations."""

import numpy as np

from grading.diagnosis import attempt
from grading.interface import Malformed
from grading.remote import SolutionError


def cache(context, part, cls, make, x, dout):
    """clear_cache is there, runs, and forgets: deviations if not, in the editions that ask for it."""
    if not context.asks_for_clear_cache:
        return
    try:
        thing = make()
        if not thing.has('clear_cache'):
            return context.deviates(part, f'{cls} has no clear_cache.', cause='clear_cache')
        if context.modules.is_empty(cls, 'clear_cache'):
            return context.deviates(part, f'clear_cache of {cls} is not implemented.', cause='clear_cache')
        thing.array('forward', x)
        try:
            thing.call('clear_cache')
        except SolutionError as failed:
            return context.deviates(part, f'clear_cache of {cls} raises {failed}.', cause='clear_cache',
                                    place=failed.place)
        again = attempt(lambda: thing.array('forward', x))
        if isinstance(again, Exception):
            return context.incorrect(part, f'After clear_cache of {cls} forward cannot be computed: {again}. It clears '
                                           'more than the cache.', cause='clear_cache', place=again.place)
        thing.call('clear_cache')
        result = attempt(lambda: thing.array('backward', dout))
        if isinstance(result, Exception):
            context.forgets.add(cls)
        elif _needs_forward(make, x, dout):
            context.deviates(part, f'clear_cache of {cls} does not forget the forward pass: backward still works.',
                             cause='clear_cache')
    except (SolutionError, Malformed):
        pass  # reported with forward


def _needs_forward(make, x, dout):
    """Does the result of backward depend on the input of forward? If not, there is nothing to clear."""
    results = []
    for factor in (1, -3):
        thing = make()
        thing.array('forward', factor * x)
        results.append(thing.array('backward', dout))
        results += [thing.gradient('weight')] if hasattr(thing, 'gradient') else []
    half = len(results) // 2
    return not all(map(np.array_equal, results[:half], results[half:]))


def loops(context, part, cls, methods):
    """A Python loop in forward or backward, or in a function of the file that they call, costs points in the assignment."""
    for method in methods:
        place, line = context.modules.loop(cls, method)
        if line:
            context.deviates(part, f'{cls}.{method} runs a Python loop, over samples or units apparently: {line}',
                             cause='loop', place=place)
