"""What is handed in: which folder is graded, and what is said if there is none or if it cannot be told."""

import io
import stat
import struct
import zipfile

import pytest

from grading import submissions


def hand_in(folder, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def zipped(*names, kind=0, text=None, how=zipfile.ZIP_STORED):
    content = io.BytesIO()
    with zipfile.ZipFile(content, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            member = zipfile.ZipInfo(name)
            member.compress_type, member.external_attr = how, (kind | 0o644) << 16
            archive.writestr(member, text or name)
    return content.getvalue()


@pytest.mark.parametrize('names, found', [
    (['modules.py', 'a/modules.py'], '.'), (['mlp_numpy.py'], '.'), (['a/modules.py'], 'a'), (['a/mlp_numpy.py'], 'a'),
    (['a/modules.py', 'a/old/modules.py'], 'a'), (['train_mlp_pytorch.py'], '.'), (['a/b/c/d/e/f/modules.py'], 'a/b/c/d/e/f'),
    (['a/modules.py', '.git/modules.py', '__MACOSX/a/modules.py', 'venv/modules.py'], 'a'),
    (['a/modules.py', 'mine/pyvenv.cfg', 'mine/lib/modules.py'], 'a'),
    (['a/modules.py', 'a/mlp_numpy.py', 'assignment2/modules.py'], 'a')])
def test_the_only_folder_with_the_files_is_graded(tmp_path, names, found):
    hand_in(tmp_path, names)
    with submissions.opened(tmp_path) as folder:
        assert folder == tmp_path / found
        assert len(submissions.files(folder)) <= len(names)


def test_of_too_many_files_those_of_python_are_graded(tmp_path, monkeypatch):
    monkeypatch.setattr(submissions, 'MOST_FILES', 2)
    hand_in(tmp_path, ['a.txt', 'modules.py', 'a/mlp.py', 'a/x.py'])
    assert [path.name for path in submissions.files(tmp_path)] == ['modules.py', 'mlp.py']


@pytest.mark.parametrize('names, words', [
    (['one/modules.py', 'two/modules.py'], 'there are 2 possible solutions (one, two): which one is it?'),
    (['one/mlp.zip', 'two/mlp.zip'], 'there are 2 possible solutions (one/mlp.zip, two/mlp.zip): which one is it?'),
    *(([f'a/{name}'], f'no modules.py; found {name}: is it that?') for name in (
        'modules-1.py', 'modules (1).py', 'Modules.py', 'modules.py.txt', 'Copy of modules.py', 'Untitled.ipynb')),
    (['mlp_numpy.py', 'modules (1).py', 'my_modules.py'], 'no modules.py; found modules (1).py: is it that?'),
    (['b.rar', *(f'a{n}.txt' for n in range(4)), 'ann_modules.py'], 'no modules.py; found ann_modules.py, a0.txt, a1.txt, a2.txt, a3.txt …'),
    ([], 'no modules.py: the folder is empty'),
    (['a/b/c/d/e/f/g/modules.py'], 'no modules.py: there are no files in the first 7 levels of folders')])
def test_what_can_not_be_told_is_said(tmp_path, names, words):
    hand_in(tmp_path, names)
    with pytest.raises(submissions.NotFound) as reason, submissions.opened(tmp_path):
        pass
    assert str(reason.value) == words


@pytest.mark.parametrize('place, kind', [('anna.zip', stat.S_IFREG), ('Anna/handed in/mlp.ZIP', 0)])
def test_a_zip_is_unpacked_for_as_long_as_it_is_graded(tmp_path, place, kind):
    hand_in(tmp_path, [place])
    (tmp_path / place).write_bytes(zipped('mlp/modules.py', 'mlp/mlp_numpy.py', '__MACOSX/mlp/modules.py', kind=kind))
    with submissions.opened(tmp_path if '/' in place else tmp_path / place) as folder:
        assert (folder / 'modules.py').read_text() == 'mlp/modules.py'
    assert not folder.exists()


@pytest.mark.parametrize('content, words', [(b'no zip', 'anna.zip cannot be unpacked: File is not a zip file'),
    (zipped('modules.py').replace(struct.pack('<2L', 10, 10), struct.pack('<2L', 999, 999)), ': it is cut short$|Overlapped entries'),
    (zipped('modules.py', how=zipfile.ZIP_DEFLATED).replace(b'\xcb', b'\xff'), 'Error -3 while decompressing'),
    *((zipped(*names), 'a file and a folder in it have one name') for names in (['a', 'a/b'], ['a/b', 'a'])),
    (zipped('n' * 300), 'a name in it is too long'),
    *((zipped(name), 'a name leads out of it') for name in (
        '../modules.py', '/modules.py', 'a\\..\\..\\modules.py', 'C:/modules.py')),
    *((content, 'it holds more than 2000 files or 64 MB') for content in (
        zipped('modules.py', text=bytes(submissions.MOST_BYTES + 1)), zipped(*map(str, range(2001)))))])
def test_a_zip_that_is_damaged_or_hostile_is_refused(tmp_path, content, words):
    (tmp_path / 'anna.zip').write_bytes(content)
    with pytest.raises(submissions.NotFound, match=words), submissions.opened(tmp_path / 'anna.zip'):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ['anna.zip']


def test_a_link_in_a_zip_is_no_file_and_a_link_to_one_is_no_zip(tmp_path):
    (tmp_path / 'anna.zip').write_bytes(zipped('modules.py', kind=stat.S_IFLNK, text='/etc/passwd'))
    with pytest.raises(submissions.NotFound, match='empty'), submissions.opened(tmp_path / 'anna.zip'):
        pass
    hand_in(tmp_path, ['ben/notes.txt'])
    (tmp_path / 'ben' / 'mine.zip').symlink_to(tmp_path / 'anna.zip')
    with pytest.raises(submissions.NotFound, match='no modules.py; found mine.zip, notes.txt'):
        submissions.locate(tmp_path / 'ben')


def test_of_a_class_folders_and_zips_are_submissions(tmp_path):
    hand_in(tmp_path, ['anna/modules.py', 'ben.zip', 'index.html', 'grades.csv', 'cleo.tar.gz', 'x_modules.py'])
    assert {path.name for path in tmp_path.iterdir() if submissions.is_submission(path)} == {'anna', 'ben.zip'}
    assert {path.name for path in tmp_path.iterdir() if submissions.may_be_handed_in(path)} == {'cleo.tar.gz', 'x_modules.py'}


def test_of_a_file_that_is_missing_what_resembles_it_is_told(tmp_path):
    hand_in(tmp_path, ['modules.py', *(f'mlp_numpy-{number}.py' for number in range(4))])
    assert submissions.instead_of('mlp_numpy.py', tmp_path) == (
        'no mlp_numpy.py; found mlp_numpy-0.py, mlp_numpy-1.py, mlp_numpy-2.py: is it that?')
    assert submissions.instead_of('mlp_pytorch.py', tmp_path) == ''
