"""The speeds to reach, and whether a benchmark's record reaches them."""

import statistics

from benchmark import busy, contenders, startup
from benchmark.contenders import COURSE
from benchmark.epochs import NETWORKS, net_name

# For each MLP, the largest ratio of its epoch to NumPy's matrix products, for each of NETWORKS.
OVER_THE_BASELINE = [(1.25, 1.15), (1.5, 1.3)]
BUSY = 3  # the largest ratio of a default epoch under load to an epoch on one thread


def ratios(seconds, network, name, other):
    """The time of `name` divided by the time of `other`, in each round."""
    return [a / b for a, b in zip(seconds[network][name], seconds[network][other])]


def check(record):
    """The targets of the parts in the record: a list of dicts with name, median, range, limit and `met`."""
    rows = []
    if 'epochs' in record:
        rows += _of_epochs(record['epochs']['seconds'])
    if 'evaluation' in record:
        ratios_of = record['evaluation']['ratios']
        rows += [(f'{name}: evaluation / training', values, 0.1) for name, values in ratios_of.items()]
    if 'start' in record:
        rows += [('seconds from a second start to the first training step', record['start']['seconds'], 0.7),
                 ('peak memory of a default run of train_mlp_numpy.py, MB', [record['start']['peak_memory']], 700)]
    if 'runs' in record.get('start', {}):
        rows += [('whole command / its training epochs, train_mlp_numpy.py',
                  [run[startup.WHOLE] / run[startup.EPOCHS] for run in record['start']['runs']], 1.5)]
    if 'busy' in record:
        rows += _of_busy(record['busy']['seconds'])
    return [{'target': name, 'median': statistics.median(values), 'smallest': min(values), 'largest': max(values),
             'limit': limit, 'met': statistics.median(values) <= limit} for name, values, limit in rows]


def _of_epochs(seconds):
    baseline, *_ = contenders.BASELINES
    limits = [(ours, net_name(network, False), baseline, limit)
              for ours, limits in zip(contenders.OURS, OVER_THE_BASELINE) for network, limit in zip(NETWORKS, limits)]
    limits += [(ours, net_name(NETWORKS[0], False), COURSE, 0.1) for ours in contenders.OURS]
    limits += [(ours, net_name(network, False), peer, 1) for ours in contenders.OURS for network in NETWORKS
               for peer in contenders.PEERS if peer in seconds[net_name(network, False)]]
    return [(f'{name} / {other}, {network}', ratios(seconds, network, name, other), limit)
            for name, network, other, limit in limits]


def _of_busy(seconds):
    rows = []
    for default, way in busy.BY_DEFAULT.items():
        for number in map(str, busy.COMPETING):
            reference, limit = ('2 threads', 1.05) if number == '0' else ('1 thread', BUSY)
            other = seconds[way.format(count=reference)][number]
            rows.append((f'{default} / on {reference}, {busy.COLUMNS[int(number)]}',
                         [a / b for a, b in zip(seconds[default][number], other)], limit))
    return rows
