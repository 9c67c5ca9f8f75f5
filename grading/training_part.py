"""The training scripts: accuracy, evaluate_model, and the model that train returns. What can't be called isn't judged.

train runs on a tiny data set: ten classes that a step or two tell apart, and labels that are shifted by one from the
second pass on, so that the model is best after the first epoch and the last one is bad.
"""

import ast

import numpy as np

from grading.interface import Malformed, as_array
from grading.remote import Failed, Gone
from grading.source import is_stub
from grading.telling import attempt

PART = 'training'
SCRIPTS = {'train_mlp_numpy': False, 'train_mlp_pytorch': True}  # does it work on tensors?
ARGUMENTS = {'hidden_dims': [16], 'lr': 0.1, 'use_batch_norm': False, 'batch_size': 20, 'epochs': 3, 'seed': 1,
             'data_dir': 'data'}
CLASSES = 10


def judge(context, sources, has_torch):
    judged, reasons = [], []
    if not any(sources[script].exists for script in SCRIPTS):
        return context.skip(PART, 'missing', 'no training script')
    stubs = 0
    for script, torch_kind in SCRIPTS.items():
        source = sources[script]
        if not source.exists:
            continue
        if _is_stub(source):
            stubs += 1
            continue
        if source.problem or torch_kind and not has_torch:
            reasons.append(source.problem or f'{script}: PyTorch is not installed here')
            continue
        try:
            _judge_script(context, source, script, torch_kind, judged, reasons)
        except (Gone, Failed, Malformed) as error:
            reasons.append(f'{script}.py: {error}')
            context.session.restart()
    if not judged and not context.findings.of(PART, 'wrong'):
        if stubs and not reasons:
            return context.skip(PART, 'stub')
        return context.skip(PART, 'not judged', '; '.join(reasons))
    for reason in reasons:
        context.remark(PART, f'Not judged: {reason}.', cause='not judged')


def _is_stub(source):
    functions = [source.function(name) for name in ('train', 'evaluate_model', 'accuracy')]
    return any(functions) and all(function is None or is_stub(function) or _returns_unset(function)
                                  for function in functions)


def _returns_unset(function):
    """The course's own skeleton of train: seeds, loads the data, and returns names that it never sets."""
    nodes = list(ast.walk(function))
    if any(isinstance(node, ast.For) for node in nodes):
        return False
    names = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    returned = [name.id for node in nodes if isinstance(node, ast.Return) and node.value
                for name in ast.walk(node.value) if isinstance(name, ast.Name)]
    return any(name not in names for name in returned) or any(
        isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and node.value.value is ...
        for node in nodes)


def _judge_script(context, source, script, torch_kind, judged, reasons):
    session = context.session
    session.restart()
    images, labels = data(np.random.default_rng(5))
    session.ask('use_data', args=[images, labels, torch_kind])
    session.require(script)
    if source.function('accuracy'):
        _accuracy(context, script, torch_kind, judged, reasons)
    if source.function('evaluate_model'):
        _evaluate(context, script, torch_kind, judged, reasons)
    if source.function('train'):
        _train(context, script, torch_kind, images, labels, judged, reasons)


def data(rng):
    """Images (S, 3, 32, 32) and labels by split; the labels of train once for each pass."""
    prototypes = rng.normal(size=(CLASSES, 3, 32, 32)) * 0.15
    images, labels = {}, {}
    for split, count in (('train', 120), ('validation', 50), ('test', 45)):
        right = np.arange(count) % CLASSES
        images[split] = (prototypes[right] + 0.02 * rng.normal(size=(count, 3, 32, 32))).astype(np.float32)
        shifted = (right + 1) % CLASSES
        labels[split] = [right, shifted] if split == 'train' else [right]
    return images, labels


def _accuracy(context, script, torch_kind, judged, reasons):
    predictions = np.eye(4)[[0, 1, 2, 3, 3]] + 0.01
    targets = np.array([0, 1, 2, 0, 1])
    for given in (targets, np.eye(4)[targets]):
        answer = attempt(lambda given=given: as_array(context.session.ask(
            'accuracy', args=[script, predictions.astype(np.float32), given, torch_kind]), 'accuracy returned'))
        if not isinstance(answer, Exception) and answer.size == 1 and abs(float(answer.item()) - 0.6) < 1e-6:
            return judged.append('accuracy')
        if given is targets:
            first = answer
    if isinstance(first, Exception):
        return reasons.append(f'accuracy of {script}.py can not be called: {first}')
    judged.append('accuracy')
    value = first.ravel().tolist()
    context.wrong(PART, f'{script}.accuracy gives {value[0] if len(value) == 1 else value} where 3 of 5 predictions '
                        'are right: it should be 0.6.', cause='accuracy')


