"""The questions of the grader: make objects of the solution, call them, look into them."""

import collections
import importlib
import inspect
import os
import re
import random
import sys
import traceback
import types
import warnings

import numpy as np

from . import training
from .imports import NOT_HERE, Absent, missing_here, own_file, starred
from .messages import Ref, pack, read


class Operations:
    """The requests to a solution: each method is one request, with the arguments of the message."""

    def __init__(self, folder):
        self.folder, self.objects = folder, []
        self.results = {}  # (object, method) → the last array that it returned, and a copy

    def keep(self, value):
        """Keep an object here → its Ref."""
        self.objects.append(value)
        return Ref(len(self.objects) - 1, type(value).__name__)

    def import_module(self, name):
        """Import a file of the solution."""
        importlib.import_module(name)

    def seed(self, number):
        """Seed NumPy, Python's random, and PyTorch if it is loaded."""
        np.random.seed(number)
        random.seed(number)
        seed = getattr(sys.modules.get('torch'), 'manual_seed', None)
        if inspect.isfunction(seed):  # and no class that stands in for it
            seed(number)

    def signature(self, module, name):
        """The parameters of a class or function: [name, kind, has a default] each."""
        parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters.values()
        return [[parameter.name, parameter.kind.name, parameter.default is not parameter.empty]
                for parameter in parameters]

    def classes(self, module):
        """The classes of a module in the solution's own files: [name, its methods, its bases, its file] each."""
        found = []
        for name, cls in list(vars(importlib.import_module(module)).items()):
            file = inspect.isclass(cls) and self._file_of(cls)
            if file:
                methods = [method for method in dir(cls) if callable(getattr(cls, method, None))
                           and not method.startswith('__')]
                found.append([name, methods, [base.__name__ for base in cls.__mro__[1:-1]], file])
        return found

    def missing(self, module):
        """{name: where it was imported from} of the placeholders in a module; '*' for an import * of a missing module."""
        found = {name: value._absent for name, value in vars(importlib.import_module(module)).items()
                 if isinstance(value, Absent) and '_absent' in vars(value)}
        return {**found, **{'*': name for name in starred()}}

    def _file_of(self, cls):
        return own_file(getattr(sys.modules.get(cls.__module__), '__file__', None) or '', self.folder)

    def new(self, module, name, args, kwargs=None):
        """Make an object → its number, and whether the arguments were changed."""
        before = _copies(args)
        made = getattr(importlib.import_module(module), name)(*args, **(kwargs or {}))
        return {'made': self.keep(made), 'changed': _changed(before, args)}

    def call(self, target, method, args, kwargs=None):
        """Call a method → its value, and its changes of arguments and earlier results."""
        before = _copies(args)
        value = getattr(target, method)(*args, **(kwargs or {}))
        facts = {
            'value': value,
            'changed': _changed(before, args),
            'shares': [index for index, arg in enumerate(args) if isinstance(arg, np.ndarray)
                       and isinstance(value, np.ndarray) and np.shares_memory(arg, value)],
        }
        if isinstance(value, np.ndarray):
            last, copy = self.results.get((id(target), method), (None, None))
            facts['overwrote'] = last is not None and (np.shares_memory(last, value) or _differ(last, copy))
            self.results[id(target), method] = value, value.copy()
        return facts

    def repeat(self, times, calls):
        """Repeat a list of calls, [object, method, arguments] each, as in training."""
        for _ in range(times):
            for thing, method, args in calls:
                getattr(thing, method)(*args)

    def function(self, module, name, args, kwargs=None):
        """Call a function of a module."""
        return getattr(importlib.import_module(module), name)(*args, **(kwargs or {}))

    def get(self, target, path):
        """The value at target.path[0] …: names are attributes, lists of one are keys."""
        for step in path:
            target = target[step[0]] if isinstance(step, list) else getattr(target, step)
        return target

    def set(self, target, path, value):
        """Set an array: in place if its shape and type allow it."""
        *front, last = path
        holder = self.get(target, front)
        old = holder[last[0]] if isinstance(last, list) else getattr(holder, last)
        if isinstance(old, np.ndarray) and old.shape == value.shape and old.dtype == value.dtype \
                and old.flags.writeable:
            old[...] = value
        elif isinstance(last, list):
            holder[last[0]] = value
        else:
            setattr(holder, last, value)

    def has(self, target, name):
        return callable(getattr(target, name, None))

    def find(self, target, module, classes):
        """The instances of a module's classes that can be reached from target, each once, in order.

        → [reference, name of the class] each.
        """
        wanted = {name: getattr(importlib.import_module(module), name) for name in classes}
        found = []
        reach(target, tuple(wanted.values()), set(), found)
        answer = []
        for instance in found:
            fits = [name for name, cls in wanted.items() if isinstance(instance, cls)]
            exact = [name for name in fits if type(instance) is wanted[name]]
            answer.append([self.keep(instance), (exact or fits)[0]])
        return answer

    def sizes(self, module, name, args, kwargs, linear):
        """Make an object while the class `linear` of its module only notes its arguments → these."""
        loaded, noted = importlib.import_module(module), []
        owners = [space for space in [loaded, *vars(loaded).values()]
                  if isinstance(space, types.ModuleType) and inspect.isclass(getattr(space, linear, None))]

        class Note:
            def __init__(self, *args, **kwargs):
                noted.append([value for value in [*args, *kwargs.values()] if isinstance(value, (int, np.integer))
                              and not isinstance(value, bool)][:2])

        originals = [getattr(space, linear) for space in owners]
        for space in owners:
            setattr(space, linear, Note)
        try:
            getattr(loaded, name)(*args, **(kwargs or {}))
        finally:
            for space, original in zip(owners, originals):
                setattr(space, linear, original)
        return [[int(value) for value in sizes] for sizes in noted]


