"""Nobody fakes a pass, and nothing is harmed: what a solution may try, behind bubblewrap and without it.

Each attack stands in the modules.py of a solution whose gradient of the bias is wrong.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time

import pytest

import small_solutions
from conftest import PATIENCE, ROOT
from grading import many_calls, sandbox
from grading.findings import CORRECT, INCORRECT, NOT_GRADED
from grading.judge import judge
from grading.remote import Server

pytestmark = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='solutions are run on Linux')

FORWARD = '        self.x = x\n        return x @'
MARKER = f'{os.getpid()}.{time.monotonic_ns()}'  # a number of seconds that nobody else sleeps
ATTACKS = [  # where, code, the cause or the text that is found all the same
    ('start', '''
import unittest, json, sys
np.allclose = np.array_equal = np.isclose = lambda *a, **k: True
np.testing.assert_allclose = lambda *a, **k: None
np.abs = lambda x: np.zeros_like(x)
unittest.TestCase.assertTrue = lambda *a: None
sys.exit = lambda *a: None''', 'mean instead of sum'),
    ('start', f'''
import ctypes, os, subprocess, threading, time
threading.Thread(target=lambda: time.sleep(3600)).start()
if not os.fork():
    os.setsid()
    ctypes.CDLL(None).prctl(15, b'its\\rname')
    if os.fork():
        os._exit(0)
    os.setsid()
    subprocess.Popen(['sleep', '{MARKER}'], start_new_session=True)
    subprocess.Popen(['sleep', '{MARKER}']).wait()
    os._exit(0)''', 'mean instead of sum'),
    ('start', 'import os, shutil\nshutil.rmtree(os.path.dirname(os.path.abspath(__file__)))', 'incorrect'),
    ('start', '''
import os
exec(compile('raise ValueError', os.path.join(os.path.dirname(__file__), '..', 'secret.py'), 'exec'))''',
     'ValueError (../secret.py, line 1)'),
    ('forward', '''import os
for fd in range(3, 64):
    try:
        os.write(fd, b'\\0' * 7 + b'\\x10' + b'{"value": true}\\n' * 8)
    except OSError:
        pass''', 'incorrect'),
    ('forward', 'import os; os._exit(0)', 'ended its process (exit code 0)'),
    ('forward', '''import itertools, time
for number in itertools.count():
    with open(f'{number}.bin', 'wb') as file:
        file.write(bytes(1 << 20))
    time.sleep(0.02)''', 'wrote more than 8 MB'),
    ('forward', "open('large.bin', 'wb').write(bytes(1 << 22))", 'File too large'),
    ('forward', "while True: print('right ' * 1000)", 'printed more than'),
    ('forward', 'np.ones(1 << 36)', 'MemoryError'),
    ('forward', 'import sys\nraise ValueError({name.split(".")[0] for name in sys.modules} & {"grading", "checks"})',
     'ValueError: set() (modules.py')]


@pytest.fixture(scope='module', params=[False, pytest.param(True, marks=pytest.mark.skipif(
    not sandbox.has_bubblewrap(), reason='bubblewrap is not installed, or not allowed'))], ids=['plain', 'bubblewrap'])
def server(request):
    with Server(bubblewrap=request.param) as server:
        yield server


@pytest.fixture
def attack(server, tmp_path, monkeypatch):
    """Judge the wrong solution with code at its start or in the forward of its linear module → what is found."""
    monkeypatch.setattr(many_calls, 'CALLS', 60)

    def run(start='', forward='', linear=INCORRECT):
        forward = ''.join(f'        {line}\n' for line in forward.splitlines())
        folder = small_solutions.write(tmp_path / 'student', changes=[
            ('dout.sum(axis=0)', 'dout.mean(axis=0)'), (FORWARD, forward + FORWARD),
            ('import numpy as np\n', f'import numpy as np\n{start}\n')])
        (tmp_path / 'secret.py').write_text('SECRET')
        findings = judge(server, folder).findings
        assert findings.verdict('linear') == findings.overall() == linear
        assert sorted(path.name for path in folder.iterdir()) == ['mlp_numpy.py', 'modules.py'], 'as handed in'
        assert sandbox.bytes_in(server.work) == 0, 'nothing is left'
        assert not alive(MARKER)
        if forward:
            assert findings.verdict('softmax') == CORRECT, 'the other parts are judged'
        assert not any('SECRET' in found.quote for found in findings.found), 'a line of the teacher\'s'
        return '\n'.join(f'{found.kind}: {found.cause}: {found.text}' for found in findings.found)
    return run


def alive(marker):
    """Is there a process with this word in its command line?"""
    for entry in os.listdir('/proc'):
        try:
            with open(f'/proc/{entry}/cmdline', 'rb') as file:
                if entry.isdigit() and marker.encode() in file.read():
                    return True
        except OSError:
            pass
    return False


def wait(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


@pytest.mark.parametrize('where, code, words', ATTACKS, ids=[words for *_, words in ATTACKS])
def test_an_attack_earns_nothing_and_leaves_nothing(attack, monkeypatch, where, code, words):
    monkeypatch.setattr(sandbox, 'MAX_FOLDER_BYTES', 8 << 20)
    monkeypatch.setitem(sandbox.LIMITS, 'RLIMIT_FSIZE', 3 << 20)
    assert words in attack(**{where: code})


def test_the_judges_files_cannot_be_read_behind_bubblewrap(attack, server):
    if not server.bubblewrap:
        pytest.skip('without bubblewrap nothing closes off the files')
    home = os.path.expanduser('~')
    told = attack(forward=f'''
import os, socket
seen = [path for path in ({os.path.abspath(small_solutions.__file__)!r}, {sandbox.__file__!r}) if os.path.exists(path)]
hidden = [name for name in (os.listdir({home!r}) if os.path.isdir({home!r}) else []) if not name.startswith('.pyenv')]
try:
    socket.create_connection(('127.0.0.1', 9), 1)
    network = 'connected'
except OSError as error:
    network = type(error).__name__
raise ValueError(f'{{seen}} {{hidden}} {{network}}')'''.strip())
    assert 'ValueError: [] [] ' in told and 'connected' not in told


def test_a_solution_that_kills_what_watches_it_is_looked_at_by_a_person(attack):
    attack(forward='import os, signal; os.kill(os.getppid(), signal.SIGKILL)', linear=NOT_GRADED)


@pytest.mark.parametrize('signals, code', [([signal.SIGINT], 130), ([signal.SIGINT] * 2, -signal.SIGINT),
                                           ([signal.SIGKILL], -signal.SIGKILL)])
def test_whatever_ends_the_grader_ends_the_solutions_that_hang(tmp_path, monkeypatch, signals, code):
    work = tmp_path / 'work'
    work.mkdir()
    for name in ('anna', 'ben', 'cleo'):
        small_solutions.write(tmp_path / name, {'modules.py': 'open("hangs", "w")\nwhile True: pass'})
    grader = subprocess.Popen(
        [sys.executable, ROOT / 'unittests.py', '--solution', 'anna', 'ben', 'cleo', '--report', 'graded', '--jobs=2',
         f'--timeout={PATIENCE}'], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, 'TMPDIR': str(work), 'PATH': os.environ['PATH'] if code == 130 else ''})  # no bwrap
    told = ''
    with grader:
        try:
            assert wait(lambda: len(list(work.rglob('hangs'))) == 2)
            for number in signals[1:]:
                grader.send_signal(number)
                told = grader.stderr.readline()
            grader.send_signal(signals[-1])
            told += grader.communicate(timeout=PATIENCE / 10)[1]  # 1 s where nothing else runs
        finally:
            grader.kill()
    killed = code == -signal.SIGKILL
    assert (grader.returncode, told) == (
        code, '' if killed else 'unittests.py: interrupted: run the same command again to resume\n')
    assert wait(lambda: not alive(str(work))) if killed else not alive(str(work))
    assert bool(list(work.iterdir())) == killed and not list(tmp_path.glob('graded/*.json'))
    monkeypatch.setattr(tempfile, 'tempdir', str(work))
    others = [work / f'grading-{name}' for name in ('2024-anna', 'solutions-2024_25-anna', f'solutions-{10**20}-a')]
    for folder in others:
        folder.mkdir()
    with Server(bubblewrap=False) as server:
        assert set(work.iterdir()) == {server.work, *others}, 'the next grader removes what a killed one left'
