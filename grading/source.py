"""A solution's files as text, parsed and never run: stubs, loops over samples, lines of statements, imports."""

import ast
import functools
import re
import threading
import warnings
from pathlib import Path

from grading.findings import Place

LARGEST = 1_000_000  # bytes
MARKER = re.compile(r'^(<{7}|={7}|>{7})( |$)')
LOOPS = (ast.For, ast.While, ast.ListComp, ast.GeneratorExp, ast.SetComp, ast.DictComp)
PARSING = threading.Lock()  # in Python 3.11, ast.parse in two threads at a time can fail


class Source:
    """One file. problem: why it cannot be read as Python, or None; imported: the Sources of classes that it imports."""

    def __init__(self, path, name=None):
        self.name, self.exists, self.problem = name or path.name, path.is_file(), None
        self.lines, self.tree, self.imported = [], ast.parse(''), []
        if self.exists:
            self.problem = self._read(path)

    def _read(self, path):
        """Read and parse the file → why this is not possible, or None."""
        if path.is_symlink() and not path.resolve().is_relative_to(path.parent.resolve()):
            return f'{path.name} is a link to another folder: hand in the file itself'
        try:
            if path.stat().st_size > LARGEST:
                return f'{path.name} is larger than a million bytes'
            content = path.read_bytes()
        except OSError as error:
            return f'{path.name} cannot be read: {error.strerror}'
        if content.startswith((b'\xff\xfe', b'\xfe\xff')) or content[:100].count(0) > 20:
            name = 'UTF-32' if content[:100].count(0) > 60 else 'UTF-16'  # with or without a byte order mark
            return f'{path.name} is saved as {name}: save it as UTF-8'
        # As in Python, a form feed or U+2028 does not end a line.
        self.lines = re.split(r'\r\n|\r|\n', content.decode('utf-8-sig', errors='replace'))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')  # about escapes such as '\d' in a plain string
                with PARSING:
                    self.tree = ast.parse(content)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            return self._no_python(error)
        return None

    def _no_python(self, error):
        """The reason why Python cannot read the file."""
        for number, line in enumerate(self.lines, 1):
            if MARKER.match(line):
                return (f'{self.name} has the markers of a merge conflict, the first in line {number}, so it is not '
                        'valid Python')
        number = getattr(error, 'lineno', None)
        words = getattr(error, 'msg', None) or str(error) or type(error).__name__
        where = f' in line {number}: {self.line(number)}' if number else ''
        return f'Python cannot read {self.name}: {words}{where}'

    def line(self, number):
        return self.lines[number - 1].strip()[:100] if 0 < number <= len(self.lines) else ''

    @functools.cached_property
    def classes(self):
        return {node.name: node for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef)}

    def method(self, cls, name):
        """The method of a class, or of its base: (the Source of its file, its node). The node is None if there is none."""
        seen, source = set(), self
        while cls not in seen and (source := next((each for each in (self, *self.imported) if cls in each.classes), None)):
            seen.add(cls)
            for node in source.classes[cls].body:
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == name:
                    return source, node
            bases = [base.id for base in source.classes[cls].bases if isinstance(base, ast.Name)]
            cls = bases[0] if bases else None
        return self, None

    def may_have(self, name):
        """Is a name one that `if __name__ == '__main__'`, `global` or `import *` may bring?"""
        outside = [node for node in self.tree.body if not isinstance(node, (ast.FunctionDef, ast.ClassDef))]
        set_there = {node.id for statement in outside for node in ast.walk(statement)
                     if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        return name in set_there or any(
            isinstance(node, ast.Global) and name in node.names
            or isinstance(node, ast.ImportFrom) and node.names[0].name == '*' for node in ast.walk(self.tree))

    @functools.cached_property
    def functions(self):
        return {node.name: node for node in self.tree.body if isinstance(node, ast.FunctionDef)}

    def function(self, name):
        return self.functions.get(name)

    def is_stub(self, cls, *methods):
        """Are all of these methods unchanged from the starter code?"""
        nodes = [self.method(cls, name)[1] for name in methods]
        return any(nodes) and all(node is None or is_stub(node) for node in nodes)

    def is_empty(self, cls, method):
        """Does a method have no statement but pass?"""
        _, node = self.method(cls, method)
        return node is not None and all(isinstance(inner, ast.Pass) or isinstance(inner, ast.Expr)
                                        and isinstance(inner.value, ast.Constant) for inner in node.body)

    def loop(self, cls, method):
        """The first loop over something other than names or settings in a method: (its Place, its line)."""
        source, node = self.method(cls, method)
        for inner in (inner for reached in source._reached(node) for inner in ast.walk(reached)):
            if isinstance(inner, LOOPS) and not _is_loop_over_names(inner):
                return Place(source.name, inner.lineno), source.line(inner.lineno)
        return Place(), ''

    def _reached(self, node):
        """A function, and the functions of the file that it calls, directly or not."""
        nodes, seen = [node] if node else [], set()
        for each in nodes:  # the list grows in the loop
            called = dict.fromkeys(inner.func.id for inner in ast.walk(each)
                                   if isinstance(inner, ast.Call) and isinstance(inner.func, ast.Name))
            nodes += [self.functions[name] for name in called if name in self.functions and name not in seen]
            seen.update(called)
        return nodes

    def place(self, cls, method, pattern, first=False):
        """The Place of the line of a method that matches a pattern: the last that does, or the first."""
        source, node = self.method(cls, method)
        return source._place_in(node, pattern, first)

    def place_in(self, function, pattern, first=False):
        """The same of a function."""
        return self._place_in(self.function(function), pattern, first)

    def place_of_class(self, cls):
        return Place(self.name, self.classes[cls].lineno) if cls in self.classes else Place()

    def _place_in(self, node, pattern, first=False):
        """A line that computes is taken before one that only returns a name; text in quotes and `def` never are.

        Functions that this one calls are searched if it has no such line.
        """
        if node is None:
            return Place()
        for reached in self._reached(node):
            if numbers := self._matching(reached, pattern):
                computing = [number for number in numbers if not re.fullmatch(r'return [\w.]+\s*(#.*)?', self.line(number))]
                return Place(self.name, self._computed(reached, (computing or numbers)[0 if first else -1]))
        return Place(self.name, node.body[-1].lineno)

    def _computed(self, node, number):
        """The line of a function that computes what a line such as `return out` or `grads['bias'] = db` only passes on."""
        passed = re.fullmatch(r'(?:return|[^=]*\] ?=) ?([\w.]+)\s*(#.*)?', self.line(number))
        lines = passed and self._matching(node, rf'^{re.escape(passed[1])}\s*[-+*/]?=[^=]')
        return max((line for line in lines or [] if line < number), default=number)

    def _matching(self, node, pattern):
        quoted = {number for inner in ast.walk(node) if isinstance(inner, ast.Constant) and isinstance(inner.value, str)
                  and inner.end_lineno > inner.lineno for number in range(inner.lineno, inner.end_lineno + 1)}
        return [number for number in range(node.body[0].lineno, node.end_lineno + 1) if number not in quoted
                and re.search(pattern, self.line(number)) and not self.line(number).startswith('#')]

    def mentions(self, name):
        return any(name in (getattr(node, 'id', ''), getattr(node, 'attr', '')) for node in ast.walk(self.tree))

    def attributes_of(self, *names):
        """The attributes of these names that the file uses."""
        return {node.attr for node in ast.walk(self.tree) if isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name) and node.value.id in names}

    def calls_method(self, name):
        return any(isinstance(node, ast.Call) and getattr(node.func, 'attr', '') == name for node in ast.walk(self.tree))

    def imports_name(self, name):
        return any(name == (alias.asname or alias.name) for node in self.tree.body if isinstance(node, ast.ImportFrom)
                   for alias in node.names)

    def imports(self):
        """The names of all modules that the file imports, also inside functions."""
        names = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                names.update([node.module] if node.module else [alias.name for alias in node.names])
        return names


