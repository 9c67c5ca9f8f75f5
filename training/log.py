"""The log of a training run: loss and accuracy of each step and epoch, shown as they come."""

import math
import sys
import time

from cifar10.description import CIFAR10
from training import threads
from training.process import say

# Short enough that loss and accuracy stand whole beside it on 80 columns.
BAR = '{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}, {remaining} left{postfix}'


class Diverged(Exception):
    """The loss or the predictions are no longer finite; the message says since when."""


class TrainingLog:
    """Keeps loss and accuracy of each step and epoch, shows them, and stops a run that diverged.

    Losses and accuracies are looked at in each step. With fetch, a function that turns a list of
    them to floats, they are only collected until the end of the epoch: a GPU is waited for once.
    threads: how many compute; where they are kept waiting by other work, one line says so.
    """

    def __init__(self, epochs, lr, fetch=None, verbose=True, threads=1):
        self.epochs, self.lr, self.fetch, self.verbose, self.threads = epochs, lr, fetch, verbose, threads
        self.advised = False
        self.epoch = 0
        self.batch_losses, self.train_losses, self.train_accuracies, self.val_accuracies = [], [], [], []
        self.val_losses, self.gradient_norms, self.dead_relus = [], {}, {}
        self.seconds = []

    def track(self, loader):
        """Iterate over the batches of one epoch, behind a progress bar."""
        from tqdm import tqdm

        self.epoch += 1
        self._losses, self._accuracies = [], []
        start, processor_start = time.perf_counter(), time.process_time()
        with tqdm(loader, f'epoch {self.epoch}/{self.epochs}', leave=False, dynamic_ncols=True, bar_format=BAR,
                  disable=None if self.verbose else True) as self._bar:
            yield from self._bar
        if self.fetch:
            values = self.fetch(self._losses + self._accuracies)
            self._losses, self._accuracies = values[:len(self._losses)], values[len(self._losses):]
            for step, loss in enumerate(self._losses, start=1):
                self._check(loss, step)
        self.seconds.append(time.perf_counter() - start)
        self._advise(time.process_time() - processor_start)
        self.batch_losses += self._losses
        self.train_losses.append(_mean(self._losses))
        self.train_accuracies.append(_mean(self._accuracies))

    def step(self, loss, accuracy):
        """Take note of one batch. Raises Diverged."""
        if not self.fetch:
            loss, accuracy = float(loss), float(accuracy)
            self._check(loss, len(self._losses) + 1)
        self._losses.append(loss)
        self._accuracies.append(accuracy)
        if not self.fetch and not self._bar.disable and len(self._losses) % 25 == 0:
            self._bar.set_postfix_str(f'loss {_mean(self._losses):.4f}, accuracy {_mean(self._accuracies):.4f}',
                                      refresh=False)

    def start(self, val_loss, gradient_norm, dead_relus, val_accuracy=None):
        """Take note of the model before the first step, as end_epoch does; its accuracy is that of guessing."""
        self._watch(val_loss, gradient_norm, dead_relus)

    def end_epoch(self, val_accuracy, val_loss, gradient_norm, dead_relus):
        """Take note of the model after an epoch; True where its validation accuracy is the best so far.

        val_loss: the mean loss over the validation set. gradient_norm: {layer: √Σ (∂L/∂θ)² over its
        parameters θ}, for the first batch_size training images, always the same, as a batch is trained
        on. dead_relus: {layer: the share of its units that are 0 for every validation image}. Both
        are measured in each epoch on the same images, so that what changes is the model.
        Raises Diverged.
        """
        self._check(val_accuracy, len(self._losses), 'validation accuracy')
        self.val_accuracies.append(val_accuracy)
        self._watch(val_loss, gradient_norm, dead_relus)
        if self.verbose:
            say(f'epoch {self.epoch:{len(str(self.epochs))}}/{self.epochs}'
                f'  train loss {self.train_losses[-1]:.4f}  train accuracy {self.train_accuracies[-1]:.4f}'
                f'  validation accuracy {val_accuracy:.4f}  {self.seconds[-1]:.2f} s')
        return self.best_epoch == self.epoch

    def _watch(self, val_loss, gradient_norm, dead_relus):
        steps = len(self.batch_losses) // max(self.epoch, 1)
        self._check(val_loss, steps, 'validation loss')
        self.val_losses.append(val_loss)
        for name, norm in gradient_norm.items():
            self._check(norm, steps, f'norm of the gradient of {name}')
            self.gradient_norms.setdefault(name, []).append(norm)
        for name, share in dead_relus.items():
            self.dead_relus.setdefault(name, []).append(share)

    def _advise(self, processor_seconds):
        # Several processes and a GPU, where losses are fetched, wait for other things than processors.
        line = threads.advice(self.epoch, self.seconds[-1], processor_seconds, self.threads)
        if line and self.verbose and not self.fetch and not self.advised:
            self.advised = True
            print(line, file=sys.stderr)

    @property
    def best_epoch(self):
        """The epoch, counted from 1, with the best validation accuracy; the first where several have it."""
        return 1 + self.val_accuracies.index(max(self.val_accuracies))

    def _check(self, value, step, name='loss'):
        if not math.isfinite(value):
            raise Diverged(f'the {name} is {value} in epoch {self.epoch}, step {step}, with learning rate {self.lr}; '
                           'no result was written, a smaller learning rate may help')

    def as_dict(self):
        """What `train` returns as logging_info."""
        return {
            'dataset': {'name': CIFAR10.name, 'sha256': CIFAR10.sha256},
            'train_loss': self.train_losses,
            'train_accuracy': self.train_accuracies,
            'val_accuracy': self.val_accuracies,
            # One number more than there are epochs: the first is from before the first step.
            'val_loss': self.val_losses,
            'gradient_norm': self.gradient_norms,
            'dead_relus': self.dead_relus,
            'best_epoch': self.best_epoch,
            'seconds_per_epoch': _mean(self.seconds),
            'batch_loss': self.batch_losses,
        }


def _mean(values):
    return sum(values) / len(values)
