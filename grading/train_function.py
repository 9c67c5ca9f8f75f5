"""The function train of the training scripts.

It runs on a tiny data set with ten classes that a network learns in a few steps. In the first pass half of the labels
are right, in the second all are, then they are shifted by one, and in the fourth by two. So the model is best after the
second epoch, and bad after the last one. In the test set most labels are shifted by one: there the third model is best,
which is neither the worst on the validation set nor the last that has something right there.
"""

import functools

import numpy as np

from grading.diagnosis import attempt
from grading.findings import INCORRECT
from grading.interface import Malformed

PART = 'training'
ARGUMENTS = {'hidden_dims': [16], 'lr': 0.5, 'use_batch_norm': False, 'batch_size': 20, 'epochs': 4, 'seed': 7,
             'data_dir': 'data'}
OTHER = {'hidden_dims': [12, 8], 'lr': 1e-12}  # with this learning rate nothing is learned
CLASSES, VALIDATION, TEST = 10, 50, 45


def data(rng):
    """Images (S, 3, 32, 32) and labels by split; those of train for each pass."""
    prototypes = rng.normal(size=(CLASSES, 3, 32, 32)) * 0.15
    images, labels = {}, {}
    for split, count in (('train', 200), ('validation', VALIDATION), ('test', TEST)):
        right = np.arange(count) % CLASSES
        images[split] = (prototypes[right] + 0.02 * rng.normal(size=(count, 3, 32, 32))).astype(np.float32)
        by_one, by_two = (right + 1) % CLASSES, (right + 2) % CLASSES
        mixed = np.select([right == 8, np.isin(right, [7, 9])], [by_two, by_one], right)
        labels[split] = {'train': [right % 5, right, by_one, by_two], 'validation': [mixed],
                         'test': [np.where(right < 3, right, by_one)]}[split]
    return images, labels


def other_arguments(names):
    return Malformed(f'takes other arguments: {", ".join(names)}' if names else 'takes no arguments, so it was not tried')


def wrong_accuracies(context, script):
    """The causes of errors in the accuracies of a script, except those of an accuracy that its train does not get here."""
    causes = {'accuracy', 'mean of batches', 'evaluate_model'} - ({'accuracy'} if script in context.wrong_accuracy else set())
    return causes & {finding.cause for finding in context.errors(PART) if finding.place.file == f'{script}.py'}


def judge_train(context, script, torch_kind, images, labels):
    parameters = [(name, has_default) for name, kind, has_default in context.session.signature(script, 'train')
                  if not kind.startswith('VAR')]
    arguments = {name: ARGUMENTS[name] for name, _ in parameters if name in ARGUMENTS}
    if not {'hidden_dims', 'lr', 'batch_size', 'epochs'} <= set(arguments) or any(
            not has_default and name not in arguments for name, has_default in parameters):
        raise other_arguments([name for name, _ in parameters])
    shown = {split: images[split] for split in ('validation', 'test')}

    def ask(**changes):
        return context.session.ask('train', args=[script, {**arguments, **changes}, shown, torch_kind,
                                                  script not in context.wrong_accuracy], timeout=60)

    answer = ask()
    subject, place_in = f'In {script}.py train', functools.partial(context.sources[script].place_in, 'train')
    validation, outputs = np.array(answer['validation']), {split: np.asarray(out) for split, out in answer['outputs'].items()}
    if len(validation) != ARGUMENTS['epochs']:
        return context.incorrect(PART, f'{subject} gives val_accuracies of length {len(validation)} after '
                                       f'{ARGUMENTS["epochs"]} epochs: it should have one for each.',
                                 cause='validation accuracies', place=place_in(r'append|return'))
    if not 0 <= validation.min() <= validation.max() <= 1:
        raise Malformed(f'gives validation accuracies {validation.round(3).tolist()}, which are not from 0 to 1')
    before, mlp = len(context.errors(PART)), 'PyTorch MLP' if torch_kind else 'NumPy MLP'
    because = f'because the {mlp} is incorrect' * (context.findings.verdict('pytorch' if torch_kind else 'mlp') == INCORRECT)
    if outputs['test'].shape[1:] != (CLASSES,) and because:
        raise Malformed(f'cannot be judged {because}')
    if outputs['test'].shape[1:] != (CLASSES,):
        return context.incorrect(PART, f'{subject} returns a model whose outputs have shape {outputs["test"].shape} for '
                                       f'{TEST} images: there are {CLASSES} classes.', cause='classes', place=place_in(r'MLP\('))
    adds_up = answer['added'] and (torch_kind or context.gradients_add_up)  # others replace those of the batch before
    _facts(context, subject, place_in, answer, because, adds_up)
    unseen = None
    known = not {'accuracy', 'evaluate_model'} & wrong_accuracies(context, script)
    if known and answer['largest'] and answer['steady'] and not answer['trained_on']:
        found = {split: float((out.argmax(axis=1) == labels[split][0]).mean()) for split, out in outputs.items()}
        unseen = attempt(lambda: _model(context, script, place_in, validation, answer, found))
    reads_validation = not answer['reads'] or 'validation' in [split for split, _ in answer['reads']]
    if isinstance(unseen, Exception) and not reads_validation:
        context.incorrect(PART, f'{subject} never goes through the loader of the validation set.', cause='validation data',
                          place=place_in(r'evaluate_model\(|append'))
    _settings(context, subject, place_in, ask, answer, arguments)
    if not answer['steady']:
        unseen = Malformed('returns a model whose outputs for an image depend on other images, or differ from call to call: '
                           'which model it is cannot be seen')
    if (isinstance(unseen, Exception) or because and not answer['largest']) and len(context.errors(PART)) == before:
        raise Malformed(f'cannot be judged {because}') if because else unseen


