"""What is asked of every module: clear_cache, and no Python loop over samples. Departures, both."""

from grading.interface import Malformed
from grading.remote import Failed
from grading.telling import attempt


def cache(context, part, cls, make, x, dout):
    """clear_cache is there, runs, and forgets: departures where not. Returns nothing."""
    try:
        thing = make()
        if not thing.has('clear_cache'):
            return context.departs(part, f'{cls} has no clear_cache.', cause='clear_cache')
        if context.modules.is_empty(cls, 'clear_cache'):
            return context.departs(part, f'clear_cache of {cls} is a stub.', cause='clear_cache')
        thing.array('forward', x)
        try:
            thing.call('clear_cache')
        except Failed as failed:
            return context.departs(part, f'clear_cache of {cls} raises {failed}.', cause='clear_cache',
                                   place=failed.place)
        again = attempt(lambda: thing.array('forward', x))
        if isinstance(again, Exception):
            return context.wrong(part, f'After clear_cache of {cls} forward can not be computed: {again}. It clears '
                                       'more than the cache.', cause='clear_cache', place=getattr(again, 'place', ''))
        thing.call('clear_cache')
        result = attempt(lambda: thing.array('backward', dout))
        if not isinstance(result, Exception):
            context.departs(part, f'clear_cache of {cls} does not forget the forward pass: backward still works.',
                            cause='clear_cache')
    except (Failed, Malformed):
        pass  # told where forward is judged


def loops(context, part, cls, methods):
    """A Python loop in forward or backward costs points in the assignment."""
    for method in methods:
        line = context.modules.loop(cls, method)
        if line:
            context.departs(part, f'{cls}.{method} has a Python loop, over samples or units by the look of it: '
                                  f'{context.modules.line(line)}', cause='loop', place=f'modules.py, line {line}')
