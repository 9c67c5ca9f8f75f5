"""What the files of a solution get when they import: each other by any name, and stand-ins for what isn't there."""

import sys

import pytest

from grading import sandbox
from grading.findings import Place
from grading.remote import NotGradable, Server, SolutionError

ASKS = '''
import importlib, sys

def outcome(statement, expression='None'):
    names = dict(globals())
    try:
        exec(compile(statement, __file__, 'exec'), names)
        return eval(expression, names)
    except Exception as error:
        return f'{type(error).__name__}: {error}'
'''
PARTS = '''
class Linear:
    pass
'''
LIBRARY = '''
def tries():
    try:
        import not_there_either
    except ImportError as error:
        return str(error)
'''
FALLS_BACK = '''
try:
    from not_there_too import MINE
except ImportError:
    MINE = 'of its own'
'''
DEEP = '''
class Deep:
    def fails(self):
        raise ValueError
'''
UNUSED = 'raise ImportError("a window, or another package that is missing")'
SPELT = "parts is sys.modules['parts'] and parts.Linear.__module__ == 'parts'"
OUTCOMES = [  # (what the solution does, what it looks at then, what it sees)
    ('import parts', SPELT, True),
    ('import parts', "[parts.__file__.rpartition('/')[2], parts.__package__, parts.__name__]",
     ['parts.py', 'submission', 'parts']),
    ('import parts', 'parts.__spec__.parent', 'submission'), ('from assignment_1.code import parts', SPELT, True),
    ('import assignment_2.code.parts as parts', SPELT, True),
    ('from .gone import Thing; Thing + 1', '1', 'ImportError: gone.Thing was not handed in and is not installed here'),
    ('from .parts import Linear; import parts', 'Linear is parts.Linear', True), ('from . import parts', SPELT, True),
    ('from ..code import parts', SPELT, 'ImportError: attempted relative import beyond top-level package'),
    ("parts = importlib.import_module('code_of_mine.parts')", SPELT, True),
    ('import submission', '[submission.__name__, submission.__path__]', ['submission', []]),
    ('import json.parts as parts', SPELT, True),
    ('import json.nothing', 'None', "ModuleNotFoundError: No module named 'json.nothing'"),
    ('from numpy.lib import utils', '[utils.__name__, utils.source.__name__]', ['numpy.lib.utils', 'source']),
    ('import parts.deeper', 'None', "ModuleNotFoundError: No module named 'parts.deeper'; 'parts' is not a package"),
    ('import not_there', '[type(not_there).__name__, not_there.__name__, hasattr(not_there, "__all__")]',
     ['StandIn', 'not_there', False]),
    ('import not_there.deep.deeper', 'not_there.deep.deeper.__name__', 'not_there.deep.deeper'),
    ("import importlib; made = importlib.import_module('found.late')", 'made.__name__', 'found.late'),
    ('from not_there import *', "'Thing' in globals()", False),
    ('from not_there.deep import Thing', '[Thing.__name__, Thing.Deep.Deeper.__name__, type(Thing).__name__]',
     ['Thing', 'Deeper', 'Absent']),
    ('from not_there.deep import Thing', 'hasattr(Thing, "__wrapped__")', False),
    ('import not_there; not_there.Thing(1, a=2)', 'None',
     'ImportError: not_there.Thing was not handed in and is not installed here'),
    ('from not_there import Thing; Thing.Deep.Deeper()', 'None',
     'ImportError: not_there.Thing.Deep.Deeper was not handed in and is not installed here'),
    ('from not_there import Thing\nclass Mine(Thing):\n    def __init__(self, a, b):\n        self.sum = a + b',
     '[Mine(1, b=2).sum, Mine.Deep.__name__]', [3, 'Deep']),
    *((f'from not_there import Thing; import numpy; {use}', 'None', 'ImportError: not_there.Thing was not handed in and is not installed here')
      for use in ('1 + Thing', 'Thing ** 2', 'Thing < 1', 'Thing[0]', 'list(Thing)', 'float(Thing)', 'numpy.ones(2) * Thing', 'numpy.exp(Thing)')),
    ('import not_there; not_there.__wanted__', 'None', 'AttributeError: __wanted__'),
    ('from not_there import Thing; Thing.__wanted__', 'None', 'AttributeError: __wanted__'),
    ('import library', 'library.tries()', "No module named 'not_there_either'"),
    ('import numpy', 'numpy.float32(0.5) == 0.5', True), ('import deep_library.parts as parts', SPELT, True),
    ('import xxsubtype', 'hasattr(xxsubtype, "MINE")', 'xxsubtype' not in sys.builtin_module_names),
    ("import os; names = os.listdir(os.path.dirname(__file__))", 'sorted(names)',
     ['asks.py', 'data', 'folder.py', 'layers', 'parts.py', 'xxsubtype.py']),
    ('from layers.core import Deep', 'Deep.__module__', 'layers.core'),
    ('from layers.core import Deep; Deep().fails()', 'None', 'ValueError: '),
    ('from data.helper import MINE', 'MINE', 'of its own'),
    ("import wandb; wandb.init(project='mine').config.update(1)\n@wandb.each.run\ndef f():\n    return 3", 'f()', 3),
    ('from torch.utils.tensorboard import SummaryWriter\nwith SummaryWriter("runs") as w: w.add_scalar("loss", 1.0, 0)', '1', 1),
    ("import seaborn; seaborn.set_theme()\nfrom sacred import Experiment\n@Experiment('mine').automain\ndef f():\n    return 3", 'f()', 3),
    ("import matplotlib; matplotlib.use('TkAgg')\nimport matplotlib.pyplot as plt; figure, (a, b, c) = plt.subplots(1, 3)\n"
     "plt.rcParams['x'] = 1; line, = a.plot([len(plt.axes())]); high = 1 - -2 * plt.ylim()[1] / 3 + 1", 'f"{high - 1:.2f}" if high > 2 else 0', ''),
    ('import torch', '[torch.compile(len) is len, torch.compile(mode="default")(len) is len]', [True, True]),
    ("import numpy, warnings; numpy.seterr(all='raise'); warnings.simplefilter('error')", '1', 1),
    ('import numpy, warnings', '[sorted(numpy.geterr().values()), warnings.warn("x")]', [['ignore'] * 4, None]),
    ("import os; os.chdir('/')\nfrom assignment_3 import parts", SPELT, True),
]


