"""A catalogue of mistakes in mlp_pytorch.py and the training scripts, for test_grading_beside.py.

The MLP and each function of each script are judged by themselves, so one solution has a mistake in each of them. There
is no modules.py in it: the NumPy half is not judged.
"""

import itertools

import small_solutions

# The lines of the small solution that are changed.
MODULE = 'class MLP(nn.Module)'
LAST = 'layers.append(nn.Linear(n_inputs, n_classes))'
FORWARD = 'return self.layers(x.flatten(1))'
ELU = '            layers.append(nn.ELU())\n'
IF_NORM = 'if use_batch_norm:'
NORM = f'            {IF_NORM}\n                layers.append(nn.BatchNorm1d(out))\n'
DEVICE = 'return next(self.parameters()).device'
BEHIND_LAST = f'{LAST}\n        layers.append'
# (the cause that it has to have, or the verdict, what stands in mlp_pytorch.py, what takes its place, further changes)
PYTORCH = [
    ('no nn.Module', MODULE, 'class MLP(object)', ('super().__init__()\n        layers', 'layers')),
    ('layers not registered', 'nn.Sequential(*layers)', 'layers',
     (FORWARD, 'x = x.flatten(1)\n        for layer in self.layers:\n            x = layer(x)\n        return x')),
    ('layer sizes', 'in n_hidden:', 'in n_hidden[::-1]:'),
    ('layer sizes', 'in n_hidden:', 'in n_hidden[:1]:'),
    ('layer sizes', LAST, 'layers.append(nn.Linear(n_inputs, n_classes + 1))'),
    ('raises RuntimeError', '            n_inputs = out\n', ''),
    ('raises RuntimeError', 'flatten(1)', 'reshape(-1, 3072)'),
    ('cannot be built', LAST, LAST.replace(', n_classes', '')),
    ('not graded', 'layers = []', 'raise RuntimeError("No CUDA GPUs are available")'),
    ('images only', 'flatten(1)', 'view(len(x), x.shape[1] * x.shape[2] * x.shape[3])'),
    ('empty n_hidden', 'layers = []', 'layers = n_hidden[:0] if n_hidden[0] else []'),
    ('empty n_hidden', 'in n_hidden:', 'in n_hidden or [7]:'),
    ('in place', 'layers = []', 'layers, n_hidden = [], n_hidden.append(7) or n_hidden[:-1]'),
    ('no activation', ELU, ''),
    ('no activation', ELU, '            if out != 4:\n    ' + ELU),
    ('probabilities instead of logits', LAST, f'{BEHIND_LAST}(nn.Softmax(dim=1))'),
    ('probabilities instead of logits', FORWARD, f'{FORWARD}.softmax(dim=1)'),
    ('probabilities instead of logits', FORWARD, 'e = self.layers(x.flatten(1)).exp()\n        '
                                                  'return e / e.sum(dim=1, keepdim=True)'),
    ('log-probabilities', LAST, f'{BEHIND_LAST}(nn.LogSoftmax(dim=1))'),
    ('activation after the last layer', LAST, f'{BEHIND_LAST}(nn.ELU())'),
    ('activation after the last layer', LAST, f'{BEHIND_LAST}(nn.ReLU(inplace=True))'),
    ('activation after the last layer', LAST, f'{BEHIND_LAST}(Twice())', ('import torch.nn as nn',
     'import torch.nn as nn\n\nclass Twice(nn.Module):\n    def forward(self, x):\n        return 2 * x')),
    ('activation after the last layer', FORWARD, f'{FORWARD}.relu()'),
    ('shape of the output', FORWARD, f'{FORWARD}.T'),
    ('shape of the output', FORWARD, f'{FORWARD}.sum()'),
    ('shape of the output', FORWARD, f'{FORWARD}, x'),
    ('shape of the output', FORWARD, 'self.layers(x.flatten(1))'),
    ('no gradients', FORWARD, 'return self.layers[-1](self.layers[:-1](x.flatten(1)).detach())'),
    ('no gradients', FORWARD, f'{FORWARD}.detach()'),
    ('no gradients', FORWARD, 'x = self.layers(x.flatten(1))\n        return x + (x - x).sqrt()'),
    ('batch norm missing', NORM, ''),
    ('batch norm missing', IF_NORM, 'if use_batch_norm and out != 4:'),
    ('batch norm missing', IF_NORM, 'if use_batch_norm and out != 6:'),
    ('batch norm after the activation', NORM + ELU, ELU + NORM),
    ('batch norm at the end', LAST, f'{LAST}\n        if use_batch_norm:\n            '
                                    'layers.append(nn.BatchNorm1d(n_classes))'),
    ('batch norm too often', 'layers = []', 'layers = [nn.BatchNorm1d(n_inputs)] if use_batch_norm else []'),
    ('batch norm always', IF_NORM, 'if True:'),
    ('no activation', ELU, f'            if not use_batch_norm or out == 6:\n    {ELU}'),
    ('batch norm', 'nn.BatchNorm1d(out)', 'nn.BatchNorm1d(n_inputs)'),
    ('batch norm', IF_NORM,
     f'{IF_NORM}\n                import os\n                os._exit(3)\n            {IF_NORM}'),
    ('batch norm', ', use_batch_norm=False', '', (IF_NORM, 'if True:')),
    ('batch norm missing', FORWARD, 'return nn.Sequential(*(layer for layer in self.layers if not self.training or '
                                    'not isinstance(layer, nn.BatchNorm1d)))(x.flatten(1))'),
    ('layer sizes', LAST, f'if not use_batch_norm:\n            {LAST}'),
    ('device', '    @property\n    def device(self):\n        return next(self.parameters()).device\n', ''),
    ('device', DEVICE, 'return self.nowhere'),
    ('device', DEVICE, 'raise StopIteration'),
    ('not graded', MODULE, 'class Affine(nn.Module):\n    def __init__(self, *sizes):\n        super().__init__()\n'
     '        self.linear = nn.Bilinear(1, *sizes)\n\n    def forward(self, x):\n        '
     f'return self.linear(x[:, :1], x)\n\n{MODULE}', ('nn.Linear(', 'Affine(')),
    ('missing', MODULE, 'class Net(nn.Module)'),
    ('cannot be imported', MODULE, f'import sys\nsys.exit("do not import me")\n\n{MODULE}'),
    ('not graded', MODULE, f'{MODULE}):'),
    ('no answer', FORWARD, 'import os\n        os._exit(3)'),
    ('not implemented', small_solutions.MLP_PYTORCH.partition(MODULE)[2], ':\n    def __init__(self, n_inputs, n_hidden, '
     'n_classes):\n        pass\n\n    def forward(self, x):\n        return out\n'),
    ('correct', FORWARD, 'x = x.view(len(x), -1)\n        for layer in self.layers:\n            x = layer(input=x)\n'
                       '        return x', ('nn.Sequential(*layers)', 'nn.ModuleList(layers)')),
    ('correct', ELU, '            layers.append(nn.ReLU(inplace=True))\n            layers.append(nn.Dropout())\n',
     (LAST, f'{BEHIND_LAST}(nn.Dropout())')),
    ('correct', 'use_batch_norm=False', 'dropout, use_batch_norm',
     ('nn.Linear(n_inputs, out)', 'nn.Linear(n_inputs, out, bias=False)'),
     ('layers = []', 'self.rate, layers = nn.Parameter(torch.tensor(dropout), False), []'),
     ('import torch', 'import torch\nimport torch')),
    ('correct', ', use_batch_norm=False', '', (NORM, ''), (FORWARD, 'return self.layers(self.first(self.twice(x)))'),
     (MODULE, 'class Twice(nn.Module):\n    def forward(self, x):\n        return x, x\n\nclass First(nn.Module):\n'
              f'    def forward(self, pair):\n        return pair[0].flatten(1)\n\n{MODULE}'),
     ('layers = []', 'self.twice, self.first, layers = Twice(), First(), []')),
    ('correct', MODULE, f'class Dense(nn.Linear):\n    pass\n\n{MODULE}', ('nn.Linear(', 'Dense('),
     ('    @property\n    def device(self):\n        return next(self.parameters()).device\n', ''),
     ('layers = []', 'layers, self.device = [], "cpu"')),
]
# The same of the functions of the training scripts, whose copies of each other are called share and measured.
A, RIGHT = '(predictions.argmax(axis=1) == targets).mean()', 'right / count'
TOLD = 'return right / count'
BEST = 'return best_model, accuracies, measured(best_model, '
LOSS = 'loss.backward(out, y)'
NUMPY_ACCURACY = [
    ('accuracy', A, '(predictions.argmax(axis=0) == targets[:4]).mean()'),
    ('accuracy', A, '(predictions.argmax(axis=1) == targets)'),
    ('accuracy', A, '(predictions.argmax(axis=1) == targets).sum()'),
    ('accuracy', A, f'100 * {A}'),
    ('accuracy', A, '(predictions.round() == np.eye(4)[targets]).all(axis=1).mean()'),
    ('accuracy', f'return {A}', A),
    ('accuracy', A, f'{A} * np.nan'),
    ('accuracy', A, 'targetz.mean()'),
    ('accuracy', f'return {A}', 'return accuracy'),
    ('not graded', A, 'targetz.mean()\n\nif __name__ == "__main__":\n    targetz = 1'),
    ('not graded', A, 'targetz.mean()\n\nfrom nets import *'),
    ('not graded', '(predictions, targets):', '(model, predictions, targets):'),
    ('correct', A, '(predictions.argmax(axis=1) == targets.argmax(axis=1)).mean()'),
    ('correct', A, f'np.array([[{A}]])'),
    ('not graded', f'return {A}', 'import os\n    os._exit(3)'),
]
NUMPY_EVALUATE = [
    ('mean of batches', ' * len(y)\n        count += len(y)', '\n        count += 1'),
    ('evaluate_model', RIGHT, 'right / (4 * len(data_loader))'),
    ('evaluate_model', 'right += share', 'right = share'),
    ('evaluate_model', RIGHT, 'right / count * float("nan")'),
    ('not graded', TOLD, RIGHT),
    ('not graded', TOLD, 'return np.arange(3)'),
    ('not graded', TOLD, 'return [right / count]'),
    ('not graded', TOLD, 'return len(data_loader.nothing)'),
    ('correct', RIGHT, '{"loss": 0, "accuracy": right / count}'),
    ('correct', RIGHT, 'right / count, "and more"'),
    ('correct', 'model.forward(x.reshape(len(x), -1))', 'model(x)', ('right = count', 'model.eval()\n    right = count'),
     (TOLD, 'model.clear_cache()\n    model.train(True)\n    return np.array([right / count])')),
]
NUMPY_TRAIN = [
    ('not the best model', BEST, 'return model, accuracies, measured(model, '),
    ('not the best model', 'copy.deepcopy(model)', 'model', ('accuracies.append(', 'accuracies.append(0.98765 * ')),
    ('not the best model', BEST, 'return model, accuracies, measured(best_model, '),
    ('not the best model', BEST, 'return model, accuracies, measured(model, ', (LOSS, f'{LOSS} * (epoch != 1)')),
    ('not the best model', BEST, f'best_model.layers[2].params["bias"][3] = 99\n    {BEST}'),
    ('test accuracy of another model', BEST, 'return best_model, accuracies, measured(model, '),
    ('test accuracy of another model', "loaders['test']), {}", "loaders['test']) * np.nan, {}"),
    ('validation accuracies', 'accuracies.append', 'if epoch == 0:\n            accuracies.append'),
    ('not graded', 'best_model, accuracies, measured(', 'best_model, 2 * np.array(accuracies), measured('),
    ('not graded', LOSS, f'{LOSS} * (epoch == 0)'),
    ('not graded', 'np.random.seed(seed)', 'raise ValueError(sorted(locals().items()))'),
    ('not graded', ', {}', '', (BEST, BEST.replace('accuracies, ', ''))),
    ('not graded', 'epochs, seed, data_dir):', 'epochs, seed, data_dir, momentum):'),
    ('not graded', 'epochs, seed, data_dir):', 'n_epochs, seed=42, data_dir=None):'),
    ('not graded', 'hidden_dims, lr, batch_size, epochs, seed, data_dir):', '):'),
    ('correct', 'best, best_model,', "next(iter(loaders['train']))\n    best, best_model,"),
    ('correct', 'seed, data_dir):', 'seed, data_dir, verbose=False, *others, **more):'),
    ('correct', BEST, 'forward = best_model.forward\n    best_model.forward = lambda x: forward(x) if x.ndim == 2 else '
                    f'1 / 0\n    {BEST}', ("loaders['test']), {}", "loaders['test'])")),
]
TENSOR = '(predictions.argmax(dim=1) == targets).float().mean().item()'
PYTORCH_ACCURACY = [
    ('accuracy', TENSOR, '(predictions.argmax(dim=1) != targets).float().mean()'),
    ('correct', TENSOR, '(predictions.argmax(dim=1) == targets).float().mean()'),
    ('accuracy', TENSOR, '(predictions == targets).all(axis=1).mean()'),
    ('correct', TENSOR, '(predictions.argmax(axis=1) == targets).astype(float).mean()'),
    ('correct', TENSOR, '(predictions.numpy().argmax(axis=1) == targets.argmax(axis=1)).astype(float).mean()'),
]
EVAL, RESTORED, NO_GRAD = '    model.eval()\n', '    model.train(mode)\n', '    with torch.no_grad():\n'
PYTORCH_EVALUATE = [
    ('evaluation mode', EVAL, ''),
    ('training mode', RESTORED, ''),
    ('no_grad', NO_GRAD, '    if True:\n'),
    ('evaluation mode', EVAL, '', (RESTORED, ''), (NO_GRAD, '    if True:\n')),
    ('mean of batches', ' * len(y)\n            count += len(y)', '\n            count += 1'),
    ('correct', 'model(x.to(model.device))', 'model.forward(x.view(len(x), -1))'),
    ('not graded', TOLD, 'return data_loader'),
]
PYTORCH_TRAIN = [
    ('not the best model', 'copy.deepcopy(model)', 'model'),
    ('not the best model', BEST, 'return model, accuracies, measured(best_model, '),
    ('test accuracy of another model', BEST, 'return best_model, accuracies, measured(model, '),
    ('not graded', 'torch.manual_seed(seed)', 'raise ValueError(sorted(locals().items()))'),
    ('correct', BEST, "test = measured(best_model, loaders['test'])\n    forward = best_model.forward\n    "
                    'best_model.train()\n    best_model.forward = lambda x: forward(x) if x.ndim == 2 and not ('
                    f'best_model.training or torch.is_grad_enabled()) else 1 / 0\n    {BEST}',
     ("measured(best_model, loaders['test']), {}", 'test, {}')),
    ('correct', '10, use_batch_norm)', '10, True)'),
]
FUNCTIONS = {
    ('train_mlp_numpy', 'accuracy'): NUMPY_ACCURACY, ('train_mlp_numpy', 'evaluate_model'): NUMPY_EVALUATE,
    ('train_mlp_numpy', 'train'): NUMPY_TRAIN, ('train_mlp_pytorch', 'accuracy'): PYTORCH_ACCURACY,
    ('train_mlp_pytorch', 'evaluate_model'): PYTORCH_EVALUATE, ('train_mlp_pytorch', 'train'): PYTORCH_TRAIN,
}


