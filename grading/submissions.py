"""What is handed in: the folder that holds a solution, in a folder or a .zip, or what was found instead."""

import contextlib
import os
import shutil
import stat
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

WANTED = ('modules.py', 'mlp_numpy.py')
DEEPEST = 6  # levels of folders that are looked through
MOST_FILES = 2000  # in a .zip
MOST_BYTES = 64 << 20  # unpacked
NOT_SOLUTIONS = {'venv', 'env', 'site-packages', 'node_modules', '__pycache__', '__MACOSX'}


class NotFound(Exception):
    """There is no solution to grade; the message says what was found instead."""


@contextlib.contextmanager
def opened(path):
    """The folder to grade, of a submission that is a folder or a .zip. Raises NotFound.

    A .zip is unpacked into a temporary folder, which is removed at the end.
    """
    with contextlib.ExitStack() as stack:
        for _ in range(2):  # a .zip, or a folder with one in it
            path = locate(Path(path))
            if path.suffix.lower() != '.zip' or path.is_dir():
                break
            path = unpack(path, Path(stack.enter_context(tempfile.TemporaryDirectory(prefix='submission-'))))
        yield path


def is_submission(path):
    """Is a path among the submissions of a class one: a folder or a .zip, and not a file such as index.html?"""
    return os.path.isdir(path) or str(path).lower().endswith('.zip')


def locate(path):
    """The folder with modules.py or mlp_numpy.py: the one given, or the only one in it; or the only .zip in it.

    Raises NotFound.
    """
    if path.is_file():
        if path.suffix.lower() == '.zip':
            return path
        raise NotFound(f'{path.name} is neither a folder nor a .zip')
    folders, archives, similar = [], [], []
    for folder, names, files in _walk(path):
        if any(name in files for name in WANTED):
            folders.append(folder)
            names.clear()  # the solution is found: nothing in it is another one
        archives += [folder / name for name in files if name.lower().endswith('.zip')]
        similar += [name for name in files if _resembles(name)]
    found = folders or archives
    if len(found) == 1:
        return found[0]
    if found:
        names = ', '.join(sorted(str(folder.relative_to(path)) for folder in found)[:5])
        raise NotFound(f'there are {len(found)} solutions ({names}): which one is it?')
    if similar:
        raise NotFound(f'no modules.py; found {", ".join(sorted(set(similar))[:3])}: is it that?')
    return path  # each part is missing


def _walk(path):
    """os.walk, of folders that can hold a solution, with a bound on the depth; links are not followed."""
    for folder, names, files in os.walk(path):
        folder = Path(folder)
        names[:] = sorted(name for name in names if name not in NOT_SOLUTIONS and not name.startswith('.')
                          and not (folder / name / 'pyvenv.cfg').exists() and not (folder / name).is_symlink())
        if len(folder.relative_to(path).parts) >= DEEPEST:
            names.clear()
        yield folder, names, files


def _resembles(name):
    """modules-1.py, modules (1).py, Modules.py, modules.py.txt, modules.ipynb, any notebook."""
    name = name.lower()
    return name.endswith('.ipynb') or name.startswith(('modules', 'mlp_numpy')) and name.endswith(('.py', '.txt', '.py~'))


def unpack(archive, target):
    """Write the regular files of a .zip into a folder. Raises NotFound for one that is damaged, too large or hostile."""
    def refuse(reason):
        raise NotFound(f'{archive.name} cannot be unpacked: {reason}')

    try:
        with zipfile.ZipFile(archive) as opened_archive:
            members = [member for member in opened_archive.infolist() if not member.is_dir()]
            if len(members) > MOST_FILES or sum(member.file_size for member in members) > MOST_BYTES:
                refuse(f'it holds more than {MOST_FILES} files or {MOST_BYTES >> 20} MB')
            for member in members:
                name = PurePosixPath(member.filename.replace('\\', '/'))
                if name.is_absolute() or '..' in name.parts or ':' in member.filename:
                    refuse('a name leads out of it')
                if member.external_attr >> 16 and not stat.S_ISREG(member.external_attr >> 16):
                    continue  # a link, say
                place = target.joinpath(*name.parts)
                place.parent.mkdir(parents=True, exist_ok=True)
                with opened_archive.open(member) as source, open(place, 'wb') as file:
                    shutil.copyfileobj(source, file)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        refuse(str(error) or type(error).__name__)
    return target
