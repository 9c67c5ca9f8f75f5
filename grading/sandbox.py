"""The sandbox of a solution: an environment without the user's variables, limits, and bubblewrap if it is installed."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

MEBIBYTE = 1 << 20
LIMITS = {  # of one solution's process and of each process that it starts
    'RLIMIT_AS': 4096 * MEBIBYTE,  # in addition to the memory that NumPy and PyTorch have mapped
    'RLIMIT_CPU': 300,  # seconds
    'RLIMIT_FSIZE': 64 * MEBIBYTE,
    'RLIMIT_NPROC': 64,  # in addition to the user's other processes
    'RLIMIT_CORE': 0,
}
USERS = range(61184, 65184)  # systemd uses these numbers for temporary users, too
MAX_FOLDER_BYTES = 256 * MEBIBYTE  # the total that a solution may write
MAX_OUTPUT_BYTES = 4 * MEBIBYTE  # the total that it may print

SYSTEM = ['/usr', '/bin', '/lib', '/lib64', '/lib32', '/sbin', '/etc/ld.so.cache', '/etc/alternatives',
          '/etc/localtime']


def environment(home):
    """The environment variables of a solution: none of the teacher's. One thread, so that a class fills all cores."""
    return {
        'PATH': '/usr/bin:/bin', 'HOME': str(home), 'TMPDIR': str(home), 'USER': 'student', 'LANG': 'C.UTF-8',
        'OMP_NUM_THREADS': '1', 'OPENBLAS_NUM_THREADS': '1', 'MKL_NUM_THREADS': '1', 'MPLBACKEND': 'Agg',
        'CUDA_VISIBLE_DEVICES': '', 'PYTHONDONTWRITEBYTECODE': '1', 'PYTHONHASHSEED': '0', 'TQDM_DISABLE': '1',
        **({'SYSTEMROOT': os.environ['SYSTEMROOT'], 'PATH': os.environ['PATH']} if os.name == 'nt' else {}),
    }


def has_bubblewrap():
    """Is bwrap installed, and allowed to make namespaces?"""
    if not (bwrap := shutil.which('bwrap')):
        return False
    probe = [bwrap, '--unshare-all', '--ro-bind', '/', '/', '--dev', '/dev', '--proc', '/proc', 'true']
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(probe, capture_output=True, timeout=20).returncode == 0
    return False


def command(work, arguments, bubblewrap):
    """The command that runs Python with `arguments`. It may see and write only the folder `work`."""
    python = [sys.executable, '-I', '-B', '-X', 'utf8', *arguments]  # utf8: on Windows as elsewhere
    if not bubblewrap:
        return python
    visible = [path for path in SYSTEM if os.path.exists(path)]
    visible += [path for path in dict.fromkeys([sys.base_prefix, sys.prefix, *packages()])
                if not path.startswith('/usr/')]
    binds = [word for path in visible for word in ('--ro-bind', path, path)]
    return [shutil.which('bwrap'), '--unshare-all', '--die-with-parent', '--new-session', '--proc', '/proc',
            '--dev', '/dev', '--size', str(64 * MEBIBYTE), '--tmpfs', '/tmp', *binds, '--bind', str(work), str(work),
            '--chdir', str(work), *python]


def packages():
    """The folders that NumPy and PyTorch are imported from; without the project's own."""
    here = Path(__file__).resolve().parent.parent
    return [path for path in sys.path if path.endswith(('site-packages', 'dist-packages')) and os.path.isdir(path)
            and not Path(path).is_relative_to(here)]


def can_change_user():
    """Can solutions run as other users: are we root, and may everybody read Python and its packages?"""
    if not hasattr(os, 'getuid') or os.getuid():
        return False
    places = {Path(path).resolve() for path in (sys.prefix, sys.base_prefix, os.__file__, *packages())}
    places |= {parent for place in places for parent in place.parents}
    return all(place.stat().st_mode & 0o005 == 0o005 or place.is_file() and place.stat().st_mode & 0o004 for place in places)


def protection(bubblewrap):
    """The protection on this system, in words for the report."""
    limits = 'time, memory, processes, files' if sys.platform == 'linux' else 'time, files'
    always = f'a process and a copy of the folder for each solution; limits on {limits} and output'
    if bubblewrap:
        return f'{always}; bubblewrap: no network, no view of other files'
    if can_change_user():
        return (f'{always}; a user of its own: the network and all files that every user may read are accessible '
                '(no bubblewrap)')
    return f'{always}; network and files are accessible (no bubblewrap)'


def bytes_in(folder):
    """The size of the files in a folder."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # removed meanwhile
                entry = os.lstat(os.path.join(path, name))
                total += entry.st_blocks * 512 if hasattr(entry, 'st_blocks') else entry.st_size
    return total
