"""The log of a training run: it records and shows the loss and accuracy of each batch and epoch."""

import math
import time

from cifar10 import description
from console.errors import UserError
from console.process import on_terminal, say, warn
from training import results, threads

# Short enough that loss and accuracy fit next to it in 80 columns.
BAR = '{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}, {remaining} left{postfix}'


class Diverged(UserError):
    """A loss is NaN or infinite; the message says which loss and in which step."""


class TrainingLog:
    """Keeps and shows the loss and accuracy of each batch and epoch.

    Each loss is checked at once. With fetch, a function that turns a list of tensors into floats, losses and
    accuracies are collected until the end of the epoch instead: a GPU is synchronized once.
    threads: the number of compute threads; one line warns if other processes slow them down.
    """

    def __init__(self, epochs, lr, fetch=None, verbose=True, threads=1):
        self.epochs, self.lr, self.fetch, self.verbose, self.threads = epochs, lr, fetch, verbose, threads
        self.warned = False
        self.epoch = 0
        self.batch_losses, self.train_losses, self.train_accuracies = [], [], []
        self.val_losses, self.val_accuracies = [], []
        self.seconds = []
        results.commit()  # kept for the end of the run: until then the code may have changed

    def start(self, val_loss):
        """Record the validation loss before the first step."""
        self._check(val_loss, 0, 'validation loss')
        self.val_losses.append(val_loss)

    def track(self, loader):
        """Iterate over the batches of one epoch, with a progress bar on a terminal."""
        from tqdm import tqdm

        self.epoch += 1
        self._losses, self._accuracies = [], []
        start, processor_start = time.perf_counter(), time.process_time()
        with tqdm(loader, f'epoch {self.epoch}/{self.epochs}', leave=False, dynamic_ncols=True, bar_format=BAR,
                  disable=not (self.verbose and on_terminal())) as self._bar:
            yield from self._bar
        if self.fetch:
            values = self.fetch(self._losses + self._accuracies)
            self._losses, self._accuracies = values[:len(self._losses)], values[len(self._losses):]
            for step, loss in enumerate(self._losses, start=1):
                self._check(loss, step)
        self.seconds.append(time.perf_counter() - start)
        self._warn_if_slowed_down(time.process_time() - processor_start)
        self.batch_losses += self._losses
        self.train_losses.append(_mean(self._losses))
        self.train_accuracies.append(_mean(self._accuracies))

    def step(self, loss, accuracy):
        """Record one batch. Raises Diverged."""
        if not self.fetch:
            loss, accuracy = float(loss), float(accuracy)
            self._check(loss, len(self._losses) + 1)
        self._losses.append(loss)
        self._accuracies.append(accuracy)
        if not self.fetch and not self._bar.disable and len(self._losses) % 25 == 0:
            self._bar.set_postfix_str(f'loss {_mean(self._losses):.4f}, accuracy {_mean(self._accuracies):.4f}',
                                      refresh=False)

    def end_epoch(self, val_loss, val_accuracy):
        """Record the validation loss and accuracy after an epoch. Raises Diverged."""
        self._check(val_loss, len(self._losses), 'validation loss')
        self.val_losses.append(val_loss)
        self.val_accuracies.append(val_accuracy)
        if self.verbose:
            say(f'epoch {self.epoch:{len(str(self.epochs))}}/{self.epochs}'
                f'  train loss {self.train_losses[-1]:.4f}  train accuracy {self.train_accuracies[-1]:.4f}'
                f'  validation accuracy {val_accuracy:.4f}  {self.seconds[-1]:.2f} s')

    def _warn_if_slowed_down(self, processor_seconds):
        # With a GPU or several processes (self.fetch), a slow epoch has other causes.
        line = threads.advice(self.epoch, self.seconds[-1], processor_seconds, self.threads)
        if line and self.verbose and not self.fetch and not self.warned:
            self.warned = True
            warn(line)

    def _check(self, value, step, name='loss'):
        if not math.isfinite(value):
            when = f'at epoch {self.epoch}, step {step}' if self.epoch else 'before the first step'
            raise Diverged(f'training diverged: {name} is {value} {when} (learning rate {self.lr}); '
                           'nothing was written, try a smaller --lr')

    def as_dict(self):
        """The dict that `train` returns as logging_info."""
        return {
            'dataset': {'name': description.CIFAR10.name, 'sha256': description.CIFAR10.sha256},
            'train_loss': self.train_losses,
            'train_accuracy': self.train_accuracies,
            'val_accuracy': self.val_accuracies,
            'val_loss': self.val_losses,  # before the first step and after each epoch
            'best_epoch': 1 + self.val_accuracies.index(max(self.val_accuracies)),  # the first of equal accuracies
            'seconds_per_epoch': _mean(self.seconds),
            'batch_loss': self.batch_losses,
        }


def _mean(values):
    return sum(values) / len(values)
