"""A solution's files as text: what is a stub, which loops run over samples, which line it is, what is imported."""

import os
import textwrap

import pytest

from grading import source
from grading.findings import Place
from grading.source import Source


@pytest.fixture
def read(tmp_path):
    """The Source of a file with this text (or these bytes)."""
    def call(text, name='modules.py'):
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())
        return Source(tmp_path / name)
    return call


STUBS = ['pass', '"""Docs."""', 'return', 'return None', 'return 0', 'return out', 'out = None\nreturn out',
         'self.params = {"weight": None, "bias": None}', 'self.params = {}', 'super().__init__()',
         'raise NotImplementedError', 'raise NotImplementedError("later")\nx = 1\nreturn x',
         '"""Docs."""\nraise NotImplementedError()\nreturn out', 'self.x = x\nraise NotImplementedError']
NO_STUBS = ['return x', 'return self.x', 'return x + 1', 'self.x = x\nreturn out', 'x = 1', 'self.n = 0', 'print(x)',
            'out = x\nreturn out', 'raise ValueError("no")', 'return out\nreturn x', 'self.params = {"weight": 1}',
            'self.params = {"weight": None, "bias": 1}', 'if x:\n    raise NotImplementedError', 'print(x)\nreturn']


@pytest.mark.parametrize('bodies, stub', [(STUBS, True), (NO_STUBS, False)])
def test_a_stub_is_what_does_nothing(read, bodies, stub):
    for body in bodies:
        file = read('class A:\n    def forward(self, x):\n' + textwrap.indent(body, '        ') + '\n')
        assert file.is_stub('A', 'forward') is stub, body
        assert source.is_stub(file.method('A', 'forward')[1]) is stub, body


CLASSES = '''
class Base:
    def backward(self, dout):
        return dout * self.y

    def clear_cache(self):
        """Nothing yet."""
        pass

class A(Base):
    def forward(self, x):
        return x + 1

class B(A, object):
    def forward(self, x):
        return out

    def clear_cache(self):
        self.x = None

class C(C):
    pass

def train():
    return 1
'''


def test_a_method_is_that_of_the_class_or_of_a_base_whose_file_is_read(read):
    file = read(CLASSES)
    lines = [[node and node.lineno for _, node in map(file.method, 2 * [cls], ('forward', 'backward'))] for cls in 'ABCD']
    assert lines == [[11, 3], [15, 3], [None, None], [None, None]]
    assert (file.function('train').lineno, file.function('forward')) == (24, None)
    stubs = [file.is_stub('B', *methods) for methods in (['forward'], ['forward', 'backward'], ['forward', 'no'], ['no'])]
    assert stubs == [True, False, True, False], 'a class is a stub if each method that it has is'
    assert [file.is_empty(cls, 'clear_cache') for cls in 'ABD'] == [True, False, False]
    core = read('class Base:\n  def forward(self, x):\n    return x\n')
    core.name, file = 'layers/core.py', read('from layers.core import Base\nclass A(Base):\n  def f(self):\n    pass\n')
    file.imported = [core]
    assert [file.place(cls, 'forward', 'return') for cls in ('A', 'Base')] == 2 * [Place('layers/core.py', 3)]


def test_a_loop_over_names_or_settings_is_none_over_samples(read):
    fine = ['for name in self.params:', 'for name, value in self.grads.items():', 'for key in self.cache.keys():',
            'for key, value in d.items():', "for name in ['weight', 'bias']:", "for name in 'weight', 'bias':",
            'for name in ("weight", "bias"):', '[self.params[n] for n in self.params]', 'if x:', 'x = 1',
            'for g in zip(self.params, x):']
    loops = ['for row in x:', 'for i in range(len(x)):', 'while True:', 'while self.params:', '[a for a in x]',
             '{a for a in x}', '{a: 1 for a in x}', 'sum(a for a in x)', 'for a in [1, 2]:',
             'for x in len(x), ("a", "b"):']
    for statement, found in [*((line, 0) for line in fine), *((line, 3) for line in loops)]:
        file = read(f'class A:\n  def forward(self, x):\n    {statement}\n' + '      pass\n' * statement.endswith(':'))
        assert file.loop('A', 'forward')[0].line == found, statement
        assert not file.loop('A', 'backward')[0]
    two = 'class A:\n  def f(self, x):\n    for n in self.params:\n      for row in x:\n        pass\n'
    assert read(two).loop('A', 'f') == (Place('modules.py', 4), 'for row in x:')


PLACES = '''# where
class A:
    def forward(self, x): \t# where
        # where, in a comment
        mask = np.where(x > 0)
        out = np.where(mask)
        # where
        return out  # where
    def backward(self, dout):
        dx = dout * self.x
        return dx
    def other(self):
        return self.value  # of where

    def nothing(self):
        """What it
        returns."""
        x = 1
'''


