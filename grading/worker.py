"""The process that holds somebody else's solution: it makes objects, calls methods, and gives arrays back.

It is told what to do over pipes, computes nothing of its own, and knows neither what should come out nor where
the report lies. The judge (remote.py) starts it as a server, `python worker.py FD`, that has imported NumPy, and
PyTorch once a solution needs it; for each solution the server forks a process that speaks the protocol below.
Needs the standard library and NumPy only, and nothing of this project but worker_training.py beside it.

A message, in both directions, is an eight-byte length, that many bytes of JSON, and the bytes of its arrays in the
order in which the JSON names them: {"array": [dtype, shape]}. {"object": n} is an object that stays here.
"""

import ctypes
import fcntl
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import json
import os
import signal
import socket
import struct
import sys
import time
import traceback
import types
import warnings

import numpy as np

SIMPLE = (bool, int, float, str, type(None))
FURTHER = {}  # operations of worker_training.py
PACKAGE = 'submission'  # what the files of the solution take for their package, for relative imports


# ---- values as messages --------------------------------------------------------------------------------------------

def write_message(file, header, arrays):
    """header: what JSON can hold, which names the arrays in their order."""
    text = json.dumps(header).encode()
    file.write(struct.pack('>Q', len(text)) + text)
    for array in arrays:
        file.write(np.ascontiguousarray(array).tobytes())
    file.flush()