def is_stub(function):
    """Does a function do nothing: pass, a bare return, NotImplementedError, or the return of a name it never sets?"""
    body = [node for node in function.body if not _says_nothing(node)]
    if not body or any(isinstance(node, ast.Raise) and 'NotImplemented' in ast.dump(node) for node in body):
        return True  # statements after NotImplementedError do not run, and those before it have no result
    if len(body) > 1 or not isinstance(body[0], ast.Return):
        return False
    value, arguments = body[0].value, {argument.arg for argument in function.args.args}
    return value is None or isinstance(value, ast.Constant) or (
        isinstance(value, ast.Name) and value.id not in arguments)


def _says_nothing(node):
    if isinstance(node, ast.Expr):  # a docstring, or super().__init__()
        return isinstance(node.value, ast.Constant) or 'super' in ast.dump(node)
    if isinstance(node, ast.Assign):  # out = None, or params = {'weight': None, 'bias': None}
        values = node.value.values if isinstance(node.value, ast.Dict) else [node.value]
        return all(isinstance(item, ast.Constant) and item.value is None for item in values)
    return isinstance(node, ast.Pass)


def _is_loop_over_names(node):
    """`for name in self.params` and the like, or over a literal: no loop over samples."""
    iterables = [node.iter] if isinstance(node, ast.For) else [
        generator.iter for generator in getattr(node, 'generators', [])]
    text = ' '.join(ast.unparse(iterable) for iterable in iterables)
    return bool(re.search(r"params|grads|\.keys\(\)|\.items\(\)|^[\[(]['\"]", text))


PRELOADED = ['torch', 'pandas', 'tqdm.auto']  # imported before the limits of a solution hold
WHOLE = 'torch._dynamo'  # instead of a placeholder that is quicker, for files with one of these names
NEEDS_WHOLE = ['use_deterministic_algorithms', 'checkpoint', 'profiler', 'profile']


def libraries(folder, names, read=Source):
    """The PRELOADED libraries that files of the solution, or its files that they import, import. read: path → Source."""
    files, roots, whole = list(names), set(), False
    for name in files:  # the list grows in the loop
        source = read(Path(folder) / f'{name}.py')
        imported, whole = source.imports(), whole or any(map(source.mentions, NEEDS_WHOLE))
        roots.update(module.partition('.')[0] for module in imported)
        files += {module.rpartition('.')[2] for module in imported}.difference(files)
    found = {library for library in PRELOADED if library.partition('.')[0] in roots}
    return found | {WHOLE} if whole and 'torch' in found else found
