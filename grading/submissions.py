"""Submissions: finds the solution in a folder or a .zip, or describes the content if there is none."""

import contextlib
import errno
import os
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

FILES = ['modules', 'mlp_numpy', 'mlp_pytorch', 'train_mlp_numpy', 'train_mlp_pytorch']
WANTED = ('modules.py', 'mlp_numpy.py')
DEEPEST = 6  # levels of folders that are looked through
MOST_FILES = 2000  # in a .zip, and in the files that a solution may import
MOST_BYTES = 64 << 20  # of a .zip, unpacked
LARGEST = 2 << 20  # bytes: larger files are data and weights
PREFIX = 'grading-solutions-{}-'  # of temporary folders, with the number of the process
NOT_SOLUTIONS = {'venv', 'env', 'site-packages', 'node_modules', '__pycache__', '__MACOSX', 'lightning_logs'}


class NotFound(Exception):
    """There is no solution to grade; the message describes the content of the submission."""


@contextlib.contextmanager
def opened(path):
    """The folder to grade, of a submission that is a folder or a .zip. Raises NotFound.

    A .zip is unpacked into a temporary folder, which is removed at the end (or by the next run, see remote.py).
    """
    with contextlib.ExitStack() as stack:
        for _ in range(2):  # a .zip, or a folder with one in it
            path = locate(Path(path))
            if path.suffix.lower() != '.zip' or path.is_dir():
                break
            path = unpack(path, Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=PREFIX.format(os.getpid())))))
        yield path


def is_submission(path):
    """Is the path a submission: a folder or a .zip, and not a file such as index.html?"""
    return os.path.isdir(path) or str(path).lower().endswith('.zip')


def may_be_handed_in(path):
    """Is the path a file that somebody may have handed in, and that is not graded?"""
    return not is_submission(path) and bool(re.search(r'\.(rar|7z|tar|t?gz|bz2|xz|py|ipynb)$', str(path).lower()))


def locate(path):
    """The folder with modules.py or mlp_numpy.py: the one given, or the only one in it; or the only .zip in it.

    Raises NotFound.
    """
    if path.is_file():
        if path.suffix.lower() == '.zip':
            return path
        raise NotFound(f'{path.name} is neither a folder nor a .zip')
    folders, archives, notebooks, names_found = {}, [], set(), set()
    for folder, names, files in _walk(path):
        if wanted := sum(name in files for name in WANTED):
            folders[folder] = wanted
            names.clear()  # the solution is found: nothing in it is another one
        archives += [folder / name for name in files if name.lower().endswith('.zip')
                     and not (folder / name).is_symlink()]
        names_found.update(files)
        notebooks.update(name for name in files if name.lower().endswith('.ipynb'))
    most = max(folders.values(), default=0)
    found = [folder for folder, wanted in folders.items() if wanted == most] or archives
    if len(found) > 1:
        names = ', '.join(sorted(folder.relative_to(path).as_posix() for folder in found)[:5])
        raise NotFound(f'there are {len(found)} possible solutions ({names}): which one is it?')
    if found and (most == 0 or (found[0] / WANTED[0]).is_file()):
        return found[0]
    if instead := similar(WANTED[0], names_found) or notebooks:
        raise NotFound(f'no {WANTED[0]}; found {", ".join(sorted(instead)[:3])}: is it that?')
    if found or any((path / f'{name}.py').exists() for name in FILES):  # a part may be there
        return found[0] if found else path
    if not names_found:
        raise NotFound(f'no {WANTED[0]}: there are no files in the first {DEEPEST + 1} levels of folders'
                       if any(path.iterdir()) else f'no {WANTED[0]}: the folder is empty')
    shown = ', '.join(sorted(names_found, key=lambda name: (not name.endswith('.py'), name))[:5])
    raise NotFound(f'no {WANTED[0]}; found {shown}{" …" * (len(names_found) > 5)}')


def _walk(path):
    """os.walk, of folders that can hold a solution, with a bound on the depth; links are not followed."""
    for folder, names, files in os.walk(path):
        folder = Path(folder)
        names[:] = sorted(name for name in names if name not in NOT_SOLUTIONS and not name.startswith('.')
                          and not (folder / name / 'pyvenv.cfg').exists() and not (folder / name).is_symlink())
        if len(folder.relative_to(path).parts) >= DEEPEST:
            names.clear()
        yield folder, names, files


def similar(wanted, names):
    """Files that may be the wanted one under another name: modules-1.py, modules (1).py, Modules.py, modules.py.txt."""
    stem = wanted.removesuffix('.py')
    return {name for name in names if name != wanted and re.fullmatch(
        rf'(copy of )?{stem}([-_ .]?\W*(\d+|copy|final|new)\W*)*(\.py)?(\.txt|\.py|~)', name.lower())}


def instead_of(wanted, folder):
    """The note about a missing file: similar files that are there, or ''."""
    found = similar(wanted, [path.name for path in folder.iterdir()]) if folder.is_dir() else set()
    return f'no {wanted}; found {", ".join(sorted(found)[:3])}: is it that?' if found else ''


def files(folder):
    """The files that an import of the solution may need, as paths in its folder: no data, no link that leads outside."""
    inside, found = Path(folder).resolve(), []
    for path, _, names in _walk(Path(folder)):
        front = path.relative_to(folder)
        for name in names:
            file = path / name
            with contextlib.suppress(OSError, RuntimeError):  # not to be read, or links in a circle
                if (file.is_file() and file.stat().st_size <= LARGEST and file.resolve().is_relative_to(inside)
                        and ('data' not in front.parts or file.suffix == '.py')):
                    found.append(front / name)
    return sorted(found, key=lambda path: (path.suffix != '.py', len(path.parts), path))[:MOST_FILES]


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
                if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):  # 0: many programs name no kind
                    continue  # a link, say
                place = target.joinpath(*name.parts)
                place.parent.mkdir(parents=True, exist_ok=True)
                with opened_archive.open(member) as source, open(place, 'wb') as file:
                    shutil.copyfileobj(source, file)
    except (FileExistsError, IsADirectoryError):
        refuse('a file and a folder in it have one name')
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        refuse('a name in it is too long')
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        refuse(str(error) or 'it is cut short')  # EOFError has no text
    return target
