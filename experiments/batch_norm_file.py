"""The results file of the batch-normalization study: read, checked run by run, and never mixed."""

from experiments import batch_norm_runs, study

LARGEST = 1e300  # of any number in a run: JSON has whole numbers that no float can hold


def load_results(results_filename, settings=None):
    """The results in the file, or empty ones where there is no file. Raises experiments.study.ResultsError.

    settings: what the file must have been made with; default: whatever it was.
    """
    wanted = {**(settings or batch_norm_runs.SETTINGS), 'nets': batch_norm_runs.NETS}
    results = study.read_results(results_filename, batch_norm_runs.KINDS, check_run)
    if results is None:
        return {'config': wanted, **{kind: [] for kind in batch_norm_runs.KINDS}}
    study.check_config(results_filename, results['config'], wanted if settings else {})
    return results


def check_run(run):
    """Raise ValueError for what can't be a run: wrong types, missing epochs, numbers out of their range."""
    if not isinstance(run, dict):
        raise ValueError('a run is no object')
    _check(run, 'hidden_dims', lambda dims: _list_of(dims, lambda n: _whole(n, 1)) and dims)
    _check(run, 'use_batch_norm', lambda value: isinstance(value, bool))
    _check(run, 'seed', lambda seed: _whole(seed, 0, 2**32 - 1))
    _check(run, 'lr', lambda lr: _number(lr) and lr > 0)
    for name in ('batch_size', 'epochs'):
        _check(run, name, lambda value: _whole(value, 1))
    if 'group_size' in run:
        _check(run, 'group_size', lambda value: _whole(value, 2))
    if 'diverged' in run:
        return _check(run, 'diverged', lambda text: isinstance(text, str))
    _check_course(run)


def _check_course(run):
    """The same for what was measured epoch by epoch."""
    epochs, layers = run['epochs'], len(run['hidden_dims'])
    for name in ('train_accuracy', 'val_accuracy', 'measured_train_accuracy'):
        _check(run, name, lambda values: _list_of(values, _share, epochs))
    _check(run, 'train_loss', lambda values: _list_of(values, _number, epochs))
    _check(run, 'best_epoch', lambda epoch: _whole(epoch, 1, epochs))
    _check(run, 'test_accuracy', _share)
    _check(run, 'activation_spread', lambda values: _list_of(
        values, lambda spread: _list_of(spread, _number, layers), epochs))
    _check(run, 'loss_along_gradient', lambda moments: _list_of(
        moments, lambda moment: isinstance(moment, dict) and _whole(moment.get('epoch'), 0, epochs)
        and _list_of(moment.get('losses'), lambda loss: loss is None or _number(loss),
                     len(batch_norm_runs.MULTIPLES))))


def _check(run, name, test):
    if name not in run:
        raise ValueError(f'a run lacks {name}')
    if not test(run[name]):
        raise ValueError(f'a run has no possible {name}')


def _list_of(values, test, length=None):
    return isinstance(values, list) and length in (None, len(values)) and all(map(test, values))


def _whole(value, lowest, highest=LARGEST):
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest


def _number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST


def _share(value):
    return _number(value) and 0 <= value <= 1