def test_a_place_is_the_last_line_that_computes_what_was_looked_for(read):
    file = read(PLACES)
    places = {(name, pattern): str(file.place('A', name, pattern)) for name, pattern in [
        ('forward', 'where'), ('forward', 'where|return'), ('forward', 'mask'), ('backward', 'return|dx'),
        ('backward', 'return'), ('backward', 'def|out$'), ('other', 'return'),
        ('nothing', 'return'), ('missing', 'return')]}
    assert places == {('forward', 'where'): 'modules.py, line 6', ('forward', 'where|return'): 'modules.py, line 6',
        ('forward', 'mask'): 'modules.py, line 6', ('backward', 'return|dx'): 'modules.py, line 10',
        ('backward', 'return'): 'modules.py, line 10', ('backward', 'def|out$'): 'modules.py, line 11',
        ('other', 'return'): 'modules.py, line 13', ('nothing', 'return'): 'modules.py, line 18',
        ('missing', 'return'): ''}


def test_the_line_at_a_place_is_quoted_as_it_stands_there(read):
    file = read(PLACES.encode() + b'x = "' + b'y' * 200 + b'"')
    assert read('a\x0cb = 1\r\nc = "\u2028"\rd = 2').lines == ['a\x0cb = 1', 'c = "\u2028"', 'd = 2']
    assert [file.line(number) for number in (0, 1, 2, 5, 19, 20)] == [
        '', '# where', 'class A:', 'mask = np.where(x > 0)', 'x = "' + 'y' * 95, '']


def test_a_file_that_python_can_not_read_says_why_and_where(read):
    assert [read(text).problem for text in ('x = 1\n  y = 2\n', b'x = 1\n\0\0', 'x = 1\n# at home'.encode('utf-16-le') * 5,
                                            ('x = 1\n' * 20).encode('utf-32'))] == [
        'Python cannot read modules.py: unexpected indent in line 2: y = 2',
        'Python cannot read modules.py: source code string cannot contain null bytes',
        'modules.py is saved as UTF-16: save it as UTF-8', 'modules.py is saved as UTF-32: save it as UTF-8']
    deep = read('-' * 200_000 + '1')
    assert deep.problem.removeprefix('Python cannot read modules.py: ')[:1].isalpha() and 'None' not in deep.problem


def test_the_markers_of_a_merge_conflict_are_named_where_the_first_stands(read):
    for line in ('<<<<<<< HEAD', '=======', '>>>>>>> main', '<<<<<<<'):
        assert read(f'x = 1\n\n{line}\n>>>>>>> main\n').problem == (
            'modules.py has the markers of a merge conflict, the first in line 3, so it is not valid Python')
    for line in ('<<<<<<<<', ' =======', '<<<<<< a', '>>>>>>>main'):
        assert read(f'x = 1\n{line}\ny = (\n').problem.startswith('Python cannot read')
    assert read('x = """\n=======\n"""\n').problem is None


def test_a_file_that_is_not_there_too_large_or_not_to_be_read(read, monkeypatch, tmp_path):
    assert (Source(tmp_path / 'no.py').exists, Source(tmp_path / 'no.py').problem) == (False, None)
    small = read('x = 1\n' + '#' * (10 ** 6 - 6))
    assert (small.exists, small.problem) == (True, None)
    large = read('x = 1\n' + '#' * (10 ** 6 - 5))
    assert (large.exists, large.problem, large.lines) == (True, 'modules.py is larger than a million bytes', [])
    for order, mark in (('le', b'\xff\xfe'), ('be', b'\xfe\xff')):
        file = read(mark + 'x = 1\n'.encode(f'utf-16-{order}'))
        assert file.problem == 'modules.py is saved as UTF-16: save it as UTF-8'

    def refused(path):
        raise PermissionError(13, os.strerror(13))

    (tmp_path / 'modules.py').write_text('')
    monkeypatch.setattr(source.Path, 'read_bytes', refused)
    unreadable = Source(tmp_path / 'modules.py')
    assert unreadable.problem == 'modules.py cannot be read: Permission denied'


def test_a_warning_of_an_escape_is_no_problem_and_is_not_shown(read, recwarn):
    file = read('\ufeffx = "\\d"\ny = 1\n')
    assert file.problem is None and file.lines[0] == 'x = "\\d"' and not recwarn.list
    file = read(b'# coding: latin-1\nx = "\xe9"\n')
    assert file.problem is None and file.lines[1] == 'x = "\ufffd"'


def test_imports_are_found_wherever_they_are(read):
    file = read('''
        import numpy as np, torch.nn
        from modules import *
        from . import helpers, more
        from .deep.inner import thing
        def f():
            import os.path
        ''')
    assert file.imports() == {'numpy', 'torch.nn', 'modules', 'helpers', 'more', 'deep.inner', 'os.path'}


def test_the_libraries_of_a_solution_are_those_that_its_files_import(read, tmp_path):
    read('import numpy', 'modules.py')
    read('from code.c import *\nimport a', 'mlp_numpy.py')
    read('import pandas', 'c.py')
    read('import a, b\nimport matplotlib.pyplot as plt', 'a.py')
    read('from . import a, mlp_numpy\nfrom torch.nn import Linear', 'b.py')
    read('from tqdm import tqdm', 'unused.py')
    assert source.libraries(tmp_path, ['modules']) == set()
    assert source.libraries(str(tmp_path), ['modules', 'mlp_numpy']) == {'torch', 'pandas'}
    assert source.libraries(tmp_path, ['none', 'unused']) == {'tqdm.auto'}