def test_what_an_import_gives(tmp_path, monkeypatch):
    def write(folder, texts):
        for name, text in texts.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)

    write(tmp_path, {'asks.py': ASKS, 'parts.py': PARTS, 'xxsubtype.py': 'MINE = 1\n', 'layers/core.py': DEEP,
                     'data/helper.py': FALLS_BACK})
    (tmp_path / 'folder.py').mkdir()
    (tmp_path / 'folder.py' / 'x').touch()
    libraries = tmp_path.parent / f'{tmp_path.name}-libraries'
    write(libraries, {'library.py': LIBRARY, 'matplotlib/__init__.py': UNUSED, 'torch/__init__.py': '',
                      'torch/utils/__init__.py': '', 'torch/utils/tensorboard/__init__.py': UNUSED})
    command = sandbox.command
    monkeypatch.setattr(sandbox, 'command', lambda room, arguments, bubblewrap: command(
        room, ['-c', arguments[1].replace('sys.path = [', f'sys.path = [{str(libraries)!r}, ', 1)], bubblewrap))
    with Server(bubblewrap=False) as server:
        with server.open(tmp_path, ['library', 'torch']) as solution:
            for statement, expression, seen in OUTCOMES:
                assert solution.ask('function', module='asks', name='outcome', args=[statement, expression]) == seen, \
                    statement
            for statement in ('', 'import not_there; sys.modules["torch"] = not_there'):
                assert solution.ask('function', module='asks', name='outcome', args=[statement]) is None
                assert solution.ask('seed', number=1) is None, 'with no PyTorch, or what stands in for it'
            assert solution.ask('classes', module='layers.core') == [['Deep', ['fails'], [], 'layers/core.py']]
            deep = solution.ask('new', module='layers.core', name='Deep', args=[])['made']
            with pytest.raises(SolutionError) as failed:
                solution.ask('call', target=deep, method='fails', args=[])
            assert failed.value.place == Place('layers/core.py', 4)
        with server.open(tmp_path) as solution, pytest.raises(NotGradable) as failed:
            solution.ask('import_module', name='not_there')  # by the judge, and so it fails
        assert str(failed.value) == "ModuleNotFoundError: No module named 'not_there'"
