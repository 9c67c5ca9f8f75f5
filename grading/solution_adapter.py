"""Somebody else's modules.py and mlp_numpy.py behind the interfaces of this project.

Over the years the course has varied; what a solution has is found out by trying it:
weights stored (out, in) or (in, out), biases (N,) or (1, N), gradients overwritten or added to
after clear_cache, cross-entropy on labels or on one-hot rows, other activations than ReLU, and no
`input_layer`. Runs in a process of its own, which grading/solution_check.py starts and watches:

    python -m grading.solution_adapter DIR OUTPUT GROUP …

Each finding is written to the file OUTPUT as a line of JSON.
"""

import importlib
import inspect
import json
import sys
import traceback
import types
import unittest
from pathlib import Path

import numpy as np

try:
    import torch  # noqa: F401 (the checks need it; it takes seconds, which are not to count as the solution's)
except ImportError:
    pass

KNOWN = ['LinearModule', 'SoftMaxModule', 'CrossEntropyModule', 'BatchNormModule']


class Adapted:
    """A module of the solution: clears what an earlier pass left, and keeps our arrays from being changed."""

    def __init__(self, theirs):
        self.theirs = theirs

    def forward(self, x):
        try:
            self.theirs.clear_cache()  # gradients may be added up until then
        except Exception:  # there may be nothing to clear yet; clear_cache has a check of its own
            pass
        return self.theirs.forward(x.copy())

    def backward(self, dout):
        return self.theirs.backward(dout.copy())

    def clear_cache(self):
        self.theirs.clear_cache()


class AdaptedLinear(Adapted):
    """A linear module with its weights seen as (out, in) and its bias as (N,)."""

    transposed = False  # are their weights (in, out)?

    @property
    def params(self):
        return self._ours(self.theirs.params)

    @property
    def grads(self):
        return self._ours(self.theirs.grads)

    def _ours(self, arrays):
        weight, bias = arrays['weight'], arrays['bias']
        if self.transposed and weight is not None:
            weight = weight.T
        if bias is not None and bias.ndim == 2 and bias.shape[0] == 1:
            bias = bias[0]
        return {'weight': weight, 'bias': bias}


class AdaptedBatchNorm(Adapted):
    """A batch normalization; parameters, running estimates and mode are theirs."""

    params = property(lambda self: self.theirs.params)
    grads = property(lambda self: self.theirs.grads)
    running_mean = property(lambda self: self.theirs.running_mean)
    running_var = property(lambda self: self.theirs.running_var)
    training = property(lambda self: self.theirs.training,
                        lambda self, mode: setattr(self.theirs, 'training', mode))


def adapt(their_modules, their_mlp_numpy):
    """The solution as modules `modules` and `mlp_numpy`, and what was found about it, in words."""
    ours, found = types.ModuleType('modules'), []
    interface = types.SimpleNamespace(own=False, input_layer=False, labels=True, rows=False, relu=True)
    ours.INTERFACE = interface
    ours.activations = {}

    theirs = {name: getattr(their_modules, name, None) for name in KNOWN}
    if theirs['LinearModule']:
        ours.LinearModule = _linear(theirs['LinearModule'], interface, found)
    if theirs['SoftMaxModule']:
        ours.SoftMaxModule = lambda: Adapted(theirs['SoftMaxModule']())
    if theirs['CrossEntropyModule']:
        ours.CrossEntropyModule = _cross_entropy(theirs['CrossEntropyModule'], interface, found)
    if theirs['BatchNormModule']:
        ours.BatchNormModule = lambda num_features: AdaptedBatchNorm(theirs['BatchNormModule'](num_features))
    for name, cls in vars(their_modules).items():
        if inspect.isclass(cls) and name not in KNOWN and hasattr(cls, 'forward') and hasattr(cls, 'backward'):
            ours.activations[name] = _maker(cls, [], found)
    if 'ReLUModule' in ours.activations:
        ours.ReLUModule = ours.activations['ReLUModule']
    interface.relu = list(ours.activations) == ['ReLUModule']

    adapted_mlp_numpy = types.ModuleType('mlp_numpy')
    if hasattr(their_mlp_numpy, 'MLP') and theirs['LinearModule']:
        adapted_mlp_numpy.MLP = _mlp(their_mlp_numpy.MLP, theirs['LinearModule'], ours.LinearModule, found)
    return ours, adapted_mlp_numpy, found