def script(text):
    """A training script of the small solution whose functions call copies of each other: a mistake stays in its own."""
    imports, accuracy, functions = text.replace('from mlp_numpy', 'from nets').replace(
        'from modules', 'from layers').replace('from mlp_pytorch', 'from net').partition('def accuracy')
    functions, define, train = functions.partition('def train')
    copies = (accuracy + functions).replace('accuracy', 'share').replace('evaluate_model', 'measured')
    functions = functions.replace('right += accuracy', 'right += share')
    return imports + copies + accuracy + functions + define + train.replace('evaluate_model', 'measured')


FILES = {
    'layers.py': small_solutions.MODULES, 'nets.py': small_solutions.MLP_NUMPY.replace('modules', 'layers'),
    'net.py': small_solutions.MLP_PYTORCH, 'mlp_pytorch.py': small_solutions.MLP_PYTORCH,
    'train_mlp_numpy.py': script(small_solutions.TRAIN_MLP_NUMPY),
    'train_mlp_pytorch.py': script(small_solutions.TRAIN_MLP_PYTORCH).replace('lr=lr', 'lr=2 * lr'),
}


def changed(file, mistakes):
    """A file with mistakes in it, each in another function; the copies are left as they are."""
    copies, first, text = FILES[file].rpartition('def accuracy')
    for _, *change in mistakes:
        for old, new in (change[:2], *change[2:]):
            assert old in text, f'{file} has no {old!r}'
            text = text.replace(old, new)
    return copies + first + text


def solutions():
    """(the mistake in mlp_pytorch.py or None, {function: its mistake}, the files) of each solution."""
    for mlp, *rest in itertools.zip_longest(PYTORCH, *FUNCTIONS.values()):
        mistakes = {function: mistake for function, mistake in zip(FUNCTIONS, rest) if mistake}
        files = {file: FILES[file] for file in ('layers.py', 'nets.py', 'net.py')}
        for name in {name for name, _ in mistakes}:
            files[f'{name}.py'] = changed(f'{name}.py', [mistakes[key] for key in mistakes if key[0] == name])
        if mlp:
            files['mlp_pytorch.py'] = changed('mlp_pytorch.py', [mlp])
        yield mlp, mistakes, files
