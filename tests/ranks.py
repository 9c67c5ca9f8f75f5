"""Train with batch normalization in each of torchrun's processes, and write what each saw and kept to RANK.json.

    python run_script.py ranks.py FOLDER

In the first process the first of two epochs is the best one, in the others the second: they must not disagree.
"""

import json
import os
import sys
from pathlib import Path

import torch

import train_mlp_pytorch
from training import data_parallel


def main():
    rank, _ = data_parallel.rank_and_world_size()
    accuracies = iter([0.5, 0.4] if rank == 0 else [0.4, 0.5])
    accuracy = train_mlp_pytorch.accuracy
    train_mlp_pytorch.accuracy = lambda *arguments: next(accuracies, accuracy(*arguments))
    batches = set()
    torch.nn.modules.module.register_module_forward_pre_hook(
        lambda module, inputs: batches.add(len(inputs[0])) if module.training else None)
    model, val_accuracies, test_accuracy, info = train_mlp_pytorch.train(
        [16], 0.02, True, 100, 2, 42, os.environ['DATA_DIR'], device='cpu')
    kept = {name: values.tolist() for name, values in model.state_dict().items()}
    Path(sys.argv[1], f'{rank}.json').write_text(json.dumps(
        {'batches': list(batches), 'val_accuracies': val_accuracies, 'best_epoch': info['best_epoch'],
         'test_accuracy': test_accuracy, 'model': kept}))
