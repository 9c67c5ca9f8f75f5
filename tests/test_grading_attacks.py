"""Nobody fakes a pass, and nothing is harmed: what a solution may try, behind bubblewrap and without it.

Each attack stands in the modules.py of a solution whose gradient of the bias is wrong.
"""

import os
import sys
import time

import pytest

import small_solutions
from grading import sandbox
from grading.findings import CORRECT, INCORRECT, NOT_GRADED
from grading.judge import judge
from grading.remote import Server

pytestmark = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='solutions are run on Linux')

WRONG = ('dout.sum(axis=0)', 'dout.mean(axis=0)')
FORWARD = '        self.x = x\n        return x @'


@pytest.fixture(scope='module', params=[False, pytest.param(True, marks=pytest.mark.skipif(
    not sandbox.has_bubblewrap(), reason='bubblewrap is not installed, or not allowed'))], ids=['plain', 'bubblewrap'])
def server(request):
    with Server(bubblewrap=request.param, timeout=20) as server:
        yield server


@pytest.fixture
def attack(server, tmp_path):
    """Judge the wrong solution with code at its start, or in the forward of its linear module → its Judgement."""
    def run(start='', forward='', timeout=20, change=WRONG):
        server.timeout = timeout
        changes = [change, ('import numpy as np\n', f'import numpy as np\n{start}\n')]
        if forward:
            changes.append((FORWARD, ''.join(f'        {line}\n' for line in forward.splitlines()) + FORWARD))
        return judge(server, small_solutions.write(tmp_path / 'student', changes=changes))
    return run


def is_wrong(judgement):
    return judgement.findings.verdict('linear') == 'incorrect' and judgement.findings.overall() == 'incorrect'


def told(judgement):
    return '\n'.join(finding.text for finding in judgement.findings.found)


def names_the_mean(judgement):
    return 'mean instead of sum' in [finding.cause for finding in judgement.findings.of('linear')]


def test_numpy_and_unittest_patched_change_only_its_own_numbers(attack):
    judgement = attack('''
import unittest, json, sys
np.allclose = np.array_equal = np.isclose = lambda *a, **k: True
np.testing.assert_allclose = lambda *a, **k: None
np.abs = lambda x: np.zeros_like(x)
unittest.TestCase.assertTrue = lambda *a: None
sys.exit = lambda *a: None
''')
    assert is_wrong(judgement) and names_the_mean(judgement)


def test_writing_to_every_file_and_pipe_in_reach_earns_nothing(attack):
    judgement = attack(forward='''
import os, json
for fd in range(3, 64):
    try:
        os.write(fd, b'\\\\0' * 7 + b'\\\\x10' + b'{"value": true}\\\\n' * 8)
    except OSError:
        pass'''.replace('\\\\', '\\').strip())
    assert is_wrong(judgement)
    assert 'linear' in judgement.findings.status or 'graded' in told(judgement)


def test_a_report_cannot_be_written_from_atexit(attack, tmp_path):
    report = tmp_path / 'report.json'
    judgement = attack(f'''
import atexit
atexit.register(lambda: open({str(report)!r}, 'w').write('right'))
''')
    assert is_wrong(judgement) and not report.exists()


def test_os_exit_is_a_finding_and_the_other_parts_are_judged(attack):
    judgement = attack(forward='import os; os._exit(0)')
    assert 'ended its process (exit code 0)' in told(judgement)
    assert is_wrong(judgement)
    assert judgement.findings.verdict('softmax') == 'correct'


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


def test_a_child_and_its_grandchild_end_with_the_solution(attack):
    marker = f'{os.getpid()}.{time.monotonic_ns()}'  # a number of seconds that nobody else sleeps
    judgement = attack(f'''
import os, subprocess
if not os.fork():
    os.setsid()
    if os.fork():
        os._exit(0)
    os.setsid()
    subprocess.Popen(['sleep', '{marker}'], start_new_session=True)
    subprocess.Popen(['sleep', '{marker}']).wait()
    os._exit(0)
''')
    assert is_wrong(judgement) and names_the_mean(judgement)
    assert not alive(marker)


def test_a_thread_that_stays_holds_nothing_up(attack):
    start = time.monotonic()
    judgement = attack('''
import threading, time
threading.Thread(target=lambda: [time.sleep(3600)]).start()
''')
    assert is_wrong(judgement) and names_the_mean(judgement)
    assert time.monotonic() - start < 30


