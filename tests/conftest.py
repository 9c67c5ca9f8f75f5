import contextlib
import os
import re
import runpy
import shlex
import signal
import subprocess
import sys
from pathlib import Path

# pytest-xdist runs a test on each core; threads of the libraries would get in each other's way.
os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored if the tests run in the background

import pytest  # noqa: E402

from generated_data import GeneratedData, json_of, take_for_cifar10  # noqa: E402 (first: it sets what the rest reads)
from cifar10 import description, sources  # noqa: E402
from local_server import serving  # noqa: E402

ROOT = Path(__file__).parent.parent
LINUX = sys.platform.startswith('linux')


@pytest.fixture(scope='session')
def tiny():
    """60 training and 12 test images, for the routes to the data."""
    return GeneratedData(60, 12)


@pytest.fixture
def expect_tiny(tiny, monkeypatch, tmp_path):
    """The project takes `tiny` for CIFAR-10, knows no address and finds no npm."""
    monkeypatch.setattr(description, 'CIFAR10', tiny.content(archive_bytes=len(tiny.archive())))
    monkeypatch.setattr(sources, 'ADDRESSES', [])
    monkeypatch.setenv('PATH', str(tmp_path / 'bin'))
    return tiny


@pytest.fixture
def said(expect_tiny, tmp_path):
    """said(data_dir): why no data was found, without what is of this machine and without Python's or NumPy's words."""
    def ask(data_dir, *hosts):
        with pytest.raises(sources.DataUnavailable) as failure:
            sources.load_content(data_dir)
        text = str(failure.value).replace(str(tmp_path), 'TMP').replace(f'{len(expect_tiny.archive()):,}', 'ALL')
        for number, host in enumerate(hosts, 1):
            text = text.replace(host, f'HOST{number}')
        text = re.sub(r"(\(?[A-Z]\w+(?:Error|Warning): )(?!the |refused |HTTP|'labels|\d+ ×)[^\n]*",
                      lambda found: f'{found[1]}…' + ')' * (found[1][0] == '('), text)
        return re.sub(r'\[Errno \d+\]', '[Errno]', text)

    return ask


@pytest.fixture
def serve(monkeypatch):
    """serve(pages, resumes=True): start a local HTTP server, and look for the data at each of its pages in turn."""
    with contextlib.ExitStack() as servers:
        def start(pages, resumes=True):
            served = servers.enter_context(serving(pages, resumes))
            monkeypatch.setattr(sources, 'ADDRESSES', [served.address + path for path in pages])
            return served

        yield start


@contextlib.contextmanager
def little_memory(more):
    """This process can get so many bytes more, and no others, until the context ends."""
    if not LINUX:
        pytest.skip('needs Linux: its limits')
    import resource

    with open('/proc/self/statm') as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.fixture(scope='session')
def trainable():
    """1,400 images to train on, 500 to validate on, 300 to test on."""
    return GeneratedData(1900, 300, validation_size=500)


@pytest.fixture(scope='session')
def trainable_dir(trainable, tmp_path_factory):
    """A data_dir with the verified cache of `trainable`."""
    data_dir = tmp_path_factory.mktemp('data')
    (data_dir / sources.CACHE_NAME).write_bytes(trainable.content_bytes)
    return data_dir


@pytest.fixture
def expect_trainable(trainable, monkeypatch, trainable_dir):
    """The project takes `trainable` for CIFAR-10; gives the data_dir that has it."""
    take_for_cifar10(trainable.content(), monkeypatch)
    return str(trainable_dir)


INHERITED = dict(os.environ)  # as it is before a test patches it
PATIENCE = 300  # seconds that a process may take: far more than on a machine with much other work


@pytest.fixture
def run_script(trainable, trainable_dir):
    """Call run_script(SCRIPT, *arguments, **environment) for a process on the trainable data; None unsets a name.

    At the end of the test it is killed with its children, if it still runs.
    """
    started = []

    def run(script, *arguments, cwd=ROOT, start_only=False, processes=1, data_dir=trainable_dir,
            terminal_columns=None, stdout=subprocess.PIPE, before=None, **environment):
        command = [sys.executable, str(ROOT / 'tests' / 'run_script.py'), script, *map(str, arguments)]
        if not LINUX and (before or terminal_columns or {'LIMITS', 'CPUS'} & environment.keys()):
            pytest.skip('needs Linux: its limits or its terminals')
        if processes > 1:  # as the command torchrun does
            command[1:1] = ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={processes}']
        environment = {**INHERITED, 'GENERATED_CONTENT': json_of(trainable.content()),
                       'DATA_DIR': str(data_dir), **environment}
        environment = {name: value for name, value in environment.items() if value is not None}
        if terminal_columns:
            command = ['script', '-qfec', f'stty rows 24 cols {terminal_columns}; {shlex.join(command)}', '/dev/null']
        process = subprocess.Popen(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=stdout, preexec_fn=before,
                                   stderr=subprocess.PIPE, encoding='utf-8', env=environment, start_new_session=True)
        started.append(process)
        if start_only:
            return process
        out, err = process.communicate(timeout=PATIENCE)
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    yield run
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL) if hasattr(os, 'killpg') else process.kill()
        process.communicate()


@pytest.fixture
def run_in_process(monkeypatch, capsys, tmp_path):
    """run_in_process(SCRIPT, arguments) as __main__ in an empty folder → (exit code, output, standard error)."""
    def run(script, arguments):
        monkeypatch.setattr(sys, 'argv', [script, *arguments])
        monkeypatch.chdir(tmp_path)
        code = 0
        try:
            if script.endswith('.py'):
                runpy.run_path(str(ROOT / script), run_name='__main__')
            else:
                sys.modules.pop(script, None)  # as in a process that starts
                runpy.run_module(script, run_name='__main__')
        except SystemExit as ended:
            code = ended.code
        return code, *capsys.readouterr()

    return run
