"""The list of runs of the batch-normalization study. experiments/batch_norm_training.py trains one.

The six configurations are the assignment's (Q2.2). The controls each change one thing of them:
    start_runs          data-dependent initialization without batch normalization, and the initialization scaled by a factor
    group_runs          ghost batch normalization: the statistics of a quarter or an eighth of each batch
    learning_rate_runs  other learning rates: the smallest ones and the best one of each network on all seeds, the others on one
"""

from experiments import study
from training.settings import net_name

NETS = [[128], [256, 128], [512, 256, 128]]
SETTINGS = {'lr': 0.1, 'batch_size': 128, 'epochs': 20}
KINDS = ['runs', 'start_runs', 'group_runs', 'learning_rate_runs']
# The controls.
GROUPS = [4, 8]  # into how many groups a batch is cut, each with its own statistics
SCALES = [0.1, 10]  # of the initial weights
SCALE_SEEDS = 3  # how many of the seeds have runs with scaled weights: the effect is many times the spread over seeds
LEARNING_RATES = [0.003, 0.01, 0.03, 0.3, 1, 3]  # in addition to the rate of SETTINGS
SMALL_RATES = [0.003, 0.01]  # on all seeds
SELECTION_SEED = 42  # on whose validation accuracy each network's learning rate is chosen
# The measurements.
SPREAD_IMAGES = 1000  # validation images on which the spread of the activations is measured
SAMPLE_IMAGES = 5000  # training images on which the accuracy is measured as it is on the validation set
GRADIENT_BATCHES = 8
MULTIPLES = [0, 0.25, 0.5, 1, 2, 4, 8]  # of the learning rate: how far to go along the gradient

# The JSON of a run, for study.fits. A loss along the gradient that is not finite is null.
RUN = {'hidden_dims': [int], 'use_batch_norm': bool, 'seed': int, 'lr': float, 'batch_size': int, 'epochs': int}
CONTROLS = {'start_runs': {'start': (str, float)}, 'group_runs': {'group_size': int}}  # the settings that only runs of one kind have
PER_EPOCH = {'train_loss': [float], 'train_accuracy': [float], 'val_accuracy': [float], 'measured_train_accuracy': [float],
             'activation_spread': [[float]]}
MEASURED = {**PER_EPOCH, 'best_epoch': int, 'test_accuracy': float,
            'loss_along_gradient': [{'epoch': int, 'losses': [(float, type(None))]}]}


def load_results(results_filename, settings=None):
    """The results in the file, or empty ones if there is no file. Raises experiments.study.ResultsError.

    settings: what the file must have been made with; default: whatever it was.
    """
    empty = {'config': {**(settings or SETTINGS), 'nets': NETS}, **{kind: [] for kind in KINDS}}
    return study.load_results(results_filename, empty, check_runs, {**(settings or {}), 'nets': NETS})


def check_runs(results):
    """Raise ValueError for a run that the study cannot have written."""
    def lengths(run):
        return (all(len(run[name]) == run['epochs'] for name in PER_EPOCH)
                and all(len(spread) == len(run['hidden_dims']) for spread in run['activation_spread'])
                and all(len(moment['losses']) == len(MULTIPLES) for moment in run['loss_along_gradient']))

    for kind in KINDS:
        own = CONTROLS.get(kind, {})
        absent = {name for controls in CONTROLS.values() for name in controls} - own.keys()
        study.check_runs(kind, results[kind], {**RUN, **own}, MEASURED, lengths, absent)


def described(run):
    """The settings of a run in words."""
    words = [f'hidden layers {net_name(run["hidden_dims"])}', f'{"with" if run["use_batch_norm"] else "without"} batch normalization',
             f'learning rate {run["lr"]:g}', f'seed {run["seed"]}']
    if 'start' in run:
        words.append('data-dependent initialization' if run['start'] == 'normalized' else f'initial weights times {run["start"]:g}')
    if 'group_size' in run:
        words.append(f'groups of {run["group_size"]}')
    return ', '.join(words)


def planned_runs(seeds, settings):
    """The six configurations of the assignment for every seed."""
    return [{'hidden_dims': hidden_dims, 'use_batch_norm': use_batch_norm, 'seed': seed, **settings}
            for seed in seeds for hidden_dims in NETS for use_batch_norm in (False, True)]


def planned_starts(seed, settings):
    """Data-dependent initialization without batch normalization, as pairs of their kind and a run."""
    return [('start_runs', {'hidden_dims': net, 'use_batch_norm': False, 'seed': seed, **settings, 'start': 'normalized'})
            for net in NETS]


def planned_groups(seed, settings):
    """Ghost batch normalization."""
    return [('group_runs', {'hidden_dims': net, 'use_batch_norm': True, 'seed': seed, **settings,
                            'group_size': settings['batch_size'] // number}) for net in NETS for number in GROUPS]


def planned_scales(seed, settings):
    """The initial weights times a factor, with and without batch normalization."""
    return [('start_runs', {**run, 'start': scale}) for run in planned_runs([seed], settings) for scale in SCALES]


def planned_small_rates(seed, settings):
    """The smallest learning rates, with and without batch normalization."""
    return [('learning_rate_runs', {**run, 'lr': lr}) for lr in SMALL_RATES for run in planned_runs([seed], settings)]


def planned_rates(seed, settings, results):
    """Each network's best learning rate; on the selection seed, the rates next to the best one so far.

    These can make another rate the best, so ask again when they are trained.
    """
    runs = []
    for run in planned_runs([seed], settings):
        best = best_rate(results, run['hidden_dims'], run['use_batch_norm'])
        if best is None:
            continue
        ordered = sorted({*LEARNING_RATES, settings['lr'], best})
        place = ordered.index(best)
        rates = [best] if seed != SELECTION_SEED else ordered[max(place - 1, 0):place + 2]
        runs += [('learning_rate_runs', {**run, 'lr': lr}) for lr in rates if lr != settings['lr']]
    return runs


def best_rate(results, hidden_dims, use_batch_norm):
    """The learning rate whose best validation accuracy is highest on the selection seed; None if none is known."""
    reached = {run['lr']: max(run['val_accuracy']) for run in results['runs'] + results['learning_rate_runs']
               if run['seed'] == SELECTION_SEED and run['hidden_dims'] == list(hidden_dims)
               and run['use_batch_norm'] == use_batch_norm and 'diverged' not in run}
    return max(sorted(reached), key=reached.get, default=None)