def read_message(file):
    """→ header, with arrays in place of what names them; EOFError where the other side has closed."""
    header = json.loads(_read(file, *struct.unpack('>Q', _read(file, 8))))

    def decode(value):
        if isinstance(value, list):
            return [decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        if 'array' in value:
            dtype, shape = value['array']
            dtype = np.dtype(dtype)
            count = int(np.prod(shape, dtype=np.int64))
            return np.frombuffer(_read(file, count * dtype.itemsize), dtype).reshape(shape).copy()
        return {key: decode(item) for key, item in value.items()}

    return decode(header)


def _read(file, count):
    data = file.read(count)
    if len(data) < count:
        raise EOFError
    return data


class Kept:
    """The number of an object that stays here."""

    def __init__(self, number):
        self.number = number


class Objects:
    """The objects that stay here, by number, and how a value is written as JSON and arrays."""

    def __init__(self):
        self.objects = []

    def keep(self, value):
        self.objects.append(value)
        return Kept(len(self.objects) - 1)

    def encode(self, value, arrays, depth=0):
        if isinstance(value, Kept):
            return {'object': value.number}
        if isinstance(value, SIMPLE):
            return value if not isinstance(value, str) else value[:10_000]
        kind = type(value).__name__
        if hasattr(value, 'detach') and hasattr(value, 'cpu'):  # a tensor of PyTorch
            value = value.detach().cpu().numpy()
        if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in 'biuf':
            value = np.asarray(value)
            value = value.astype(value.dtype.newbyteorder('<'), copy=False)
            arrays.append(value)
            return {'array': [value.dtype.str, list(value.shape)], 'type': kind}
        if isinstance(value, (list, tuple)) and depth < 4:
            return [self.encode(item, arrays, depth + 1) for item in value[:10_000]]
        if isinstance(value, dict) and depth < 4:
            return {'dict': [[str(key), self.encode(item, arrays, depth + 1)] for key, item in value.items()]}
        return {'object': self.keep(value).number, 'type': kind}

    def decode(self, value):
        if isinstance(value, dict) and 'object' in value:
            return self.objects[value['object']]
        if isinstance(value, list):
            return [self.decode(item) for item in value]
        if isinstance(value, dict):
            return {key: self.decode(item) for key, item in value.items()}
        return value


# ---- imports of the solution ---------------------------------------------------------------------------------------

class Absent(type):
    """Metaclass of what stands in for a package that isn't installed: fails only when it is used."""

    def __call__(cls, *args, **kwargs):
        if cls.__dict__.get('_absent'):
            raise ImportError(f'{cls._absent} is not available where this solution is judged')
        return super().__call__(*args, **kwargs)

    def __getattr__(cls, name):
        if name.startswith('__'):
            raise AttributeError(name)
        return absent(f'{cls._absent_root}.{name}')


def absent(name):
    return Absent(name.rpartition('.')[2], (), {'_absent': name, '_absent_root': name})


class StandIn(types.ModuleType):
    """A module in the place of one that isn't there."""

    def __getattr__(self, name):
        if name == '__all__' or name.startswith('__'):
            raise AttributeError(name)
        return absent(f'{self.__name__}.{name}')


class Finder(importlib.abc.MetaPathFinder):
    """Before all others (first=True): the solution's own files. After all others: what nobody has found.

    A name such as assignment_1.code.modules is the file modules.py of the solution where there is no such
    package; any other name gets a stand-in.
    """

    def __init__(self, folder, first):
        self.folder, self.first = folder, first

    def find_spec(self, fullname, path=None, target=None):
        last = fullname.rpartition('.')[2]
        own = os.path.join(self.folder, f'{last}.py')
        if self.first:
            if fullname == last and os.path.isfile(own) and last not in sys.builtin_module_names:
                return importlib.util.spec_from_file_location(fullname, own, loader=Loader(fullname, own))
            return None
        if not self._asked_by_the_solution():  # a library tries what it may have; that is to fail
            return None
        if '.' in fullname and os.path.isfile(own):
            return importlib.machinery.ModuleSpec(fullname, Alias(last))
        root = fullname.partition('.')[0]
        if fullname != root and not isinstance(sys.modules.get(root), StandIn):
            return None
        return importlib.machinery.ModuleSpec(fullname, Alias(None), is_package=True)

    def _asked_by_the_solution(self):
        frame = sys._getframe(1)
        while frame and (frame.f_code.co_filename.startswith('<frozen importlib')
                         or frame.f_code.co_filename in (__file__, importlib.__file__)):
            frame = frame.f_back
        return frame is not None and os.path.dirname(os.path.abspath(frame.f_code.co_filename)) == self.folder


class Loader(importlib.machinery.SourceFileLoader):
    def exec_module(self, module):
        module.__package__ = PACKAGE  # so that `from .modules import *` finds the file beside it
        module.__spec__.submodule_search_locations = None
        exec(self.get_code(module.__name__), module.__dict__)

    def set_data(self, path, data, *, _mode=0o666):
        pass  # no __pycache__


class Alias(importlib.abc.Loader):
    """Loads another module in place of the one that was asked for, or a stand-in."""

    def __init__(self, name):
        self.name = name

    def create_module(self, spec):
        return importlib.import_module(self.name) if self.name else StandIn(spec.name)

    def exec_module(self, module):
        pass


def prepare_imports(folder):
    sys.path[:] = [folder] + [path for path in sys.path if path and os.path.abspath(path) != os.path.dirname(
        os.path.abspath(__file__))]
    package = types.ModuleType(PACKAGE)
    package.__path__ = []
    sys.modules[PACKAGE] = package
    sys.meta_path.insert(0, Finder(folder, first=True))
    sys.meta_path.append(Finder(folder, first=False))


# ---- what the judge can ask for ------------------------------------------------------------------------------------

class Solution:
    """The operations: each method is one, with the arguments that the message has."""

    def __init__(self, folder):
        self.folder, self.objects = folder, Objects()
        self.results = {}  # (object, method) → the last array that it returned, and a copy

    def import_module(self, name):
        """Import a file of the solution."""
        importlib.import_module(name)

    def seed(self, number):
        """Seed NumPy, and what else there is."""
        import random
        np.random.seed(number)
        random.seed(number)
        if 'torch' in sys.modules and hasattr(sys.modules['torch'], 'manual_seed'):
            sys.modules['torch'].manual_seed(number)

    def signature(self, module, name):
        """The parameters of a class or function: [name, kind, has a default] each."""
        parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters.values()
        return [[parameter.name, parameter.kind.name, parameter.default is not parameter.empty]
                for parameter in parameters]

    def classes(self, module):
        """The classes of a module in the solution's own files: [name, names of its methods, names of its bases]."""
        found = []
        for name, cls in list(vars(importlib.import_module(module)).items()):
            if inspect.isclass(cls) and not isinstance(cls, Absent) and self._is_own(cls):
                methods = [method for method in dir(cls) if callable(getattr(cls, method, None))
                           and not method.startswith('__')]
                found.append([name, methods, [base.__name__ for base in cls.__mro__[1:-1]]])
        return found

    def _is_own(self, cls):
        file = getattr(sys.modules.get(cls.__module__), '__file__', None) or ''
        return os.path.dirname(os.path.abspath(file)) == self.folder

    def new(self, module, name, args, kwargs=None):
        """Make an object → its number, and which of the arguments were changed."""
        args, before = self.objects.decode(args), self.objects.decode(args)
        made = getattr(importlib.import_module(module), name)(*args, **self.objects.decode(kwargs or {}))
        return {'made': self.objects.keep(made),
                'changed': [index for index, (old, new) in enumerate(zip(before, args)) if _differ(old, new)]}

    def call(self, target, method, args, kwargs=None):
        """Call a method → its value and what it did to its arguments and to earlier results."""
        args = self.objects.decode(args)
        before = [arg.copy() if isinstance(arg, np.ndarray) else arg for arg in args]
        thing = self.objects.decode(target)
        value = getattr(thing, method)(*args, **self.objects.decode(kwargs or {}))
        facts = {
            'value': value,
            'changed': [index for index, (old, new) in enumerate(zip(before, args)) if _differ(old, new)],
            'shares': [index for index, arg in enumerate(args) if isinstance(arg, np.ndarray)
                       and isinstance(value, np.ndarray) and np.shares_memory(arg, value)],
        }
        if isinstance(value, np.ndarray):
            last, copy = self.results.get((id(thing), method), (None, None))
            facts['overwrote'] = last is not None and (np.shares_memory(last, value) or _differ(last, copy))
            self.results[id(thing), method] = value, value.copy()
        return facts

    def function(self, module, name, args, kwargs=None):
        """Call a function of a module."""
        return getattr(importlib.import_module(module), name)(*self.objects.decode(args),
                                                              **self.objects.decode(kwargs or {}))

    def get(self, target, path):
        """The value at target.path[0] …: names are attributes, lists of one are keys."""
        thing = self.objects.decode(target)
        for step in path:
            thing = thing[step[0]] if isinstance(step, list) else getattr(thing, step)
        return thing

    def set(self, target, path, value):
        """Put an array at a place: into the array that is there, where shape and type allow it."""
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
        return callable(getattr(self.objects.decode(target), name, None))

    def find(self, target, classes):
        """The instances of classes [module, name] that can be reached from target, each once, in order.

        → [number, index of the class, attributes that are numbers] each.
        """
        wanted = tuple(getattr(importlib.import_module(module), name) for module, name in classes)
        found = []
        _reach(self.objects.decode(target), wanted, set(), found)
        answer = []
        for instance in found:
            fits = [index for index, cls in enumerate(wanted) if isinstance(instance, cls)]
            exact = [index for index in fits if type(instance) is wanted[index]]
            answer.append([self.objects.keep(instance), (exact or fits)[0]])
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
            getattr(loaded, name)(*self.objects.decode(args), **self.objects.decode(kwargs or {}))
        finally:
            for space, original in zip(owners, originals):
                setattr(space, linear, original)
        return [[int(value) for value in sizes] for sizes in noted]


def _differ(old, new):
    if isinstance(old, np.ndarray):
        return old.shape != new.shape or not np.array_equal(old, new, equal_nan=old.dtype.kind == 'f')
    return type(old) is list and old != new


def _reach(value, wanted, seen, found):
    if id(value) in seen or isinstance(value, (np.ndarray, np.generic, str, bytes, int, float, type(None), type)):
        return
    seen.add(id(value))
    if isinstance(value, wanted):
        found.append(value)
    if isinstance(value, dict):
        children = list(value.values())
    elif isinstance(value, (list, tuple)):
        children = value
    elif isinstance(value, (types.ModuleType, types.FunctionType, types.BuiltinFunctionType)):
        return
    else:
        children = list(getattr(value, '__dict__', {}).values())
    for child in children:
        _reach(child, wanted, seen, found)


def describe(error, folder):
    """An exception as its type, its message and the places in the solution that it passed, outermost first."""
    places = [[os.path.basename(frame.filename), frame.lineno] for frame in traceback.extract_tb(error.__traceback__)
              if os.path.dirname(os.path.abspath(frame.filename)) == folder]
    if isinstance(error, SyntaxError) and error.filename:
        places.append([os.path.basename(error.filename), error.lineno])
    return {'type': type(error).__name__, 'message': str(error)[:500], 'places': places[-5:]}


def serve(solution, requests, replies):
    """Answer until the judge closes the pipe."""
    while True:
        try:
            request = read_message(requests)
        except EOFError:
            return
        arrays = []
        try:
            operation = request.pop('op')
            if operation in FURTHER:
                value = FURTHER[operation](*solution.objects.decode(request['args']))
            else:
                value = getattr(solution, operation)(**request)
            header = {'value': solution.objects.encode(value, arrays)}
        except BaseException as error:  # whatever the solution raises, SystemExit too, is its answer
            arrays = []
            header = {'error': describe(error, solution.folder)}
        try:
            sys.stdout.flush()
        except Exception:  # the solution has put something else there
            pass
        write_message(replies, header, arrays)


# ---- a process for each solution -----------------------------------------------------------------------------------

def limit(limits):
    """Set what the system allows this process; memory comes on top of what it has already."""
    import resource
    with open('/proc/self/statm') as file:
        mapped = int(file.read().split()[0]) * resource.getpagesize()
    limits = dict(limits)
    if 'RLIMIT_AS' in limits:
        limits['RLIMIT_AS'] += mapped
    if 'RLIMIT_NPROC' in limits:
        limits['RLIMIT_NPROC'] += _tasks_of_this_user()
    for name, value in limits.items():
        if hasattr(resource, name):
            hard = resource.getrlimit(getattr(resource, name))[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(getattr(resource, name), (value, value))


def _tasks_of_this_user():
    tasks = 0
    for entry in os.listdir('/proc'):
        try:
            if entry.isdigit() and os.stat(f'/proc/{entry}').st_uid == os.getuid():
                tasks += len(os.listdir(f'/proc/{entry}/task'))
        except OSError:  # it has ended meanwhile
            pass
    return tasks


def run_solution(job, fds):
    """What the forked process does; never returns."""
    try:
        os.setsid()
        requests, replies, output = (fcntl.fcntl(fd, fcntl.F_DUPFD, 64) for fd in fds)  # clear of 0 to 4
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.dup2(requests, 3, inheritable=False)
        os.dup2(replies, 4, inheritable=False)
        os.closerange(5, 4096)
        os.chdir(job['folder'])
        limit(job['limits'])
        sys.argv[:] = ['solution']
        warnings.simplefilter('ignore')
        np.seterr(all='ignore')
        prepare_imports(job['folder'])
        serve(Solution(job['folder']), os.fdopen(3, 'rb'), os.fdopen(4, 'wb'))
    finally:
        os._exit(0)


def children():
    """The processes whose parent is this one, orphans of the solution among them (see main)."""
    found = []
    for entry in os.listdir('/proc'):
        try:
            with open(f'/proc/{entry}/stat', 'rb') as file:
                if entry.isdigit() and int(file.read().rpartition(b')')[2].split()[1]) == os.getpid():
                    found.append(int(entry))
        except (OSError, ValueError, IndexError):
            pass
    return found


def end(pid, seconds=10):
    """End the process of a solution and all that it left → how it ended: exit code, or minus the signal."""
    done, status = os.waitpid(pid, os.WNOHANG)
    status = os.waitstatus_to_exitcode(status) if done else None
    deadline = time.monotonic() + seconds
    while (left := children()) and time.monotonic() < deadline:  # those of a child that was killed are ours next
        for child in left:
            for kill in (os.killpg, os.kill):
                try:
                    kill(child, signal.SIGKILL)
                except OSError:  # no such group, or it has ended meanwhile
                    pass
        for child in left:
            done, code = os.waitpid(child, 0)
            if done == pid:
                status = os.waitstatus_to_exitcode(code)
    return status


def preload(names):
    """Import libraries once, for all processes that are forked from here."""
    for name in names:
        try:
            if name not in sys.modules:
                importlib.import_module(name)
                if name == 'torch':  # the first optimizer imports half of PyTorch
                    torch = sys.modules['torch']
                    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        except Exception:  # not installed, or broken: the solution will see for itself
            pass


def main(descriptor):
    """The server: for each job on the socket fork a process; for each request to end it, end it and say how."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'worker_training.py')
    spec = importlib.util.spec_from_file_location('worker_training', path)
    further = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(further)
    FURTHER.update(further.OPERATIONS)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: what a solution leaves behind becomes a child of ours
    libc.prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE: no process of the same user looks into this one
    control = socket.socket(fileno=descriptor)
    pid = None
    while True:
        data, fds, _, _ = socket.recv_fds(control, 65536, 3)
        if not data:
            return
        job = json.loads(data)
        if 'end' in job:
            answer = {'status': end(pid)}
        else:
            preload(job['preload'])
            pid = os.fork()
            if not pid:
                control.close()
                run_solution(job, fds)
            for fd in fds:
                os.close(fd)
            answer = {'pid': pid}
        control.send(json.dumps(answer).encode())


if __name__ == '__main__':
    main(int(sys.argv[1]))
