"""The results of a training run: a JSON file with every number, a figure of the curves, and the best model."""

import contextlib
import errno
import functools
import hashlib
import json
import os
import platform
import stat
import subprocess
from importlib.metadata import version
from pathlib import Path

from console.process import warn
from storage.files import json_bytes, plain_figures, png_bytes, write_or_rescue
from training import curves
from training.models import model_bytes

ROOT = Path(os.path.abspath(__file__)).parent.parent
REFERENCE_DIR = ROOT / 'results' / 'reference'
LONGEST_TEXT = 40  # characters of one setting in a file name


def result_stem(model_name, changed):
    """The file name of the results, with every setting that differs from its default; changed: {name: value}."""
    parts = [model_name]
    if changed.get('use_batch_norm'):
        parts.append('batch_norm')
    for name, value in changed.items():
        if name != 'use_batch_norm':
            text = '-'.join(map(str, value)) or 'none' if name == 'hidden_dims' else str(value)
            if len(text) > LONGEST_TEXT:  # a file name has a maximum length; the JSON file has the whole value
                text = f'{text[:LONGEST_TEXT]}-and-{hashlib.sha256(text.encode()).hexdigest()[:12]}'
            parts.append(f'{name}{text}')
    return '_'.join(parts)


def environment(packages, threads, device):
    """Versions and hardware on which a result may depend, in addition to its settings."""
    return {
        'python': platform.python_version(),
        **{package: version(package) for package in packages},
        'platform': f'{platform.system()} {platform.machine()}',
        'threads': threads,
        'device': device,
        'commit': commit(),
    }


@functools.cache
def commit():
    """The commit of this code, with "(modified)" if a Python file differs from it; None if git does not know it."""
    def git(*arguments):
        return subprocess.run(['git', '--no-optional-locks', *arguments], cwd=ROOT, check=True, capture_output=True,
                              stdin=subprocess.DEVNULL, timeout=2, encoding='utf-8', env=environ).stdout.splitlines()

    # In a git hook, GIT_DIR is the repository of the hook.
    environ = {name: value for name, value in os.environ.items() if not name.startswith('GIT_')}

    try:
        top, head = git('rev-parse', '--show-toplevel', 'HEAD')
        if not os.path.samefile(top, ROOT):  # the code was copied into another repository
            return None
        return f'{head} (modified)' if git('status', '--porcelain', '--untracked-files=no', '*.py') else head
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def relative_to_project(folder):
    """The folder for the results file: relative to the project if it is inside, so that machines do not differ."""
    place = Path(os.path.abspath(folder))  # does not follow a link: a link in the project is in the project
    return f'{place.relative_to(ROOT).as_posix()}/' if place.is_relative_to(ROOT) else str(folder)


def reference_line(name, dataset, threads):
    """One line about the committed result of that name. None if there is none with the data set of this run.

    threads: the number of threads of this run.
    """
    try:
        record = json.loads((REFERENCE_DIR / f'{name}.json').read_text(encoding='utf-8'))
        machine = record['environment']
        if record['dataset'] != dataset:
            return None
        packages = ', '.join(f'{label} {machine[package]}' for package, label in
                             (('numpy', 'NumPy'), ('torch', 'PyTorch')) if package in machine)
        here = '' if machine['threads'] == threads else f'; this run: {threads}'
        return (f'reference result: test accuracy {record["test_accuracy"]:.4f} ({machine["platform"]}, {packages}, '
                f'{machine["threads"]} threads{here})')
    except (OSError, ValueError, KeyError, TypeError):  # the scripts may be copied without the folder
        return None


def write_results(stem, record, model):
    """Write the record as STEM.json, its curves as STEM.png and the model as STEM.npz; return the paths."""
    json_path, png_path, npz_path = _paths(stem)
    settings = {name: value for name, value in record['config'].items() if name not in ('data_dir', 'results_dir')}
    training = {'settings': settings, **{name: record[name] for name in ('dataset', 'best_epoch', 'test_accuracy')}}
    contents = {json_path: json_bytes(record)}
    try:
        with plain_figures():
            contents[png_path] = png_bytes(curves.draw(stem.name, record))
    except Exception as error:  # any error of matplotlib: the results must be written all the same
        missing = isinstance(error, ImportError)
        remedy = 'run python -m pip install matplotlib' if missing else 'all values are in the JSON file'
        warn(f'could not plot the curves ({type(error).__name__}: {error}); {remedy}')
    contents[npz_path] = model_bytes(model, training)
    write_or_rescue(contents)
    if png_path not in contents:
        png_path.unlink(missing_ok=True)  # an earlier run's figure
    return list(contents)


def check_file_names(stem):
    """Raise an OSError before the training if a folder has the name of a results file."""
    for path in _paths(stem):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            if stat.S_ISDIR(os.lstat(path).st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))


def _paths(stem):
    return [stem.with_name(f'{stem.name}.{ending}') for ending in ('json', 'png', 'npz')]
