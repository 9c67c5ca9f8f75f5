"""The training scripts: accuracy, evaluate_model, and train (see train_function.py), if they can be called."""

import ast

import numpy as np

from grading.diagnosis import attempt
from grading.findings import INCORRECT, MISSING, NOT_GRADED, NOT_IMPLEMENTED
from grading.interface import Malformed, describe_value
from grading.remote import NotGradable, SolutionEnded, SolutionError
from grading.source import is_stub
from grading.train_function import CLASSES, PART, data, judge_train, other_arguments, wrong_accuracies

SCRIPTS = {'train_mlp_numpy': False, 'train_mlp_pytorch': True}  # does it work on tensors?
RETURNS = 'it should return', 'val_accuracies should be'  # the beginnings of messages of worker/training.py


def judge(context, sources, has_torch):
    if not any(sources[script].exists for script in SCRIPTS):
        return context.skip(PART, MISSING, 'no training script')
    outcomes = []  # of each function of a script that is begun: '', or why it could not be graded
    absent = []  # scripts and functions that are not there
    for script, torch_kind in SCRIPTS.items():
        source = sources[script]
        functions = {name: source.function(name) for name in JUDGES if source.function(name) or source.imports_name(name)}
        stubs = [name for name, function in functions.items() if function and (is_stub(function) or _returns_unset(function))]
        if 'accuracy' in stubs and 'train' in functions and 'train' not in stubs:
            stubs.remove('accuracy')  # in a script that is written, it is an error
        if source.problem:
            outcomes.append(source.problem)
        elif not source.exists:
            absent.append(f'there is no {script}.py')
        elif not functions:
            outcomes.append(f'{script}.py has none of the functions {", ".join(JUDGES)}')
        elif len(stubs) == len(functions):
            absent.append(f'{script}.py is not implemented')
        elif torch_kind and not has_torch:
            outcomes.append(f'{script}.py: PyTorch is not installed here')
        else:
            _judge_script(context, script, torch_kind, [name for name in functions if name not in stubs], outcomes)
            outcomes += [f'{name} of {script}.py is not implemented' for name in stubs]
            if missing := [name for name in _expected(source) if name not in functions]:
                absent.append(f'{script}.py defines no {" and no ".join(missing)}')
    if not outcomes:
        return context.skip(PART, NOT_IMPLEMENTED)
    reasons = [outcome for outcome in [*outcomes, *absent] if outcome]
    if '' not in outcomes:
        return context.skip(PART, NOT_GRADED, '; '.join(reasons))
    for reason in reasons:
        context.note(PART, f'Not graded: {reason}.', cause='not graded')
    if reasons and not context.errors(PART):  # correct only if all functions were graded
        context.skip(PART, NOT_GRADED, '; '.join(reasons))


def _expected(source):
    """The functions that the edition asks for: one has a confusion matrix, old ones a train without arguments."""
    train = source.function('train')
    if train and not train.args.args:
        return ['train']
    return [name for name in JUDGES if name != 'accuracy' or not source.function('confusion_matrix')]


def _returns_unset(function):
    """The course's own skeleton of train: seeds, loads the data, returns names that it never sets, or sets to ..."""
    nodes = list(ast.walk(function))
    if any(isinstance(node, ast.For) for node in nodes):
        return False
    known = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    known.update(node.arg for node in nodes if isinstance(node, ast.arg))
    values = [node.value for node in nodes if isinstance(node, ast.Return)]
    returned = [item for value in values for item in getattr(value, 'elts', [value])]
    return any(isinstance(item, ast.Name) and item.id not in known for item in returned) or any(
        isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and node.value.value is ...
        for node in nodes)


def _judge_script(context, script, torch_kind, functions, outcomes):
    session, source = context.session, context.sources[script]
    images, labels = data(np.random.default_rng(5))

    def start():
        session.ask('use_data', args=[images, labels, torch_kind])
        session.require(script)

    try:
        start()
        absent = session.ask('missing', module=script)
    except (SolutionError, SolutionEnded, NotGradable) as error:
        context.findings.retry |= not isinstance(error, SolutionError)
        return outcomes.append(f'{script}.py cannot be imported: {error}')
    for name in functions:
        try:
            if name in absent:
                outcomes.append(f'{script}.py imports {absent[name]}, which was not handed in')
                continue
            if session.process.ended:
                start()
            JUDGES[name](context, script, torch_kind, images, labels)
            outcomes.append('')
        except Malformed as error:
            outcomes.append(f'{name} of {script}.py {error}')
        except SolutionError as error:
            missing_name = error.message.partition("'")[2].partition("'")[0]
            if error.kind == 'TypeError' and error.message.startswith(RETURNS):
                context.incorrect(PART, f'In {script}.py {name} returns something else: {error.message}.', cause='returns',
                                  place=source.place_in(name, 'return'))
                outcomes.append('')
            elif error.kind in ('NameError', 'UnboundLocalError') and not source.may_have(missing_name):
                context.incorrect(PART, f'In {script}.py {name} fails: {error}.', cause=f'raises {error.kind}', place=error.place)
                outcomes.append('')
            else:
                broken = name == 'train' and context.findings.verdict('pytorch' if torch_kind else 'mlp') == INCORRECT
                outcomes.append(f'{name} of {script}.py fails: {error}'
                                + f'; the {"PyTorch" if torch_kind else "NumPy"} MLP is incorrect, too' * broken)
        except (SolutionEnded, NotGradable) as error:
            outcomes.append(f'{name} of {script}.py: {error}')
            context.findings.retry = True


