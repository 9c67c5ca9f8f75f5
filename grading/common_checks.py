"""Checks of every module: clear_cache, nothing shared by two objects, and no Python loop over samples."""

import numpy as np

from grading.causes import close
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
        first = thing.array('forward', x)
        try:
            thing.call('clear_cache')
        except SolutionError as failed:
            return context.deviates(part, f'clear_cache of {cls} raises {failed}.', cause='clear_cache',
                                    place=failed.place)
        again = attempt(lambda: thing.array('forward', x))
        if isinstance(again, Exception):
            return context.incorrect(part, f'After clear_cache of {cls} forward cannot be computed: {again}. It clears '
                                           'more than the cache.', cause='clear_cache', place=again.place)
        if not context.errors(part) and not close(again, first):
            return context.incorrect(part, f'After clear_cache of {cls} forward gives something else for the same input. It '
                                           'clears more than the cache.', cause='clear_cache',
                                     place=context.modules.place(cls, 'clear_cache', r'params|='))
        thing.call('clear_cache')
        result = attempt(lambda: thing.array('backward', dout))
        if isinstance(result, Exception):
            context.forgets.add(cls)
        elif _needs_forward(make, x, dout):
            context.deviates(part, f'clear_cache of {cls} does not forget the forward pass: backward still works.',
                             cause='clear_cache')
    except (SolutionError, Malformed):
        pass  # reported with forward


def nothing_shared(context, part, cls, make, x, dout):
    """Do two objects, used in turn as in an MLP, give what each gives alone? Does one in its second step what it did before?

    make: called with a number for its parameters.
    """
    if context.errors(part):
        return

    def second_step():
        thing = make(1)
        for factor in (-3, 1):
            thing.array('forward', factor * x)
            result = thing.array('backward', dout)
        return result

    def results(in_turn):
        one, other = make(1), make(2) if in_turn else None
        answers = []
        for method, of_one, of_other in (('forward', x, 1 - x), ('backward', dout, dout)):
            answers.append(one.array(method, of_one))
            if other:
                other.array(method, of_other)
        return [*answers, *(one.gradient(name) for name in getattr(one, 'keys', ())), one.array('forward', x)]

    expected, got = (attempt(lambda in_turn=in_turn: results(in_turn)) for in_turn in (False, True))
    if isinstance(expected, Exception):
        return
    again = attempt(second_step)
    if isinstance(again, Exception) or not close(again, expected[1]):
        context.incorrect(part, f'In a second step, with another batch, backward of {cls} gives something else than in a first '
                                f'one{f" ({again})" if isinstance(again, Exception) else ""}.', cause='second step',
                          place=context.modules.place(cls, 'backward', r'\[0\]|return'),
                          hint='backward uses the input of the last forward')
        return context.blame(cls)
    failed = isinstance(got, Exception)
    if not failed and all(map(close, got, expected)):
        return
    wrong = 1 if failed else next(number for number, pair in enumerate(zip(got, expected)) if not close(*pair))
    where = {0: ('__init__', r'params|='), 1: ('forward', rf'\b({cls}|cls|__class__)\.|=')}
    context.incorrect(part, f'Two objects of {cls} disturb each other: what one stores, the other reads'
                            f'{f" ({got})" * failed}. In an MLP there are several.',
                      cause='shared state', place=context.modules.place(cls, *where.get(wrong, ('__init__', 'grads'))),
                      hint='each object needs its own: self.x = …, made anew for it; an attribute of the class, or a global '
                           'name, is the same for all')
    context.blame(cls)


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
            context.deviates(part, f'{cls}.{method} has a Python loop, probably over samples or units (“{line}”).',
                             cause='loop', place=place)
