"""One interface for the solutions of all editions of the course. The solution's own interface is found by trying.

Weights are always returned as (N, M) and biases as (N,). Constructor parameters that this project does not have get a
value that fits their name.
"""

import time

import numpy as np

from grading.findings import Place
from grading.remote import NotGradable, Ref, SolutionError

REQUIRED = {  # values of parameters without a default, by a part of their name
    'alpha': 0.7, 'slope': 0.1, 'leak': 0.1, 'negative': 0.1, 'bias': True, 'batch_norm': False, 'dropout': 0.0,
    'init': False, 'activation': 'relu', 'name': 'name', 'batch': 7, 'lr': 0.1, 'learning': 0.1, 'seed': 0,
    'input_layer': False,
}


CALLS = 15  # the time limit of a solution is that of so many calls


class Malformed(Exception):
    """The solution's answer does not have the form that the assignment asks for; the message describes it."""

    place = Place()


class Session:
    """The process of one solution, started when it is needed, and restarted after it has ended.

    After CALLS times the time limit of a call, every request raises NotGradable.
    interface: the detected interface in words. facts: (class, method) → side effects of its calls.
    """

    def __init__(self, server, folder, preload=()):
        self.server, self.folder, self.preload = server, folder, preload
        self.process, self.imported = None, {}
        self.signatures, self.class_lists = {}, {}
        self.interface, self.facts, self.printed = [], {}, 0
        self.deadline = time.monotonic() + CALLS * server.timeout

    def met(self, words):
        if words not in self.interface:
            self.interface.append(words)

    def ask(self, op, **arguments):
        if time.monotonic() > self.deadline:
            raise NotGradable(f'all calls together take longer than {CALLS * self.server.timeout:g} s: use a larger --timeout')
        self.be_there()
        return self.process.ask(op, **arguments)

    def be_there(self):
        if self.process is None or self.process.ended:
            self.restart()

    def restart(self):
        self.close()
        self.process = self.server.open(self.folder, self.preload)
        self.imported = {}

    def close(self):
        if self.process:
            self.process.close()
            self.printed += self.process.printed
        self.process = None

    def require(self, module):
        """Import a file of the solution, once. If that fails, every call raises the SolutionError."""
        self.be_there()
        if module not in self.imported:
            try:
                self.ask('import_module', name=module)
                self.imported[module] = None
            except (SolutionError, NotGradable) as failed:
                self.imported[module] = failed
        if self.imported[module]:
            raise self.imported[module]

    def new(self, module, cls, args):
        """Make an object with these arguments and a value for each further one that has no default → RemoteObject."""
        self.require(module)
        kwargs = self.further(module, cls, len(args))
        answer = self.ask('new', module=module, name=cls, args=list(args), kwargs=kwargs)
        if answer['changed']:
            self.note(cls, '__init__', 'changed')
        return RemoteObject(self, answer['made'], cls)

    def further(self, module, cls, given):
        kwargs = {}
        for name, kind, has_default in self.signature(module, cls)[given:]:
            if not has_default and not kind.startswith('VAR'):
                kwargs[name] = next((value for part, value in REQUIRED.items() if part in name.lower()), 0.1)
                self.met(f'{cls}(…, {name}={kwargs[name]!r})')
        return kwargs

    def signature(self, module, name):
        """The parameters of a class or function: [name, kind, has a default] each; [] if they are not known."""
        if (module, name) not in self.signatures:
            try:
                self.signatures[module, name] = self.ask('signature', module=module, name=name)
            except SolutionError:
                self.signatures[module, name] = []
        return self.signatures[module, name]

    def classes(self, module):
        """The solution's classes that a module has: [name, names of methods, names of bases] each."""
        if module not in self.class_lists:
            self.require(module)
            self.class_lists[module] = self.ask('classes', module=module)
        return self.class_lists[module]

    def note(self, cls, method, fact):
        self.facts.setdefault((cls, method), set()).add(fact)


class RemoteObject:
    """An object in the process of the solution."""

    def __init__(self, session, ref, cls):
        self.session, self.ref, self.cls = session, ref, cls

    def call(self, method, *args):
        """The result of a method. Changes of its arguments and of earlier results are noted."""
        answer = self.session.ask('call', target=self.ref, method=method, args=list(args))
        for fact in ('changed', 'shares', 'overwrote'):
            if answer.get(fact):
                self.session.note(self.cls, method, fact)
        return answer['value']

    def array(self, method, *args):
        """The same as call, for a method that must return an array. Raises Malformed if it returns something else."""
        return as_array(self.call(method, *args), f'{self.cls}.{method} returned')

    def get(self, *path):
        return self.session.ask('get', target=self.ref, path=list(path))

    def set(self, path, value):
        self.session.ask('set', target=self.ref, path=list(path), value=value)

    def has(self, method):
        return bool(self.session.ask('has', target=self.ref, name=method))

    def clear(self):
        """Call clear_cache; ignore it if it is missing or fails."""
        try:
            self.session.ask('call', target=self.ref, method='clear_cache', args=[])
        except SolutionError:
            pass


