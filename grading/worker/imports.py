"""Imports of the solution: its own files under any package name, placeholders for missing packages, changed libraries."""

import ast
import contextlib
import dis
import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import os
import re
import sys
import types

import numpy as np

NOT_HERE = 'was not handed in and is not installed here'
PLOTS_AND_LOGS = {'comet_ml', 'matplotlib', 'mlflow', 'mpl_toolkits', 'plotly', 'pylab', 'sacred', 'seaborn', 'tensorboard',
                  'tensorboardX', 'torchsummary', 'torchviz', 'visdom', 'wandb'}  # the verdicts do not depend on these
REMOVED = {'numpy.lib.utils', 'torch._six'}  # that older versions have, and older solutions import without using them
PACKAGE = 'submission'  # the package of the solution's files, for relative imports


def own_file(path, folder):
    """The name of a file of the solution, in its folder: layers/core.py. None for any other file."""
    front = os.path.join(folder, '')
    return path[len(front):].replace(os.sep, '/') if path.startswith(front) else None


class Absent(type):
    """Metaclass of the placeholder for a package that is not installed. The placeholder fails only when it is used.

    It may be used as a function, as a number or as the base of a class. What a class then lacks, see missing_here.
    """

    def __call__(cls, *args, **kwargs):
        if '_absent' in vars(cls):  # a class of the solution, made from it, has none of its own
            cls._fail()
        return super().__call__(*args, **kwargs)

    def __getattr__(cls, name):
        if name.startswith('__'):
            raise AttributeError(name)
        return absent(f'{cls._absent}.{name}')

    @property
    def __signature__(cls):
        return inspect.Signature(list(inspect.signature(cls.__init__).parameters.values())[1:])

    def _fail(cls, *_, **__):
        raise ImportError(f'{cls._absent} {NOT_HERE}')

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __pow__ = __rpow__ = _fail
    __floordiv__ = __mod__ = __matmul__ = __rmatmul__ = __lt__ = __le__ = __gt__ = __ge__ = __neg__ = __getitem__ = _fail
    __iter__ = __len__ = __contains__ = __float__ = __int__ = __index__ = __array__ = __array_ufunc__ = _fail


def absent(name):
    return Absent(name.rpartition('.')[2], (), {'_absent': name, '__init__': lambda self, *_, **__: None})


def missing_here(error):
    """The missing module that a NameError or an AttributeError may be due to: from an import * or as a base class."""
    if type(error) is NameError:
        return next(iter(starred()), '')
    thing = getattr(error, 'obj', None)
    cls = thing.__self_class__ if isinstance(thing, super) else type(thing)
    if not isinstance(error, AttributeError) or not isinstance(cls, Absent):
        return ''
    with contextlib.suppress(OSError, TypeError):  # it has no source
        if re.search(rf'\.{error.name}\s*=[^=]', inspect.getsource(cls)):
            return ''  # an attribute of its own that is not set yet
    return cls._absent


def starred():
    """The missing modules of which an import * was tried."""
    return [module.__name__ for module in list(sys.modules.values()) if isinstance(module, StandIn) and module._starred]


class Nothing:
    """A placeholder for plots and logs: every operation gives it again. As a decorator it returns the function."""

    def __call__(self, *args, **kwargs):
        return args[0] if len(args) == 1 and inspect.isfunction(args[0]) else self

    def __getattr__(self, name):
        if name.startswith('__'):
            raise AttributeError(name)
        return self

    def __getitem__(self, key):
        return self

    def __iter__(self):
        """As many as are unpacked: line, = plt.plot(x) or figure, axes = plt.subplots()."""
        frame = sys._getframe(1)
        operation, count = frame.f_code.co_code[frame.f_lasti:frame.f_lasti + 2]
        return iter([self] * (count if dis.opname[operation] == 'UNPACK_SEQUENCE' else len(self)))

    def __len__(self):
        return 2

    def __exit__(self, *exc_info):
        return False

    def __format__(self, spec):
        return ''

    def _self(self, *_):
        return self

    __setitem__ = __enter__ = __neg__ = __add__ = __radd__ = __sub__ = __rsub__ = _self
    __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __lt__ = __le__ = __gt__ = __ge__ = _self


class StandIn(types.ModuleType):
    """A placeholder for a missing module. Its submodules are the solution's own files."""

    def __init__(self, name, folder):
        super().__init__(name)
        self._folder, self._starred = folder, False  # was an import * of it tried?

    def __getattr__(self, name):
        if name == '__all__':
            self._starred = True
        if name.startswith('__'):
            raise AttributeError(name)
        if os.path.isfile(os.path.join(self._folder, f'{name}.py')):
            return importlib.import_module(name)
        if is_plot_or_log(self.__name__):
            return Nothing()
        return absent(f'{self.__name__}.{name}')


def is_plot_or_log(fullname):
    return fullname.partition('.')[0] in PLOTS_AND_LOGS or fullname == 'torch.utils.tensorboard'