def test_no_line_of_the_teachers_files_is_quoted(attack, tmp_path):
    (tmp_path / 'secret.py').write_text('SECRET')
    judgement = attack("""
import os
exec(compile('raise ValueError', os.path.join(os.path.dirname(__file__), '..', 'secret.py'), 'exec'))
""")
    assert is_wrong(judgement) and [finding.quote for finding in judgement.findings.found] == ['']


def test_its_folder_can_be_deleted_and_the_original_stays(attack, tmp_path):
    judgement = attack('''
import os, shutil
shutil.rmtree(os.path.dirname(os.path.abspath(__file__)))
''')
    assert is_wrong(judgement)
    assert sorted(path.name for path in (tmp_path / 'student').iterdir()) == ['mlp_numpy.py', 'modules.py']


def test_a_disk_is_not_filled(attack, monkeypatch, server):
    monkeypatch.setattr(sandbox, 'MAX_FOLDER_BYTES', 8 << 20)
    judgement = attack(forward='''
import itertools, time
for number in itertools.count():
    with open(f'{number}.bin', 'wb') as file:
        file.write(bytes(1 << 20))
    time.sleep(0.02)'''.strip())
    assert is_wrong(judgement) and 'wrote more than 8 MB' in told(judgement)
    assert sandbox.bytes_in(server.work, 1 << 40) < 1 << 20, 'nothing is left'


def test_a_file_has_a_largest_size(attack, monkeypatch):
    monkeypatch.setitem(sandbox.LIMITS, 'RLIMIT_FSIZE', 1 << 20)
    judgement = attack(forward="open('large.bin', 'wb').write(bytes(1 << 22))")
    assert is_wrong(judgement) and ('File too large' in told(judgement) or 'file size' in told(judgement))


def test_endless_output_is_cut(attack):
    judgement = attack(forward="while True: print('right ' * 1000)")
    assert is_wrong(judgement) and 'printed more than' in told(judgement)


def test_an_endless_loop_is_a_finding(attack):
    judgement = attack(forward='while True: pass', timeout=0.2)
    assert is_wrong(judgement) and 'endless loop' in told(judgement)


def test_memory_has_a_limit(attack):
    judgement = attack(forward='np.ones(1 << 36)')
    assert is_wrong(judgement) and 'MemoryError' in told(judgement)


def test_the_teachers_environment_and_the_judge_are_not_in_its_process(attack, monkeypatch):
    monkeypatch.setenv('TEACHERS_TOKEN', 'secret-1234')
    judgement = attack(forward='''
import gc, os, sys
words = ' '.join(os.environ.values())
modules = [name for name in sys.modules if name.split('.')[0] in ('grading', 'checks')]
raise ValueError(f'{"TEACHERS_TOKEN" in os.environ} {"secret-1234" in words} {modules}')'''.strip())
    assert 'False False []' in told(judgement)


def test_the_judges_files_cannot_be_read_behind_bubblewrap(attack, server):
    if not server.bubblewrap:
        pytest.skip('without bubblewrap nothing closes off the files')
    home = os.path.expanduser('~')
    judgement = attack(forward=f'''
import os, socket
seen = [path for path in ({os.path.abspath(small_solutions.__file__)!r}, {sandbox.__file__!r}) if os.path.exists(path)]
hidden = [name for name in (os.listdir({home!r}) if os.path.isdir({home!r}) else []) if not name.startswith('.pyenv')]
try:
    socket.create_connection(('127.0.0.1', 9), 1)
    network = 'connected'
except OSError as error:
    network = type(error).__name__
raise ValueError(f'{{seen}} {{hidden}} {{network}}')'''.strip())
    assert 'ValueError: [] [] ' in told(judgement) and 'connected' not in told(judgement)


def test_a_solution_that_kills_what_watches_it_is_looked_at_by_a_person(attack, server):
    judgement = attack(forward='import os, signal; os.kill(os.getppid(), signal.SIGKILL)')
    assert judgement.findings.verdict('linear') == (INCORRECT if server.bubblewrap else NOT_GRADED)
    assert judgement.findings.verdict('softmax') == CORRECT