def _linear(cls, interface, found):
    interface.input_layer = 'input_layer' in inspect.signature(cls).parameters
    if not interface.input_layer:
        found.append('no input_layer')

    class Linear(AdaptedLinear):
        def __init__(self, in_features, out_features, input_layer=False):
            super().__init__(cls(in_features, out_features, *[input_layer] * interface.input_layer))

        @classmethod
        def around(cls, theirs):
            linear = cls.__new__(cls)
            linear.theirs = theirs
            return linear

    try:
        params = cls(2, 3).params
        Linear.transposed = params['weight'].shape == (2, 3)
        found.append(f'weight {"(in, out)" if Linear.transposed else "(out, in)"}')
        found.append(f'bias {"(1, N)" if params["bias"].ndim == 2 else "(N,)"}')
    except Exception:  # its own checks will say so
        pass
    return Linear


def _cross_entropy(cls, interface, found):
    x, labels = np.array([[0.7, 0.2, 0.1], [0.2, 0.3, 0.5]]), np.array([0, 2])

    def takes(targets):
        try:
            loss, grad = cls().forward(x, targets), cls().backward(x, targets)
            return np.ndim(loss) == 0 and np.shape(grad) == x.shape
        except Exception:
            return False

    interface.labels, interface.rows = takes(labels), takes(np.eye(3)[labels])
    found.append('cross-entropy on ' + (' and '.join(['labels'] * interface.labels + ['rows'] * interface.rows)
                                        or 'neither labels nor rows'))
    one_hot_needed = interface.rows and not interface.labels

    class CrossEntropy:
        def __init__(self):
            self.theirs = cls()

        def forward(self, x, y):
            return float(self.theirs.forward(x.copy(), self._targets(x, y)))

        def backward(self, x, y):
            return self.theirs.backward(x.copy(), self._targets(x, y))

        def _targets(self, x, y):
            return np.eye(x.shape[1])[y] if one_hot_needed and y.ndim == 1 else y.copy()

    return CrossEntropy


def _maker(cls, arguments, found):
    """A function that makes the module; parameters without a default, such as a slope, get 0.1."""
    required = [parameter for parameter in list(inspect.signature(cls).parameters.values())[len(arguments):]
                if parameter.default is parameter.empty
                and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)]
    if required:
        found.append(f'{cls.__name__}({", ".join(f"{parameter.name}=0.1" for parameter in required)})')
    return lambda: Adapted(cls(*arguments, *[0.1] * len(required)))


def _mlp(cls, linear_cls, adapted_linear, found):
    parameters = list(inspect.signature(cls).parameters.values())
    extra = [parameter for parameter in parameters[3:] if parameter.default is parameter.empty
             and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)]
    if extra:
        found.append(f'MLP(…, {", ".join(f"{parameter.name}=0.1" for parameter in extra)})')

    class MLP(Adapted):
        def __init__(self, n_inputs, n_hidden, n_classes):
            super().__init__(cls(n_inputs, n_hidden, n_classes, *[0.1] * len(extra)))

        @property
        def layers(self):
            return [adapted_linear.around(linear) for linear in _instances(self.theirs, linear_cls)]

    return MLP


def _instances(value, cls, seen=None):
    """All instances of cls that can be reached from the attributes and containers of value, in order."""
    seen = set() if seen is None else seen
    if id(value) in seen or isinstance(value, (np.ndarray, str, bytes, int, float, type(None), type)):
        return []
    seen.add(id(value))
    if isinstance(value, cls):
        return [value]
    if isinstance(value, dict):
        children = value.values()
    elif isinstance(value, (list, tuple)):
        children = value
    else:
        children = getattr(value, '__dict__', {}).values()
    return [instance for child in children for instance in _instances(child, cls, seen)]


