"""The settings of a training run: one table with the default, the valid values and the texts for each."""

from numbers import Integral, Real
from typing import Any, NamedTuple

from cifar10 import description
from console.arguments import COUNT, SEED, Allowed
from console.errors import SettingsError

LARGEST_LAYER = 65536  # its weights alone are 0.8 GB
LARGEST_FLOAT32 = 3.4e38  # the networks are trained in float32
TRAIN_IMAGES = description.CIFAR10.train_size - description.CIFAR10.validation_size
SWITCH = Allowed(object, 'True or False', (True, False).__contains__)


class Setting(NamedTuple):
    """A setting and its flag. A default that is a list allows several values; a default of False makes a switch.

    allowed: the type of (each) value. words: text before the value in the title of a figure.
    """
    default: Any
    allowed: Any
    help: str
    words: str = ''


SETTINGS = {
    'hidden_dims': Setting([128], Allowed(int, f'an integer from 1 to {LARGEST_LAYER} for each hidden layer',
                                          lambda value: 1 <= value <= LARGEST_LAYER),
                           'hidden-layer sizes; without values: multinomial logistic regression'),
    'use_batch_norm': Setting(False, SWITCH, 'batch normalization between each hidden linear layer and its ReLU'),
    'lr': Setting(0.1, Allowed(float, f'a number > 0 (at most {LARGEST_FLOAT32:g})',
                               lambda value: 0 < value <= LARGEST_FLOAT32), 'learning rate', 'learning rate'),
    'batch_size': Setting(128, Allowed(int, f'an integer from 1 to {TRAIN_IMAGES} (the number of training images)',
                                       lambda value: 1 <= value <= TRAIN_IMAGES), 'samples per step', 'batch size'),
    'epochs': Setting(10, COUNT, 'passes over the training set'),
    'seed': Setting(42, SEED, 'random seed for initialization and shuffling', 'seed'),
    'threads': Setting(None, COUNT, 'number of compute threads (default: one per idle CPU)', 'threads'),
    'device': Setting('auto', Allowed(str, 'auto, cpu or cuda (mps is not supported: the operations of such a small '
                                      'network are too short to gain from it)', ('auto', 'cpu', 'cuda').__contains__),
                      'auto, cpu or cuda; auto uses CUDA if PyTorch finds a GPU', 'device'),
}
DEFAULTS = {name: setting.default for name, setting in SETTINGS.items()}


def add_setting(parser, name, **changes):
    """Add the flag of a setting to a parser. changes: fields that replace those of the table."""
    setting = SETTINGS[name]._replace(**changes)
    if setting.default is False:
        parser.add_argument(f'--{name}', action='store_true', help=setting.help)
    else:
        several = {'nargs': '*', 'metavar': 'N'} if isinstance(setting.default, list) else {}
        parser.add_argument(f'--{name}', type=setting.allowed, default=setting.default, help=setting.help, **several)


def check_settings(**settings):
    """Raise SettingsError for the first setting with an invalid value. NumPy's numbers are accepted, too."""
    for name, value in settings.items():
        if name not in SETTINGS:
            raise SettingsError(f'there is no setting {name}: it must be one of {", ".join(SETTINGS)}')
        allowed = SETTINGS[name].allowed
        for one in value if isinstance(SETTINGS[name].default, list) else [value]:
            number = {int: Integral, float: Real}.get(allowed.read, allowed.read)
            if not isinstance(one, number) or not allowed.test(one):
                raise SettingsError(f'{name} is {one}: it must be {allowed.words}')


def net_name(hidden_dims):
    """The hidden layers as the user types them on the command line: '512 256 128'."""
    return ' '.join(map(str, hidden_dims)) or 'no hidden layer'
