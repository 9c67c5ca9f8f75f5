"""The results file of the batch-normalization study: read, checked run by run, and never mixed."""

from experiments import batch_norm_runs, study
from experiments.run_checks import check, is_list_of, is_number, is_seed, is_share, is_truth, is_whole


def load_results(results_filename, settings=None):
    """The results in the file, or empty ones where there is no file. Raises experiments.study.ResultsError.

    settings: what the file must have been made with; default: whatever it was.
    """
    wanted = {**(settings or batch_norm_runs.SETTINGS), 'nets': batch_norm_runs.NETS}
    results = study.read_results(results_filename, batch_norm_runs.KINDS, check_run, check_config)
    if results is None:
        return {'config': wanted, **{kind: [] for kind in batch_norm_runs.KINDS}}
    study.refuse_other_settings(results_filename, results['config'],
                                wanted if settings else {'nets': batch_norm_runs.NETS})
    return results


def check_config(config):
    """Raise ValueError for what can't be the settings that all runs share."""
    check(config, 'lr', lambda lr: is_number(lr) and lr > 0)
    for name in ('batch_size', 'epochs'):
        check(config, name, lambda value: is_whole(value, 1))


def check_run(run):
    """Raise ValueError for what can't be a run: wrong types, missing epochs, numbers out of their range."""
    check_config(run)
    check(run, 'hidden_dims', lambda dims: is_list_of(dims, lambda width: is_whole(width, 1)) and dims)
    check(run, 'use_batch_norm', is_truth)
    check(run, 'seed', is_seed)
    if 'group_size' in run:
        check(run, 'group_size', lambda value: is_whole(value, 2))
    if 'diverged' in run:
        check(run, 'diverged', lambda text: isinstance(text, str))
    else:
        _check_course(run, run['epochs'], len(run['hidden_dims']))


def _check_course(run, epochs, layers):
    """The same for what was measured epoch by epoch."""
    for name in ('train_accuracy', 'val_accuracy', 'measured_train_accuracy'):
        check(run, name, lambda values: is_list_of(values, is_share, epochs))
    check(run, 'train_loss', lambda values: is_list_of(values, is_number, epochs))
    check(run, 'best_epoch', lambda epoch: is_whole(epoch, 1, epochs))
    check(run, 'test_accuracy', is_share)
    check(run, 'activation_spread', lambda values: is_list_of(
        values, lambda spread: is_list_of(spread, is_number, layers), epochs))
    check(run, 'loss_along_gradient', lambda moments: is_list_of(
        moments, lambda moment: isinstance(moment, dict) and is_whole(moment.get('epoch'), 0, epochs)
        and is_list_of(moment.get('losses'), lambda loss: loss is None or is_number(loss),
                       len(batch_norm_runs.MULTIPLES))))