class Finder(importlib.abc.MetaPathFinder):
    """Before all other finders (first=True): the solution's own files, and placeholders for plots and logs. After them:
    modules that none of them found.

    If there is no package assignment_1, the name assignment_1.code.modules means the solution's modules.py. Any other
    name of a package that is not installed gets a placeholder.
    """

    def __init__(self, folder, first):
        self.folder, self.first = folder, first

    def find_spec(self, fullname, path=None, target=None):
        last = fullname.rpartition('.')[2]
        own = os.path.join(self.folder, f'{last}.py')
        if self.first:
            if fullname == last and os.path.isfile(own) and last not in sys.builtin_module_names:
                return importlib.util.spec_from_file_location(fullname, own, loader=Loader(fullname, own))
            return self._stand_in(fullname) if is_plot_or_log(fullname) and self._asked_by_the_solution() else None
        frame = self._asked_by_the_solution()
        if not frame:  # a library's own optional import must fail
            return None
        if '.' in fullname and os.path.isfile(own):
            return importlib.machinery.ModuleSpec(fullname, Alias(lambda: importlib.import_module(last)))
        if _has_another_plan(frame.f_code.co_filename, frame.f_lineno):
            return None
        root = fullname.partition('.')[0]
        if fullname not in (root, *REMOVED) and root != PACKAGE and not isinstance(sys.modules.get(root), StandIn):
            return None
        return self._stand_in(fullname)

    def _stand_in(self, fullname):
        stand_in = StandIn(fullname.removeprefix(f'{PACKAGE}.'), self.folder)
        return importlib.machinery.ModuleSpec(fullname, Alias(lambda: stand_in), is_package=True)

    def _asked_by_the_solution(self):
        frame = sys._getframe(1)
        while frame and (frame.f_code.co_filename.startswith('<frozen importlib')
                         or frame.f_code.co_filename in (__file__, importlib.__file__)):
            frame = frame.f_back
        return frame if frame and own_file(frame.f_code.co_filename, self.folder) else None


def _has_another_plan(path, line):
    """Is a line in a try that catches an ImportError?"""
    with open(path, 'rb') as file:
        tries = [node for node in ast.walk(ast.parse(file.read())) if isinstance(node, ast.Try)
                 and node.body[0].lineno <= line <= node.body[-1].end_lineno]
    return any(re.search('Import|Module|Exception|None', ast.unparse(handler.type) if handler.type else 'None')
               for node in tries for handler in node.handlers)


class Loader(importlib.machinery.SourceFileLoader):
    def exec_module(self, module):
        # So that `from .modules import *` finds the file next to it.
        module.__spec__ = importlib.machinery.ModuleSpec(f'{PACKAGE}.{module.__name__}', self, origin=self.path)
        module.__package__ = PACKAGE
        exec(self.get_code(module.__name__), module.__dict__)


class Alias(importlib.abc.Loader):
    """Loads another module instead of the requested one, or a placeholder."""

    def __init__(self, give):
        self.give = give

    def create_module(self, spec):
        return self.give()

    def exec_module(self, module):
        pass


def prepare_imports(folder):
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sys.path[:] = [folder] + [path for path in sys.path if path and os.path.abspath(path) != ours]
    package = types.ModuleType(PACKAGE)
    package.__path__ = []
    sys.modules[PACKAGE] = package
    sys.meta_path.insert(0, Finder(folder, first=True))
    sys.meta_path.append(Finder(folder, first=False))


def load_libraries(names):
    """Import libraries, and change them so that older solutions run and PyTorch starts quickly.

    Their messages are not the solution's output.
    """
    meta, whole = 'torch._meta_registrations', 'torch._dynamo'  # the first takes a fifth of PyTorch's import
    if whole not in names:
        sys.modules[meta] = types.ModuleType(meta)
    output = os.dup(2)
    os.dup2(0, 2)  # to nowhere
    gc.disable()  # what is imported stays: a tenth of the time
    for name in sorted(names) + ['torch._prims.rng_prims'] * ('torch' in names):  # the last for torch.Generator
        with contextlib.suppress(Exception):  # not installed, or broken: the solution will see for itself
            importlib.import_module(name)
    gc.freeze()
    gc.enable()
    restore_old_names()
    if whole not in names:
        compile_nothing()
    os.dup2(output, 2)
    os.close(output)


def compile_nothing():
    """Keep torch.optim from importing PyTorch's compiler, which takes a second; torch.compile returns its argument."""
    def unchanged(function=None, *_, **__):
        return function or unchanged

    if torch := sys.modules.get('torch'):
        compiler = torch._dynamo = sys.modules['torch._dynamo'] = types.ModuleType('torch._dynamo')
        compiler.disable = torch.compile = unchanged
        compiler.graph_break = lambda *_, **__: None


OLD_NAMES = {
    'float': float, 'int': int, 'bool': bool, 'object': object, 'float_': np.float64, 'Inf': np.inf, 'NaN': np.nan,
    'product': np.prod, 'cumproduct': np.cumprod, 'alltrue': np.all, 'sometrue': np.any, 'row_stack': np.vstack,
    'asscalar': lambda array: np.asarray(array).item(), 'in1d': np.isin,
}


def restore_old_names():
    """Give NumPy the functions and the parameter that only older versions have, for older solutions."""
    for name, value in OLD_NAMES.items():
        if not hasattr(np, name):
            setattr(np, name, value)
    reshape = np.reshape

    def reshape_with_newshape(a, *args, newshape=None, **more):
        return reshape(a, *(args if newshape is None else [newshape]), **more)

    np.reshape = reshape_with_newshape