def _copies(args):
    return [arg.copy() if isinstance(arg, (np.ndarray, list)) else arg for arg in args]


def _changed(before, args):
    return [index for index, (old, new) in enumerate(zip(before, args)) if _differ(old, new)]


def _differ(old, new):
    if isinstance(old, np.ndarray):
        return old.shape != new.shape or not np.array_equal(old, new, equal_nan=old.dtype.kind == 'f')
    return type(old) is list and old != new


def reach(value, wanted, seen, found):
    if isinstance(value, np.ndarray) and value.dtype == object:
        value = value.tolist()
    if id(value) in seen or isinstance(value, (np.ndarray, np.generic, str, bytes, int, float, type(None), type)):
        return
    seen.add(id(value))
    if isinstance(value, wanted):
        found.append(value)
    if isinstance(value, dict):
        children = list(value.values())
    elif isinstance(value, (list, tuple, collections.deque)):
        children = value
    elif isinstance(value, (types.ModuleType, types.FunctionType, types.BuiltinFunctionType)):
        return
    else:
        own = list(map(vars, type(value).__mro__))
        slots = [getattr(value, name, None) for space in own for name, item in space.items()
                 if isinstance(item, types.MemberDescriptorType)]
        children = [*getattr(value, '__dict__', {}).values(), *slots,  # and lists of the class, that all objects share
                    *(item for space in own for item in space.values() if isinstance(item, (list, dict, wanted)))]
    for child in children:
        reach(child, wanted, seen, found)


def describe(error, folder):
    """An exception as its type, its message and its places in the solution, outermost first."""
    passed = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        passed.append((error.filename, error.lineno))
    places = [[name, line] for path, line in passed if (name := own_file(path, folder))]
    if missing := missing_here(error):
        error = ImportError(f'{error}; perhaps it is in {missing}, which {NOT_HERE}')
    message, front = str(error), os.path.join(folder, '')
    for own in (front, front.replace('\\', r'\\')):  # the second in the repr of a path of Windows
        message = message.replace(own, '')
    message = re.sub(' at 0x[0-9a-fA-F]+| Hint: enable anomaly detection.*', '', message)  # the first is another one in each run
    return {'type': type(error).__name__, 'message': message[:500], 'places': places[-5:]}


def answer(operations, requests, replies):
    """Answer until the grader closes the pipe."""
    while request := read(requests, lambda ref: operations.objects[ref.number]):
        try:
            np.seterr(all='ignore')  # whatever an import of the solution has set
            warnings.simplefilter('ignore')
            name = request.pop('op')
            if hasattr(training, name):
                value = getattr(training, name)(*request['args'])
            else:
                value = getattr(operations, name)(**request)
            reply = pack({'value': value}, operations.keep)
        except BaseException as error:  # any exception of the solution, even SystemExit, is its answer
            reply = pack({'error': describe(error, operations.folder)}, operations.keep)
        try:
            sys.stdout.flush()
        except Exception:  # the solution has put something else there
            pass
        replies.write(reply)
        replies.flush()