def as_array(value, what):
    """The value as an array. what: the start of the message, 'forward returned' for example. Raises Malformed."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return np.asarray(value)
    if isinstance(value, list) and _holds_numbers(value):  # a list of rows, which NumPy accepts as an array
        try:
            array = np.array(value)
            if array.dtype.kind in 'biuf':
                return array
        except ValueError:  # rows of different lengths
            pass
    raise Malformed(f'{what} {describe_value(value)}, no array')


def _holds_numbers(value):
    """Does a list hold numbers, arrays and lists of them? An array of texts may be as large as their longest, many times."""
    return all(_holds_numbers(item) if isinstance(item, list) else isinstance(item, (int, float, np.ndarray)) for item in value)


def describe_value(value):
    if isinstance(value, np.ndarray):
        return f'an array of shape {value.shape}'
    if isinstance(value, Ref):
        return f'an object of type {value.type}'
    if value is None:
        return 'None'
    return f'a {type(value).__name__}' if isinstance(value, (list, dict)) else repr(value)


def as_weight(array, transposed):
    """A weight or its gradient, stored as (M, N) if transposed, in the shape (N, M); another shape is unchanged."""
    return array.T if transposed and array.ndim == 2 else array


def as_bias(array, size):
    """A bias or its gradient of N numbers in any shape as (N,); another size is unchanged."""
    return array.reshape(size) if array.size == size and array.ndim <= 2 else array


class Linear(RemoteObject):
    """A linear module of the solution; transposed: are its weights stored (M, N)?"""

    def __init__(self, session, ref, cls, keys, transposed, shape):
        super().__init__(session, ref, cls)
        self.keys, self.transposed, self.shape = keys, transposed, shape  # shape: (N, M)

    def parameter(self, name):
        array = self.array_of('params', name)
        if name == 'weight':
            return as_weight(array, self.transposed)
        return np.full(self.shape[0], array.item()) if array.size == 1 else as_bias(array, self.shape[0])

    def set_parameters(self, weight, bias):
        """Set the parameters to our values, in the shapes of the solution."""
        self.set(['params', [self.keys['weight']]], weight.T if self.transposed else weight)
        old = self.array_of('params', 'bias')
        self.set(['params', [self.keys['bias']]], bias if old.size == 1 else bias.reshape(old.shape))

    def array_of(self, holder, name):
        """The array of a parameter in params or grads. Raises Malformed if it is not an array."""
        return as_array(self.get(holder, [self.keys[name]]), f"{holder}['{self.keys[name]}'] is")

    def gradient(self, name):
        """The gradient in grads, as (N, M) or (N,) if its size is right. Raises Malformed if it is not an array."""
        value = self.array_of('grads', name)
        if name == 'weight':
            return as_weight(value, self.transposed)
        return as_bias(value, self.shape[0])

    def zero_gradients(self):
        """Set the gradients to zero, as a training loop does if the solution adds gradients up."""
        for name, key in self.keys.items():
            self.set(['grads', [key]], np.zeros(self.array_of('grads', name).shape))


KEYS = {'weight': ['weight', 'weights', 'W', 'w', 'kernel'], 'bias': ['bias', 'biases', 'b', 'B']}


class LinearMaker:
    """Makes linear modules. One module (3 → 2) shows the class's arguments and the form of its parameters."""

    def __init__(self, session, cls='LinearModule'):
        self.session, self.cls = session, cls
        thing = session.new('modules', cls, [3, 2])
        try:
            params = thing.get('params')
        except SolutionError as failed:
            raise Malformed(f'it has no dict params: {failed}') from failed
        if not isinstance(params, dict):
            raise Malformed(f'params is {describe_value(params)}, no dict')
        self.keys = {}
        for name, known in KEYS.items():
            key = next((key for key in known if key in params), None)
            if key is None:
                raise Malformed(f"params has no key '{name}', its keys are {list(params)}")
            self.keys[name] = key
        weight = params[self.keys['weight']]
        shape = weight.shape if isinstance(weight, np.ndarray) else None
        if shape not in ((2, 3), (3, 2)):
            raise Malformed(f"params['{self.keys['weight']}'] is {describe_value(weight)}: it should have shape (2, 3)")
        self.transposed = shape == (3, 2)
        bias = params[self.keys['bias']]
        shape = np.shape(bias) if isinstance(bias, (np.ndarray, int, float)) else None
        if shape not in ((2,), (1, 2), (2, 1), (), (1,), (1, 1)):
            raise Malformed(f"params['{self.keys['bias']}'] is {describe_value(bias)}: it should have shape (2,)")
        self.has_input_layer = 'input_layer' in [name for name, *_ in session.signature('modules', cls)]
        session.met('weight (in, out)' if self.transposed else 'weight (out, in)')
        session.met(f'bias {str(shape).replace("2", "N")}' if shape else 'bias a scalar')
        if not self.has_input_layer:
            session.met('no input_layer')

    def make(self, in_features, out_features, *args):
        return self.around(self.session.new('modules', self.cls, [in_features, out_features, *args]).ref,
                           (out_features, in_features))

    def around(self, ref, shape=None):
        """A linear module of an existing MLP."""
        thing = RemoteObject(self.session, ref, self.cls)
        if shape is None:
            weight = as_array(thing.get('params', [self.keys['weight']]), 'a weight in the MLP is')
            if weight.ndim != 2:
                raise Malformed(f'a weight in the MLP has shape {weight.shape}')
            shape = weight.shape[::-1] if self.transposed else weight.shape
        return Linear(self.session, ref, self.cls, self.keys, self.transposed, shape)
