"""The runs of the batch-normalization study: which there are. experiments/batch_norm_training.py trains one.

The six configurations are the assignment's (Q2.2). The controls each change one thing of them:
    start_runs          no batch normalization, but a start at which the first batch comes out normalized
    group_runs          batch normalization with the statistics of a half, a quarter, … of each batch
    learning_rate_runs  other learning rates; on the first seed several, on the others the best one of each net
"""

from experiments import study

NETS = [[128], [256, 128], [512, 256, 128]]
SETTINGS = {'lr': 0.1, 'batch_size': 128, 'epochs': 20}
KINDS = ['runs', 'start_runs', 'group_runs', 'learning_rate_runs']
# The controls.
CONTROL_NET = 0  # of NETS: the smallest, for the controls that are not made on all; there the advantage is the largest
GROUPS = [4, 8]  # into how many groups a batch is cut, each with its own statistics
LEARNING_RATES = [0.003, 0.01, 0.03, 0.3]  # beside that of SETTINGS
SELECTION_SEED = 42  # on whose validation accuracy each net's learning rate is chosen
# The measurements.
SPREAD_IMAGES = 1000  # validation images on which the spread of the activations is measured
SAMPLE_IMAGES = 5000  # training images on which the accuracy is measured as it is on the validation set
GRADIENT_BATCHES = 8
MULTIPLES = [0, 0.25, 0.5, 1, 2, 4, 8]  # of the learning rate: how far to go along the gradient


MEASURED = {'train_loss', 'train_accuracy', 'val_accuracy', 'measured_train_accuracy', 'best_epoch', 'test_accuracy',
            'activation_spread', 'loss_along_gradient'}  # of a run, by batch_norm_training.train_one


def load_results(results_filename, settings=None):
    """The results in the file, or empty ones where there is no file. Raises experiments.study.ResultsError.

    settings: what the file must have been made with; default: whatever it was.
    """
    empty = {'config': {**(settings or SETTINGS), 'nets': NETS}, **{kind: [] for kind in KINDS}}
    names = MEASURED | {'hidden_dims', 'use_batch_norm', 'seed', *SETTINGS}
    return study.load_results(results_filename, empty, names, {**(settings or {}), 'nets': NETS})


def planned_runs(seeds, settings):
    """The six configurations of the assignment for every seed."""
    return [{'hidden_dims': hidden_dims, 'use_batch_norm': use_batch_norm, 'seed': seed, **settings}
            for seed in seeds for hidden_dims in NETS for use_batch_norm in (False, True)]


def planned_controls(seed, settings):
    """The controls of one seed but for the learning rates, as pairs of their kind and a run.

    Of the larger nets that are normalized at their start one epoch is trained, for the loss along the gradient.
    """
    starts = [('start_runs', {'hidden_dims': net, 'use_batch_norm': False, 'seed': seed, **settings,
                              'epochs': settings['epochs'] if i == CONTROL_NET else 1, 'start': 'normalized'})
              for i, net in enumerate(NETS)]
    groups = [('group_runs', {'hidden_dims': NETS[CONTROL_NET], 'use_batch_norm': True, 'seed': seed, **settings,
                              'group_size': settings['batch_size'] // number}) for number in GROUPS]
    return starts + groups


def planned_rates(net, seed, settings, results):
    """The runs of one net and seed at other learning rates, with and without batch normalization.

    On the selection seed all rates of the smallest net, and of a larger one the neighbours of its best rate
    so far: which may make another one the best, so ask again when they are trained. On other seeds the best.
    """
    runs = []
    for run in planned_runs([seed], settings):
        if run['hidden_dims'] == net:
            best = best_rate(results, net, run['use_batch_norm'])
            if seed != SELECTION_SEED:
                rates = [best]
            elif net == NETS[CONTROL_NET] or best is None:
                rates = LEARNING_RATES
            else:
                rates = _neighbours(best, sorted({*LEARNING_RATES, settings['lr'], best}))
            runs += [('learning_rate_runs', {**run, 'lr': lr}) for lr in rates if lr not in (settings['lr'], None)]
    return runs


def _neighbours(value, ordered):
    place = ordered.index(value)
    return ordered[max(place - 1, 0):place] + ordered[place + 1:place + 2]


def best_rate(results, hidden_dims, use_batch_norm):
    """The learning rate whose best validation accuracy is highest on the selection seed; None where none is known."""
    reached = {run['lr']: max(run['val_accuracy']) for run in results['runs'] + results['learning_rate_runs']
               if run['seed'] == SELECTION_SEED and run['hidden_dims'] == list(hidden_dims)
               and run['use_batch_norm'] == use_batch_norm and 'diverged' not in run}
    return max(sorted(reached), key=reached.get, default=None)
