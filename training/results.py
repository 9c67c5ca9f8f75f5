"""What a training run leaves behind: a JSON file with every number, its curves beside it."""

import json
import platform
from importlib.metadata import version
from pathlib import Path

from storage.files import json_bytes, png_bytes, write_together
from training import curves

ROOT = Path(__file__).parent.parent
REFERENCE_DIR = ROOT / 'results' / 'reference'


def result_stem(model_name, changed):
    """A name for the results that tells every setting that differs from its default: {name: value}."""
    parts = [model_name]
    if changed.get('use_batch_norm'):
        parts.append('batch_norm')
    for name, value in changed.items():
        if name != 'use_batch_norm':
            text = '-'.join(map(str, value)) or 'none' if name == 'hidden_dims' else value
            parts.append(f'{name}{text}')
    return '_'.join(parts)


def environment(packages, threads, device):
    """What a result may depend on beside its settings."""
    return {
        'python': platform.python_version(),
        **{package: version(package) for package in packages},
        'platform': f'{platform.system()} {platform.machine()}',
        'threads': threads,
        'device': device,
    }


def portable(folder):
    """The folder as a record names it: relative to the project where it lies in it, so that machines don't differ."""
    folder = Path(folder)
    if folder.resolve().is_relative_to(ROOT):
        return f'{folder.resolve().relative_to(ROOT).as_posix()}/'
    return str(folder)


def reference_line(name):
    """One line on the committed result of that name, to compare with; None where there is none."""
    try:
        record = json.loads((REFERENCE_DIR / f'{name}.json').read_text(encoding='utf-8'))
        machine = record['environment']
        packages = ', '.join(f'{label} {machine[package]}' for package, label in
                             (('numpy', 'NumPy'), ('torch', 'PyTorch')) if package in machine)
        return (f'reference: test accuracy {record["test_accuracy"]:.4f} on {machine["platform"]} with {packages}, '
                f'{machine["threads"]} threads')
    except (OSError, ValueError, KeyError, TypeError):  # the scripts may have been copied without it
        return None


def write_results(stem, record):
    """Write the record as STEM.json and its curves as STEM.png; return the two paths."""
    contents = {stem.with_name(f'{stem.name}.json'): json_bytes(record),
                stem.with_name(f'{stem.name}.png'): png_bytes(curves.draw(stem.name, record))}
    write_together(contents)
    return list(contents)
