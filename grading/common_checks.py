"""What is asked of every module: clear_cache, and no Python loop over samples. Both are deviations."""

from grading.findings import Place
from grading.interface import Malformed
from grading.remote import SolutionError
from grading.telling import attempt


def cache(context, part, cls, make, x, dout):
    """clear_cache is there, runs, and forgets: deviations if not."""
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
        if not isinstance(result, Exception):
            context.deviates(part, f'clear_cache of {cls} does not forget the forward pass: backward still works.',
                             cause='clear_cache')
    except (SolutionError, Malformed):
        pass  # told where forward is judged


def loops(context, part, cls, methods):
    """A Python loop in forward or backward costs points in the assignment."""
    for method in methods:
        line = context.modules.loop(cls, method)
        if line:
            context.deviates(part, f'{cls}.{method} has a Python loop, over samples or units apparently: '
                                   f'{context.modules.line(line)}', cause='loop', place=Place('modules.py', line))