def _evaluate(context, script, torch_kind, judged, reasons):
    labels = np.arange(10) % CLASSES
    predictions = np.eye(CLASSES)[labels].astype(np.float32) + 0.01
    predictions[8:] = np.roll(predictions[8:], 3, axis=1)  # the last batch, of two, is all wrong: 8 of 10
    answer = attempt(lambda: context.session.ask('evaluate', args=[script, predictions, labels, 4, torch_kind]))
    result = answer['result'] if isinstance(answer, dict) else answer
    if isinstance(result, np.ndarray) and result.size == 1:
        result = result.item()
    if isinstance(result, bool) or not isinstance(result, (int, float)):
        return reasons.append(f'evaluate_model of {script}.py can not be called: {result}')
    judged.append('evaluate_model')
    if abs(result - 2 / 3) < 1e-4:
        context.wrong(PART, f'{script}.evaluate_model gives the mean of the accuracies of the batches: a last batch '
                            'that is smaller weighs as much as the others (2/3 in place of 8 of 10).',
                            cause='mean of batches')
    elif abs(result - 0.8) > 1e-4:
        context.wrong(PART, f'{script}.evaluate_model gives {result:.4g} where 8 of 10 are right, in batches of 4, 4 '
                            'and 2.', cause='evaluate_model')
    if torch_kind and answer['training']:
        context.departs(PART, f'{script}.evaluate_model does not set evaluation mode: unless train does, batch '
                              'normalization takes the statistics of the batch it is tested on.',
                        cause='evaluation mode')
    elif torch_kind and not answer['after']:
        context.remark(PART, f'{script}.evaluate_model sets evaluation mode and does not restore training mode: train '
                             'has to.', cause='training mode')
    if torch_kind and answer['grad']:
        context.departs(PART, f'{script}.evaluate_model keeps the graph for gradients: torch.no_grad() is missing.',
                        cause='no_grad')


def _train(context, script, torch_kind, images, labels, judged, reasons):
    names = {name: has_default for name, _, has_default in context.session.signature(script, 'train')}
    arguments = {name: value for name, value in ARGUMENTS.items() if name in names}
    if not {'hidden_dims', 'lr', 'batch_size', 'epochs'} <= set(names) or any(
            not has_default and name not in arguments for name, has_default in names.items()):
        return reasons.append(f'train of {script}.py takes other arguments: {", ".join(names) or "none"}')
    shown = {split: images[split] for split in ('validation', 'test')}
    answer = attempt(lambda: context.session.ask('train', args=[script, arguments, shown, torch_kind], timeout=60))
    if isinstance(answer, Exception):
        return reasons.append(f'train of {script}.py can not be called: {answer}')
    validation, test = np.array(answer['validation']), answer['test']
    if len(validation) != ARGUMENTS['epochs']:
        judged.append('train')
        return context.wrong(PART, f'{script}.train gives {len(validation)} validation accuracies for '
                                   f'{ARGUMENTS["epochs"]} epochs.', cause='validation accuracies')
    found = {split: float((np.asarray(out).argmax(axis=1) == labels[split][0]).mean())
             for split, out in answer['outputs'].items()}
    best, last = validation.max(), validation[-1]
    if best - last < 0.1 or not 0 <= validation.min() <= best <= 1:
        return reasons.append(f'the accuracies of {script}.train, {validation.round(3).tolist()}, tell nothing')
    judged.append('train')
    if abs(found['validation'] - best) > 0.011:
        is_last = abs(found['validation'] - last) < 0.011
        words = 'the last model, not the best' if is_last else 'another model than the best'
        text = (f'{script}.train returns {words}: validation accuracies {validation.round(3).tolist()}, that of the '
                f'model it returns {found["validation"]:.3g}.')
        if abs(test - found['test']) > 0.2:  # the test accuracy is of another model, the best by the look of it
            context.departs(PART, f'{text} Its test accuracy, {test:.3g}, is that of another model.',
                            cause='not the best model')
        else:
            context.wrong(PART, f'{text} A copy of the best one is needed: copy.deepcopy.', cause='not the best model')
    elif abs(test - found['test']) > 0.011:
        context.wrong(PART, f'The test accuracy of {script}.train, {test:.3g}, is not that of the model it returns, '
                            f'{found["test"]:.3g}.', cause='test accuracy of another model')