def _facts(context, subject, place_in, answer, mlp_is_incorrect, adds_up):
    """Report what was noted while train ran (see worker/watch.py)."""
    def incorrect(text, cause, pattern):
        context.incorrect(PART, f'{subject} {text}.', cause=cause, place=place_in(pattern))

    for split in answer['trained_on']:
        incorrect(f'trains on the {split} set', 'training data', r'for .* in ')
    if not answer['largest'] and not mlp_is_incorrect:
        return incorrect('changes no parameter of the MLP that it makes', 'no update', r'-=|step\(|params')
    if answer['unchanged'] and not mlp_is_incorrect:
        incorrect(f'never changes {", ".join(answer["unchanged"][:4])}', 'no update', r'-=|step\(|params')
    if adds_up:
        incorrect('lets gradients of different batches add up: they are not set to zero before each backward',
                  'gradients add up', r'backward\(')
    steps, lr = np.array(answer['steps']), ARGUMENTS['lr']  # NaN where a step is no multiple of the gradient
    start = steps[:3]  # before lr may change, and before numbers may overflow
    if len(start) and not steps.any():
        incorrect('updates the parameters before backward, with the gradients of the batch before', 'no update', r'-=|params')
    elif len(start) and (steps == 0).mean() > 0.5:
        incorrect(f'changes the parameters after {(steps != 0).sum()} of {len(steps)} batches only', 'no update', r'-=|params')
    elif (len(start) and np.ptp(start) < 1e-3 * abs(start[0]) and abs(start[0] - lr) > 1e-3 * lr
          and not context.errors('cross_entropy')):  # the step may make up for its sign or its 1/S
        incorrect(f'takes steps of {start[0]:.3g} times the gradient, although lr is {lr}', 'step size', r'-=|params')


def _model(context, script, place_in, validation, answer, found):
    """Does train return the best model, and the accuracies of its epochs on the validation set and of it on the test set?

    validation: the accuracies that it returns; found: those of the model that it returns, by split.
    """
    # The script's own accuracies are those of its evaluate_model. If that is incorrect, only a large difference counts.
    wrong, best, subject, test = wrong_accuracies(context, script), validation.max(), f'In {script}.py train', answer['test']
    tolerance = 0.2 if wrong else 0.011

    def near(one, other):
        return abs(one - other) < tolerance  # False for NaN

    accuracies = f'validation accuracies {validation.round(3).tolist()}'
    shown_best = f'the model that it returns has {found["validation"]:.3g}'
    counts = {'validation': VALIDATION, 'test': TEST}
    together = sum(found[split] * count for split, count in counts.items()) / sum(counts.values())
    for words, value in (('the test set', found['test']), ('the validation and the test set together', together)):
        if not wrong and near(best, value) and not near(best, found['validation']):
            return context.incorrect(PART, f'{subject} gives {accuracies}, which are those on {words}: on the validation set '
                                           f'of this test, {shown_best}.', cause='validation on the test set',
                                     place=place_in(r'evaluate_model\(.*test', first=True))
    if near(best, validation[-1]):
        raise Malformed(f'gives {accuracies}: which of the models it returns cannot be seen')
    if not near(best, found['validation']):
        reads_test = any(split == 'test' and trained < answer['trained'] for split, trained in answer['reads'])
        chosen = ('the best on the test set, not on the validation set' if reads_test and found['test'] > 0.5 else
                  'the last model, not the best' if near(found['validation'], validation[-1]) else
                  'the first model, not the best' if near(found['validation'], validation[0]) else
                  'another model than the best')
        epoch = int(validation.argmax()) + 1
        copies = near(test, found['test']) and not context.sources[script].mentions('deepcopy')
        advice, pattern = (('A copy of the best one is needed: copy.deepcopy.', r'best.*[^=]=[^=].*model') if copies else
                           (f'It should be a copy of the model after epoch {epoch}.', 'best|copy|return'))
        other = '' if near(test, found['test']) else f' The test accuracy, {test:.3g}, is of another model.'
        context.incorrect(PART, f'{subject} returns {chosen}. On the small data set of this test, epoch {epoch} is the best: '
                                f'train gives {accuracies}, and {shown_best}. {advice}{other}', cause='not the best model',
                          place=place_in(pattern))
    elif not near(test, found['test']):
        of = ('as test accuracy the one on the validation set' if near(test, found['validation']) else
              'the test accuracy of another model')
        context.incorrect(PART, f'{subject} gives {of}: on the small data set of this test {test:.3g}, and the model that '
                                f'it returns has {found["test"]:.3g} on the test set.', cause='test accuracy',
                          place=place_in(r'evaluate_model\(.*test|\btest\w* = '))


