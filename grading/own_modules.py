"""The network that the solution's own modules make when they are assembled rightly, or with backward in a wrong way."""

import numpy as np

from grading.causes import close
from grading.diagnosis import attempt
from grading.interface import Linear, RemoteObject
from grading.nets import build

WRONG_WAYS = {  # of backward, tried with the modules of the solution: do they raise the same?
    'order of backward': 'begins with the first linear layer: it takes the modules in the order of forward, not in reverse',
    'result not passed on': 'does not pass on what a module returns: the one before it gets the same argument',
    'forward in backward': 'calls forward of the modules instead of backward',
}


def steps_to_failure(cases):
    """The inputs of each step of the network, up to the first that fails."""
    steps = {}
    for case in cases:
        steps[case.inputs['samples']] = case.inputs
        if case.failed:
            break
    return list(steps.values())


def goes_this_way(context, net, cases, way):
    """Does backward of the network raise what it raises in one of WRONG_WAYS, and leave the same gradients behind?"""
    steps = list({case.inputs['samples']: case.inputs for case in cases}.values())
    _, (result, *_), linears = own_modules(context, steps, way)
    return isinstance(result, Exception) and str(result) == str(cases[-1].actual) and all(
        same(*(attempt(lambda linear=linear: linear.gradient('weight')) for linear in pair)) for pair in zip(linears, net.linears))


def own_modules(context, steps, way=''):
    """(probabilities, gradients, linear modules) of the solution's own modules, assembled rightly, after these steps.

    way: one of WRONG_WAYS that backward takes, or ''.
    """
    parameters = 2 * len(steps[0]['net'].weights)
    modules = attempt(lambda: _put_together(context, steps[0]['net']))
    if isinstance(modules, Exception):
        return modules, [modules] * parameters, []
    linears = [module for module in modules if isinstance(module, Linear)]

    def forward(inputs, is_new):
        for linear, W, b in zip(linears, inputs['net'].weights, inputs['net'].biases):
            if is_new:
                linear.set_parameters(W, b)
            if context.gradients_add_up:
                linear.zero_gradients()
        out = inputs['x']
        for module in modules[:-1]:
            out = module.call('forward', out)
        return modules[-1].array('forward', out)

    def backward(d):
        for module in modules if way == 'order of backward' else reversed(modules):
            after = module.call('forward' if way == 'forward in backward' else 'backward', d)
            d = d if way == 'result not passed on' else after

    for before, inputs in zip([None, *steps], steps):
        is_new = not before or before['net'] is not inputs['net']
        y = result = attempt(lambda inputs=inputs, is_new=is_new: forward(inputs, is_new))
        if not isinstance(y, Exception):
            result = attempt(lambda inputs=inputs: backward(inputs['D']))
    if isinstance(result, Exception):
        return y, [result] * parameters, linears
    return y, [attempt(lambda: linear.gradient(name)) for linear in linears for name in ('weight', 'bias')], linears


def _put_together(context, reference):
    """Linear modules of the sizes of a reference, the activations of a new network between them, and a softmax."""
    session, modules = context.session, []
    net = build(context, [len(b) for b in reference.biases[:-1]])
    for layer, W in enumerate(reference.weights):
        if layer and net.activations:
            of_the_net = net.activations[layer - 1:layer]  # with the parameter that it has there; none where they share
            modules.append(RemoteObject(session, *of_the_net[0]) if of_the_net else
                           context.activations[net.activations[0][1]].make(session, reference.value))
        first = (layer == 0,) if context.linear.has_input_layer else ()
        modules.append(context.linear.make(W.shape[1], W.shape[0], *first))
    return [*modules, session.new('modules', 'SoftMaxModule', [])]


def same(one, other):
    if isinstance(one, Exception) or isinstance(other, Exception):
        return type(one) is type(other) and one.place == other.place
    if not np.isfinite(one).all():
        return np.array_equal(one, other, equal_nan=True)
    return close(other, one)
