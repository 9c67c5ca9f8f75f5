"""Runs of the study of batch normalization that nobody has trained: their numbers tell one from any other."""

import random

from experiments import batch_norm_runs

NETS = [[4], [5, 4], [6, 5, 4]]
SETTINGS = {'lr': 0.1, 'batch_size': 64, 'epochs': 4}
MEASURED = (42, 43, 44, 45)


def known_run(hidden_dims, use_batch_norm, seed, **others):
    """A run as it is kept; the accuracies grow, and fall once: some in the last epoch, some in the one before."""
    settings = {'hidden_dims': hidden_dims, 'use_batch_norm': use_batch_norm, 'seed': seed, **SETTINGS, **others}
    draw = random.Random(repr(settings)).uniform
    epochs, layers = settings['epochs'], len(hidden_dims)

    def accuracies(first, step):
        falls = 2 + seed % 2
        return [round(min(first + step * i + draw(0, 0.05) - 0.1 * (i == falls), 1), 4) for i in range(epochs)]

    validation = accuracies(0.33 + 0.05 * use_batch_norm + 0.02 * layers, 0.05)
    return {**settings, 'train_loss': [round(2 - 0.2 * i, 4) for i in range(epochs)],
            'train_accuracy': accuracies(0.42 + 0.06 * use_batch_norm, 0.1), 'val_accuracy': validation,
            'measured_train_accuracy': accuracies(0.5 + 0.05 * use_batch_norm, 0.11),
            'best_epoch': validation.index(max(validation)) + 1,
            'test_accuracy': round(max(validation) - draw(0, 0.03), 4),
            'activation_spread': [[round(1 + layer + use_batch_norm / 2 + 0.1 * epoch + draw(0, 0.1), 4)
                                   for layer in range(layers)] for epoch in range(epochs)],
            'loss_along_gradient': [{'epoch': epoch, 'losses': [round(3 - 0.3 * epoch + multiple + draw(0, 0.3), 4)
                                                                for multiple in batch_norm_runs.MULTIPLES]}
                                    for epoch in dict.fromkeys((0, 1, epochs))],
            'seconds_per_epoch': 0.5, 'environment': {'threads': 1}}


def diverged(run):
    """The run as it is kept when its loss is no longer finite."""
    settings = ('hidden_dims', 'use_batch_norm', 'seed', 'lr', 'batch_size', 'epochs', 'start', 'group_size')
    return {**{key: run[key] for key in settings if key in run}, 'diverged': 'the loss is nan'}


def study_of(runs, start_runs=(), group_runs=(), learning_rate_runs=()):
    """The contents of a results file."""
    return {'config': {**SETTINGS, 'nets': NETS}, 'runs': list(runs), 'start_runs': list(start_runs),
            'group_runs': list(group_runs), 'learning_rate_runs': list(learning_rate_runs)}


def of_one_seed():
    return study_of(known_run(net, use_batch_norm, 42) for net in NETS for use_batch_norm in (False, True))


def with_gaps():
    """Four seeds with the controls, of which some runs have diverged, were not trained, or have no finite loss."""
    lost = [([5, 4], False, 43), ([4], True, 45)]
    untrained = [([6, 5, 4], True, 44)]
    runs = [known_run(net, use_batch_norm, seed) for seed in reversed(MEASURED) for net in NETS
            for use_batch_norm in (False, True) if (net, use_batch_norm, seed) not in untrained]
    runs = [diverged(run) if (run['hidden_dims'], run['use_batch_norm'], run['seed']) in lost else run for run in runs]
    runs[0]['loss_along_gradient'][1]['losses'][-1] = None
    runs[6]['val_accuracy'][1], runs[6]['measured_train_accuracy'][1] = 0.5, 0.6  # just what is to be passed or reached
    starts = [known_run(net, False, seed, start='normalized', epochs=4 if net == [4] else 1)
              for net in NETS for seed in MEASURED[:3]]
    starts[4] = diverged(starts[4])
    groups = [known_run([4], True, seed, group_size=size) for size in (8, 16) for seed in MEASURED]
    groups[1] = diverged(groups[1])
    groups += [known_run([5, 4], True, 42, group_size=16), known_run([4], True, 42, group_size=7),
               known_run([4], True, 42, group_size=4)]  # which nothing asks for
    rates = [known_run(net, use_batch_norm, 42, lr=lr) for net in NETS for use_batch_norm in (False, True)
             for lr in (0.3, 0.01) if (net, use_batch_norm) != ([6, 5, 4], False)]
    for run in rates:  # which of the rates is the best of a net
        best = {True: 0.3, False: 0.01}[run['use_batch_norm']]
        more = 0.09 if run['lr'] == best else -0.09
        run['val_accuracy'] = [round(value + more, 4) for value in run['val_accuracy']]
    rates[0] = diverged(rates[0])
    rates.append({**rates[1], 'lr': 0.03})  # of one net
    rates += [known_run([4], True, seed, lr=0.3) for seed in MEASURED[1:]]
    rates += [known_run([4], False, seed, lr=0.01) for seed in MEASURED[1:3]]
    rates += [known_run([5, 4], False, 44, lr=0.01), known_run([5, 4], True, 44, lr=0.3)]
    return study_of(runs, starts, groups, rates)


def without_results():
    """A study with controls of one seed, of which every run has diverged."""
    six = [diverged(run) for run in of_one_seed()['runs']]
    return study_of(six, [{**six[0], 'start': 'normalized'}], [{**six[1], 'group_size': 16}],
                    [{**run, 'lr': 0.3} for run in six])