def _settings(context, subject, place_in, ask, first, arguments):
    """Does train use its arguments? Asked with others; first: the answer with the usual ones."""
    def incorrect(text, cause, pattern):
        context.incorrect(PART, f'{subject} {text}', cause=cause, place=place_in(pattern))

    if first['batch_sizes'] and ARGUMENTS['batch_size'] not in first['batch_sizes']:
        incorrect(f'does not use its batch_size: with {ARGUMENTS["batch_size"]} it asks for batches of '
                  f'{first["batch_sizes"][0]}.', 'argument not used', r'get_dataloader|batch_size')
    answer, settings = attempt(lambda: ask(**OTHER)), []
    if not isinstance(answer, Exception):  # some have no best model if nothing was right
        validation, made = answer['validation'], answer['made']
        settings.append(('hidden_dims', OTHER['hidden_dims'], made))
        if answer['largest'] > 1e-6 and 'step size' not in [finding.cause for finding in context.errors(PART)]:
            incorrect(f'takes another learning rate than its lr: with lr = {OTHER["lr"]:g}, too, parameters change by up to '
                      f'{answer["largest"]:.2g}.', 'argument not used', r'\blr\b|learning_rate|SGD|Adam|0\.\d|1e-')
        elif len(made) >= len(validation) and len(set(validation)) > 1:
            incorrect(f'makes a new MLP in each epoch: with lr = {OTHER["lr"]:g}, which learns nothing, the accuracies differ '
                      f'(validation accuracies {np.round(validation, 3).tolist()}).', 'new model in each epoch', r'MLP\(')
    again = attempt(lambda: ask(epochs=1))
    if 'seed' in arguments and not isinstance(again, Exception) and abs(again['start'] - first['start']) > 1e-6:
        incorrect('does not use its seed: with the same seed the MLP starts with other weights.', 'argument not used',
                  r'seed|MLP\(')
    if 'use_batch_norm' in arguments:
        answer = ask(use_batch_norm=True, epochs=2)
        settings.append(('use_batch_norm', True, answer['made']))
        if 'evaluated in training mode' in answer['modes']:
            incorrect('measures accuracies in training mode, in which batch normalization takes the statistics of the batch: '
                      'model.eval() is missing.', 'evaluation mode', r'evaluate_model\(')
        if 'trained in evaluation mode' in answer['modes']:
            incorrect('trains in evaluation mode, in which batch normalization does not use the statistics of the batch: '
                      'model.train() is missing at the beginning of each epoch.', 'training mode', r'for .* in |\.train\(')
    for name, value, made in settings:
        if made and (made == first['made'] or not any(_begins(given, value) for arguments in made for given in arguments)):
            words = 'whatever it is,' if made == first['made'] else f'with {name} = {value}'
            incorrect(f'does not use its {name}: {words} it makes MLP({", ".join(map(str, made[0])):.60}).',
                      'argument not used', r'MLP\(')


def _begins(given, value):
    """Is an argument a value of ours, or a list that begins with it?"""
    return given[:len(value)] == value if isinstance(value, list) and isinstance(given, list) else given is value