class Findings(unittest.TestResult):
    """Writes what happens as lines of JSON: the check that starts, and how each ended."""

    def __init__(self, write, folder):
        super().__init__()
        self.write, self.folder = write, folder

    def startTest(self, test):
        super().startTest(test)
        self.write(started=_name(test))

    def addSuccess(self, test):
        self.write(check=_name(test), passed=True)

    def addFailure(self, test, err):
        self.write(check=_name(test), passed=False, message=str(err[1]).strip())

    def addError(self, test, err):
        self.write(check=_name(test), passed=False, message=describe(err[1], self.folder))

    def addSubTest(self, test, subtest, err):
        if err:
            (self.addFailure if issubclass(err[0], test.failureException) else self.addError)(test, err)


def _name(test):
    return test.shortDescription() or str(test)


def describe(error, folder):
    """An exception in one line, with the place in the solution that it came from."""
    places = [f'{Path(frame.filename).name}, line {frame.lineno}' for frame in traceback.extract_tb(error.__traceback__)
              if Path(frame.filename).parent == folder]
    if isinstance(error, SyntaxError) and error.filename:
        places = [f'{Path(error.filename).name}, line {error.lineno}']
    return f'{type(error).__name__}: {error}' + (f' ({places[-1]})' if places else '')


def checks_of(group, ours, adapted_mlp_numpy):
    """The TestCases of a group, or a string: what is missing for it."""
    import unittests

    if group == 'BatchNormModule' and not hasattr(ours, group):
        return []  # not every year of the course has one
    if group == 'MLP':
        return [unittests.MLPChecks] if hasattr(adapted_mlp_numpy, 'MLP') else 'class MLP is missing in mlp_numpy.py'
    if group == 'activation':
        if not ours.activations:
            return 'an activation (ReLUModule, ELUModule, …) is missing in modules.py'
        bases = unittests.ActivationChecks, unittests.ModuleChecks
        return [unittests.ReLUModuleChecks if name == 'ReLUModule'
                else type(f'{name}Checks', bases, {'make_module': lambda self, make=make: make()})
                for name, make in ours.activations.items()]
    needed = ['SoftMaxModule', 'CrossEntropyModule'] if group == 'SoftMaxWithCrossEntropy' else [group]
    missing = [name for name in needed if not hasattr(ours, name)]
    if missing:
        return f'class {missing[0]} is missing in modules.py'
    return [getattr(unittests, f'{group}Checks')]


def main(folder, output, groups):
    folder = Path(folder).resolve()
    with open(output, 'a', encoding='utf-8') as file:

        def write(**finding):
            print(json.dumps(finding), file=file, flush=True)

        here = str(Path(__file__).parent.parent)
        sys.path[0] = str(folder)
        theirs = {}
        for name in ('modules', 'mlp_numpy'):
            write(started=f'import of {name}.py')
            theirs[name] = types.ModuleType(name)
            if not (folder / f'{name}.py').is_file():
                write(missing=f'{name}.py is missing')
                continue
            try:
                theirs[name] = importlib.import_module(name)
            except Exception as error:
                write(missing=f'{name}.py can not be imported: {describe(error, folder)}')
        sys.path.insert(0, here)
        write(started='a first look at the classes')
        ours, adapted_mlp_numpy, found = adapt(theirs['modules'], theirs['mlp_numpy'])
        sys.modules.update(modules=ours, mlp_numpy=adapted_mlp_numpy)
        names = ', '.join(ours.activations) or 'none'
        write(interface=[*found, f'activation {names}'])
        for group in groups:
            checks = checks_of(group, ours, adapted_mlp_numpy)
            if checks:
                write(group=group)
            if isinstance(checks, str):
                write(check=group, passed=False, message=checks)
                continue
            for case in checks:
                unittest.defaultTestLoader.loadTestsFromTestCase(case).run(Findings(write, folder))
        write(finished=True)


if __name__ == '__main__':
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
