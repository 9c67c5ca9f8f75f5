"""A training step shared among threads, as torchrun shares it among processes: measured, and not what the scripts do.

Each thread takes its shard of every batch through loader, forward and backward, on a replica of the layers that has
the same `params` and its own caches and `grads`; then each adds up the gradients of its share of the rows of each
parameter and updates these. The matrix products run on one BLAS thread each. The sum over the batch is added up in
another order than on one thread, and is otherwise the same. docs/speed.md says what it gave.
"""

import copy
import threading

import cifar10_utils
from modules import CrossEntropyModule
from train_mlp_numpy import accuracy


def replica_of(model):
    """A model with the same `params`, and caches and `grads` of its own."""
    replica = copy.copy(model)
    replica.layers = [copy.copy(layer) for layer in model.layers]
    for layer in replica.layers:
        if hasattr(layer, 'grads'):
            layer.grads = dict(layer.grads)
    return replica


def train_epoch(model, loader, lr, log, world_size=2):
    """What train_mlp_numpy.train_epoch does, in world_size threads; the batch size is a multiple of it.

    Raises what a thread raises. Batch normalization would normalize by the shard: give a model without.
    """
    replicas = [replica_of(model) for _ in range(world_size)]
    index = cifar10_utils.sample_order(len(loader.labels), shuffle=True)
    barrier, errors = threading.Barrier(world_size), []
    seen = [None] * world_size

    def work(rank, slices):
        try:
            for part in slices:
                seen[rank] = _gradients(replicas[rank], *loader.batch(index[part][rank::world_size]), world_size)
                barrier.wait()
                _update(replicas, rank, lr)
                if rank == 0:
                    log.step(*(sum(values) / world_size for values in zip(*seen)))
                barrier.wait()
        except threading.BrokenBarrierError:
            pass  # another thread has failed, and says why
        except BaseException as error:
            errors.append(error)
            barrier.abort()

    others = [threading.Thread(target=work, args=(rank, loader.slices)) for rank in range(1, world_size)]
    for thread in others:
        thread.start()
    work(0, log.track(loader.slices))
    for thread in others:
        thread.join()
    if errors:
        raise errors[0]


def _gradients(model, images, labels, world_size):
    """Leave ∂L/∂θ of a shard in `grads`, as a share of the mean over the whole batch; return loss and accuracy."""
    loss_module = CrossEntropyModule()
    predictions = model.forward(images)
    model.backward(loss_module.backward(predictions, labels) / world_size)
    return loss_module.forward(predictions, labels), accuracy(predictions, labels)


def _update(replicas, rank, lr):
    """θ ← θ − lr · Σ_ranks ∂L/∂θ, for this rank's share of the rows."""
    for layers in zip(*(replica.layers for replica in replicas)):
        for name, param in getattr(layers[0], 'params', {}).items():
            start, stop = (len(param) * edge // len(replicas) for edge in (rank, rank + 1))
            step, *others = (layer.grads[name][start:stop] for layer in layers)
            for other in others:
                step += other
            step *= lr
            param[start:stop] -= step