def _accuracy(context, script, torch_kind, *_):
    predictions = (0.2 + 0.2 * np.eye(4, dtype=np.float32))[[0, 1, 2, 3, 3]]  # none above 0.5: rounding finds no class
    targets = np.array([0, 1, 2, 0, 1])
    needed = [name for name, kind, has_default in context.session.signature(script, 'accuracy')
              if not has_default and not kind.startswith('VAR')]
    if len(needed) != 2:
        raise other_arguments(needed)
    answers = []

    def right(*arguments):
        answers.append(attempt(lambda: _number(context.session.ask('accuracy', args=[script, *arguments]))))
        return isinstance(answers[-1], float) and abs(answers[-1] - 0.6) < 1e-6

    for tensors in (2, 1, 0) if torch_kind else (0,):
        if right(predictions, targets, tensors) or right(predictions, np.eye(4)[targets], tensors):
            return
    source = context.sources[script]
    for tensors in (2, 0) if torch_kind else (0,):
        if right(predictions.argmax(axis=1), targets, tensors):
            return context.deviates(PART, f'In {script}.py accuracy takes the predicted classes (S,), not the '
                                          'predictions (S, C).', cause='accuracy', place=source.place_in('accuracy', r'=='))
    answer = next((answer for answer in answers if not isinstance(answer, Exception)), answers[0])
    if getattr(answer, 'kind', '') == 'NameError' and source.may_have(answer.message.partition("'")[2].partition("'")[0]):
        raise answer
    shown = (f'{answer:.4g}' if isinstance(answer, float) else
             f'{len(answer)} values' if isinstance(answer, list) else describe_value(answer))
    words = (f'fails: {answer}.' if isinstance(answer, Exception) else
             f'gives {shown} where 3 of 5 predictions are right: it should be 0.6.')
    context.incorrect(PART, f'In {script}.py accuracy {words}', cause='accuracy',
                      place=getattr(answer, 'place', None) or source.place_in('accuracy', r'argmax|==|mean|return'))


def _number(value):
    """A number, or an array of one number, as float; anything else unchanged."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    return float(value) if isinstance(value, (int, float)) else value


def _evaluate(context, script, torch_kind, *_):
    labels = np.arange(CLASSES)
    predictions = 0.09 + 0.1 * np.eye(CLASSES, dtype=np.float32)
    predictions[[5, 9]] = predictions[[9, 5]]  # the batches have 4 of 4, 3 of 4 and 1 of 2

    def ask(own_accuracy=True):
        answer = context.session.ask('evaluate', args=[script, predictions, labels, 4, torch_kind, own_accuracy])
        return answer, _number(answer['result'])

    answer, result = ask()
    if result is None:
        return context.incorrect(PART, f'In {script}.py evaluate_model returns None; it should return the accuracy.',
                                 cause='evaluate_model', place=context.sources[script].place_in('evaluate_model', 'return'))
    if not isinstance(result, float):
        raise Malformed(f'returned {describe_value(result)}, no number')
    if not abs(result - 0.8) < 1e-4 and 'accuracy' in wrong_accuracies(context, script):
        answer, again = ask(own_accuracy=False)
        if again == 0.8:  # only because accuracy is incorrect
            context.wrong_accuracy.add(script)
            result = again
    subject = f'In {script}.py evaluate_model'
    if abs(result - 0.75) < 1e-4:
        context.incorrect(PART, f'{subject} gives the mean of the accuracies of the batches: a last batch that is '
                                'smaller weighs as much as the others (0.75 instead of 0.8).', cause='mean of batches',
                          place=context.sources[script].place_in('evaluate_model', r'mean|/|return'))
    elif not abs(result - 0.8) < 1e-4:  # NaN too
        row_too_many = any(abs(result - right / 11) < 1e-4 for right in (8, 9))
        words = f' It is {result * 11:.0f}/11: one sample too many is counted.' if row_too_many else ''
        context.incorrect(PART, f'{subject} gives {result:.4g} where 8 of 10 are right, in batches of 4, 4 and 2: it '
                                f'should be 0.8.{words}', cause='evaluate_model',
                          place=context.sources[script].place_in(
                              'evaluate_model', r'empty|zeros|ones|= *1$' if row_too_many else r'/|mean|return'))
    if answer['split']:
        context.deviates(PART, f'{subject} takes the dict of the data loaders, of which it evaluates one; it should take '
                               'one data loader.', cause='dict of loaders',
                         place=context.sources[script].place_in('evaluate_model', r'loader\w*\['))
    if not torch_kind:
        return
    called = r'\b(model|net)(\.forward)?\('
    if answer['training']:
        context.deviates(PART, f'{subject} does not set evaluation mode, model.eval(): batch normalization takes the statistics '
                               'of the batch then, unless train sets it.', cause='evaluation mode',
                         place=context.sources[script].place_in('evaluate_model', called))
    elif not answer['after'] and not context.sources[script].calls_method('train'):
        context.note(PART, f'{subject} sets evaluation mode and does not restore training mode: train must call '
                           'model.train() before each epoch.', cause='training mode')
    if answer['grad']:
        context.deviates(PART, f'{subject} keeps the graph for gradients: torch.no_grad() is missing.', cause='no_grad',
                         place=context.sources[script].place_in('evaluate_model', called))


JUDGES = {'accuracy': _accuracy, 'evaluate_model': _evaluate, 'train': judge_train}  # by the function's name
