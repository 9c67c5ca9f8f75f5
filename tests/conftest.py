import concurrent.futures
import contextlib
import inspect
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

# Two tests run at a time, see running_ahead; threads of the libraries would get in each other's way.
os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')

import pytest  # noqa: E402

import cifar10_sources  # noqa: E402
from generated_data import GeneratedData  # noqa: E402
from local_server import serving  # noqa: E402

ROOT = Path(__file__).parent.parent
RUNNING = pytest.StashKey()


def pytest_collection_modifyitems(items):
    """Tests marked "ahead" come last: nothing is to wait for them before it must."""
    items.sort(key=lambda item: item.get_closest_marker('ahead') is not None)


@pytest.fixture(scope='session', autouse=True)
def running_ahead(request, tmp_path_factory):
    """Tests marked "ahead" wait for processes: they run in a thread, one after the other, beside all others.

    They take fixtures of the session, tmp_path and parameters, and patch nothing.
    """
    def argument(item, name):
        parameters = item.callspec.params if hasattr(item, 'callspec') else {}
        if name in parameters:
            return parameters[name]
        return tmp_path_factory.mktemp('ahead') if name == 'tmp_path' else request.getfixturevalue(name)

    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        for item in request.session.items:
            if item.get_closest_marker('ahead'):
                names = inspect.signature(item.function).parameters
                arguments = {name: argument(item, name) for name in names}
                item.stash[RUNNING] = executor.submit(item.function, **arguments)
        yield
        executor.shutdown(cancel_futures=True)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Where a test runs ahead, wait for it, and pass or fail as it did."""
    if RUNNING in pyfuncitem.stash:
        pyfuncitem.stash[RUNNING].result()
        return True


@pytest.fixture(scope='session')
def tiny():
    """60 training and 12 test images, for the routes to the data."""
    return GeneratedData(60, 12)


@pytest.fixture
def expect_tiny(tiny, monkeypatch, tmp_path):
    """The project takes `tiny` for CIFAR-10, knows no address and finds no npm."""
    monkeypatch.setattr(cifar10_sources, 'CIFAR10', tiny.content(archive_bytes=len(tiny.archive())))
    monkeypatch.setattr(cifar10_sources, 'ADDRESSES', [])
    monkeypatch.setenv('PATH', str(tmp_path / 'bin'))
    return tiny


@pytest.fixture
def serve():
    """Start a local HTTP server: serve(pages, resumes=True) → its address, the paths and ranges requested so far."""
    with contextlib.ExitStack() as servers:
        yield lambda *args, **kwargs: servers.enter_context(serving(*args, **kwargs))


@pytest.fixture(scope='session')
def trainable():
    """Enough images that 1,400 are left to train on beside the validation set of 5,000."""
    return GeneratedData(6400, 300)


@pytest.fixture(scope='session')
def trainable_dir(trainable, tmp_path_factory):
    """A data_dir with the verified cache of `trainable`."""
    data_dir = tmp_path_factory.mktemp('data')
    (data_dir / cifar10_sources.CACHE_NAME).write_bytes(trainable.content_bytes)
    return data_dir


@pytest.fixture
def expect_trainable(trainable, monkeypatch, trainable_dir):
    """The project takes `trainable` for CIFAR-10; gives the data_dir that has it."""
    monkeypatch.setattr(cifar10_sources, 'CIFAR10', trainable.content())
    return str(trainable_dir)


@pytest.fixture(scope='session')
def study(trainable, trainable_dir, tmp_path_factory):
    """The results folder of a small study of batch normalization."""
    import small_study  # which needs torch

    folder = tmp_path_factory.mktemp('study')
    small_study.run_here(folder, trainable_dir, trainable.content())
    return folder


@pytest.fixture(scope='session')
def run_script(trainable, trainable_dir):
    """Call run_script(SCRIPT, *arguments, **environment) for a process on the trainable data."""
    inherited = dict(os.environ)  # as it is before a test patches it

    def run(script, *arguments, cwd=ROOT, start_only=False, processes=1, data_dir=trainable_dir,
            terminal_columns=None, **environment):
        command = [sys.executable, str(ROOT / 'tests' / 'run_script.py'), script, *map(str, arguments)]
        if processes > 1:  # as the command torchrun does
            command[1:1] = ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={processes}']
        environment = {**inherited, 'GENERATED_CONTENT': json.dumps(trainable.content()), 'DATA_DIR': str(data_dir),
                       **environment}
        if terminal_columns:
            command = ['script', '-qfec', f'stty rows 24 cols {terminal_columns}; {shlex.join(command)}', '/dev/null']
        if start_only:
            return subprocess.Popen(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, encoding='utf-8', env=environment)
        return subprocess.run(command, cwd=cwd, capture_output=True, encoding='utf-8', timeout=120,
                              stdin=subprocess.DEVNULL, env=environment)

    return run
