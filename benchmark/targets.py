"""The speeds to reach, and whether a benchmark's record reaches them."""

import statistics

from benchmark import busy, contenders
from benchmark.contenders import COURSE
from benchmark.epochs import NETS, net_name

# Of each MLP's epoch relative to NumPy's matrix products, for each of NETS.
OVER_THE_FLOOR = [(1.25, 1.15), (1.5, 1.3)]
BUSY = 3  # times as long as on one thread an epoch may take by default under load


def ratios(seconds, net, name, other):
    """name's time over other's, in each round."""
    return [a / b for a, b in zip(seconds[net][name], seconds[net][other])]


def judge(record):
    """The targets: a list of dicts with what is measured, its median and range, the limit, and whether it is met.

    Those of the parts that the record holds.
    """
    rows = []
    if 'epochs' in record:
        rows += _of_epochs(record['epochs']['seconds'])
    if 'evaluation' in record:
        rows += [(f'{name}: evaluation / training', values, 0.1) for name, values in record['evaluation']['ratios'].items()]
    if 'start' in record:
        rows += [('seconds from a second start to the first training step', record['start']['seconds'], 1),
                 ('peak memory of a default run of train_mlp_numpy.py, MB', [record['start']['peak_memory']], 700)]
    if 'busy' in record:
        rows += _of_busy(record['busy']['seconds'])
    return [{'target': name, 'median': statistics.median(values), 'smallest': min(values), 'largest': max(values),
             'limit': limit, 'met': statistics.median(values) <= limit} for name, values, limit in rows]


def _of_epochs(seconds):
    floor, *_ = contenders.FLOORS
    limits = [(ours, net_name(net, False), floor, limit)
              for ours, limits in zip(contenders.OURS, OVER_THE_FLOOR) for net, limit in zip(NETS, limits)]
    limits += [(ours, net_name(NETS[0], False), COURSE, 0.1) for ours in contenders.OURS]
    limits += [(ours, net_name(net, False), peer, 1) for ours in contenders.OURS for net in NETS
               for peer in contenders.PEERS if peer in seconds[net_name(net, False)]]
    return [(f'{name} / {other}, {net}', ratios(seconds, net, name, other), limit)
            for name, net, other, limit in limits]


def _of_busy(seconds):
    rows = []
    for default, way in busy.BY_DEFAULT.items():
        for number in map(str, busy.COMPETING):
            reference, limit = ('2 threads', 1.05) if number == '0' else ('1 thread', BUSY)
            other = seconds[way.format(count=reference)][number]
            rows.append((f'{default} / on {reference}, {busy.COLUMNS[int(number)]}',
                         [a / b for a, b in zip(seconds[default][number], other)], limit))
    return rows
