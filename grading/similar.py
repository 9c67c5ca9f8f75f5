"""Find solutions with the same code, independent of names, comments and order of methods. A person must compare them.

Empty methods of the starter code do not count, and neither do files so short that they may be equal by chance.
"""

import ast
import collections
import hashlib

from grading.source import Source, is_stub

FILES = ['modules.py', 'mlp_numpy.py', 'mlp_pytorch.py']
SMALLEST = 400  # nodes of the syntax tree: shorter files of two students are the same by chance


class _Renamed(ast.NodeTransformer):
    """Names become numbers in the order in which a function uses them; docstrings and type hints go."""

    def __init__(self):
        self.numbers = collections.defaultdict(lambda: f'n{len(self.numbers)}')

    def visit_Name(self, node):
        return ast.Name(self.numbers[node.id], node.ctx)

    def visit_arg(self, node):
        return ast.arg(self.numbers[node.arg])

    def visit_Attribute(self, node):
        own = isinstance(node.value, ast.Name) and node.value.id == 'self'
        return ast.Attribute(self.visit(node.value), self.numbers['.' + node.attr] if own else node.attr, node.ctx)

    def visit_FunctionDef(self, node):
        body = [self.visit(inner) for inner in node.body
                if not (isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Constant))]
        return ast.FunctionDef('', self.visit(node.args), body, [], None)


def digest(path):
    """A hash of the code of a file, or None if the code is too short."""
    source = Source(path)
    functions = [node for node in ast.walk(source.tree) if isinstance(node, ast.FunctionDef) and not is_stub(node)]
    try:
        texts = sorted(ast.dump(_Renamed().visit(function)) for function in functions)
    except RecursionError:
        return None
    if sum(1 for function in functions for _ in ast.walk(function)) < SMALLEST:
        return None
    return hashlib.sha256('\n'.join(texts).encode()).hexdigest()[:16]


def digests(folder):
    return {name: found for name in FILES if (found := digest(folder / name))}


def same_code(codes):
    """{student: digests} → {student: the others who have a file with the same code}."""
    owners = collections.defaultdict(list)
    for student, files in codes.items():
        for item in files.items():
            owners[item].append(student)
    return {student: sorted({other for item in files.items() for other in owners[item]} - {student})
            for student, files in codes.items()}
