"""Whatever an address does, the next one is tried, what has arrived is not lost, and only CIFAR-10 is believed."""

import dataclasses
import itertools
import json
import time

import pytest

from cifar10 import fetching, sources
from conftest import PATIENCE
from generated_data import json_of
from test_data_routes import assert_is, load


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr(fetching, 'TIMEOUT_SECONDS', 0.4)
    monkeypatch.setattr(fetching, 'SPEED_WINDOW_SECONDS', 0.2)


HTML = b'<html>please log in to the campus network</html>'


def html(request, archive):
    request.send(HTML)


def html_of_unknown_length(request, archive):
    request.head()
    request.wfile.write(HTML)


def cut_short(request, archive):
    request.head(len(archive))
    request.wfile.write(archive[:5000])


def cut_short_of_unknown_length(request, archive):
    request.head()
    request.wfile.write(archive[:5000])


def flipped_bit(request, archive):
    request.send(archive[:5000] + bytes([archive[5000] ^ 1]) + archive[5001:])


def more_bytes_than_announced(request, archive):
    request.head(len(archive))
    request.wfile.write(fetching.GZIP + bytes(len(archive)) + archive)


def more_bytes_of_unknown_length(request, archive):
    request.head()
    request.wfile.write(fetching.GZIP + bytes(2 * len(archive)))


def nothing_at_all(request, archive):
    request.head()


def another_length(request, archive):
    request.send(archive + b'more')


def never_answers(request, archive):
    request.pause()


def stalls_in_the_middle(request, archive):
    request.head(len(archive))
    request.wfile.write(archive[:5000])
    request.wfile.flush()
    request.pause()


def trickles(request, archive):
    request.head(len(archive))
    for start in range(0, len(archive), 500):
        request.wfile.write(archive[start:start + 500])
        request.wfile.flush()
        if request.pause(0.02):
            return


def redirect_loop(request, archive):
    request.head(0, 302, Location=request.path)


def redirect_to_a_file(request, archive):
    request.head(0, 302, Location='file:///etc/hostname')


def redirect_to_ftp(request, archive):
    request.head(0, 302, Location='ftp://127.0.0.1:9/archive')


def garbage(request, archive):
    request.wfile.write(b'this is not HTTP\r\n\r\n')


FAULTS = [404, 500, 503, html, html_of_unknown_length, nothing_at_all, cut_short, cut_short_of_unknown_length,
          flipped_bit, more_bytes_than_announced, more_bytes_of_unknown_length, another_length, never_answers,
          stalls_in_the_middle, trickles, redirect_loop, redirect_to_a_file, redirect_to_ftp, garbage]
NOTHING_KEPT = [404, 500, 503, html, html_of_unknown_length, nothing_at_all, another_length, never_answers, redirect_loop,
                redirect_to_a_file, redirect_to_ftp, garbage]


def name_of(fault):
    return fault if isinstance(fault, (int, str)) else fault.__name__


def page(fault, archive):
    return fault if isinstance(fault, int) else lambda request: fault(request, archive)


@pytest.mark.parametrize('resumes', [True, False], ids=['the next resumes', 'the next starts over'])
@pytest.mark.parametrize('fault', FAULTS, ids=name_of)
def test_behind_an_address_that_misbehaves_the_next_one_is_tried(expect_tiny, tmp_path, serve, monkeypatch, fault,
                                                                 resumes):
    archive = expect_tiny.archive()
    bad = serve({'/bad': page(fault, archive)})
    good = serve({'/good': archive}, resumes)
    monkeypatch.setattr(sources, 'ADDRESSES', [f'{bad.address}/bad', f'{good.address}/good'])
    assert_is(load(tmp_path), expect_tiny)
    assert bad.paths and good.paths
    assert sorted(path.name for path in tmp_path.iterdir()) == ['cifar10.bin', 'cifar10.lock']
    if fault in (cut_short, cut_short_of_unknown_length, stalls_in_the_middle):
        assert good.ranges == ['bytes=5000-'], 'what has arrived is not fetched twice'
    elif fault in NOTHING_KEPT:
        assert good.ranges == [None], 'what is not the archive is not gone on with'


def test_what_had_arrived_survives_a_page_that_is_not_the_archive(expect_tiny, tmp_path, serve, monkeypatch):
    archive = expect_tiny.archive()
    (tmp_path / 'cifar-10-python.tar.gz.part').write_bytes(archive[:7000])
    bad = serve({'/bad': page(html_of_unknown_length, archive)})
    good = serve({'/good': archive})
    monkeypatch.setattr(sources, 'ADDRESSES', [f'{bad.address}/bad', f'{good.address}/good'])
    assert_is(load(tmp_path), expect_tiny)
    assert good.ranges == ['bytes=7000-']


def test_a_body_without_end_is_left_at_the_size_of_the_archive(expect_tiny, tmp_path, serve, monkeypatch):
    sent_to_the_end = []

    def endless(request):
        request.head()
        request.wfile.write(fetching.GZIP)
        for _ in range(40):  # more than lies in the buffers of a connection
            request.wfile.write(bytes(2**20))
        sent_to_the_end.append(True)

    served = serve({'/endless': endless})
    monkeypatch.setattr(sources, 'ADDRESSES', [f'{served.address}/endless'])
    with pytest.raises(sources.DataUnavailable, match='damaged archive'):
        load(tmp_path)
    assert served.paths and not sent_to_the_end


def test_an_answer_leads_nowhere_but_to_http(expect_tiny, tmp_path, serve, monkeypatch):
    (tmp_path / 'secret').write_bytes(expect_tiny.archive())
    targets = {'/file': f'file://{tmp_path}/secret', '/ftp': 'ftp://127.0.0.1:9/archive'}
    address, *_ = serve({path: lambda request, target=target: request.head(0, 302, Location=target)
                         for path, target in targets.items()})
    monkeypatch.setattr(sources, 'ADDRESSES', [address + path for path in targets])
    with pytest.raises(sources.DataUnavailable) as failure:
        load(tmp_path / 'data')
    assert "/file: HTTP Error 302: Found - Redirection to url 'file:" in str(failure.value)
    assert '/ftp: <urlopen error unknown url type: ftp>' in str(failure.value)


def test_behind_a_refused_connection_the_next_address_is_tried(expect_tiny, tmp_path, serve, monkeypatch):
    address, paths, _ = serve({'/good': expect_tiny.archive()})
    monkeypatch.setattr(sources, 'ADDRESSES', ['http://127.0.0.1:1/refused', f'{address}/good'])
    assert_is(load(tmp_path), expect_tiny)
    assert paths == ['/good']


def test_a_slow_address_is_left_for_a_fast_one_and_taken_where_there_is_none(expect_tiny, tmp_path, serve, monkeypatch):
    archive = expect_tiny.archive()

    def slow(request):
        start = int((request.headers['Range'] or 'bytes=0-')[6:-1])
        request.head(len(archive) - start, 206, **{'Content-Range': f'bytes {start}-{len(archive) - 1}/{len(archive)}'})
        for position in range(start, len(archive), 10_000):
            request.wfile.write(archive[position:position + 10_000])
            request.wfile.flush()
            request.pause(0.03)

    monkeypatch.setattr(sources, 'MINIMUM_SPEED', 10**7)
    clock = itertools.count(2e9, -3600)  # that somebody sets back all the time
    monkeypatch.setattr(time, 'time', lambda: next(clock))
    address, paths, ranges = serve({'/slow': slow, '/fast': archive})
    monkeypatch.setattr(sources, 'ADDRESSES', [f'{address}/slow', f'{address}/fast'])
    assert_is(load(tmp_path / 'both'), expect_tiny)
    assert paths == ['/slow', '/fast']

    paths.clear()
    monkeypatch.setattr(sources, 'ADDRESSES', [f'{address}/slow'])
    assert_is(load(tmp_path / 'slow alone'), expect_tiny)
    assert paths == ['/slow', '/slow'] and ranges[-1].startswith('bytes=') and ranges[-1] != 'bytes=0-'


def environment_for(tiny, addresses, **changes):
    content = dataclasses.replace(tiny.content(archive_bytes=len(tiny.archive())), **changes)
    return {'GENERATED_CONTENT': json_of(content), 'PATH': '',
            'PATCHES': json.dumps({'cifar10.sources.ADDRESSES': addresses, 'cifar10.fetching.TIMEOUT_SECONDS': 1,
                                   'cifar10.fetching.SPEED_WINDOW_SECONDS': 0.5})}


def test_where_no_address_works_one_message_says_so_and_nothing_is_kept_that_is_trusted(
        tiny, tmp_path, serve, run_script):
    archive = tiny.archive()
    faults = [fault for fault in FAULTS if fault is not trickles]  # which does bring the data in the end
    address, *_ = serve({f'/{name_of(fault)}': page(fault, archive) for fault in faults})
    environment = environment_for(tiny, [f'{address}/{name_of(fault)}' for fault in faults],
                                  train_size=50_000)  # enough for the validation set
    run = run_script('train_mlp_numpy.py', '--results_dir', tmp_path / 'results', data_dir=tmp_path / 'data',
                     **environment)
    assert run.returncode == 1 and run.stdout == ''
    assert run.stderr.count('error: ') == 1 and 'Traceback' not in run.stderr
    for fault in faults:
        assert f'{address}/{name_of(fault)}: ' in run.stderr
    assert not (tmp_path / 'results').exists() and not (tmp_path / 'data' / 'cifar10.bin').exists()

    good, *_ = serve({'/good': archive})  # what is left behind does not spoil the next start
    assert run_script('load_data.py', tmp_path / 'data', **environment_for(tiny, [f'{good}/good'])).returncode == 0
    assert (tmp_path / 'data' / 'cifar10.bin').read_bytes() == tiny.content_bytes


def test_two_processes_that_fetch_at_once_both_have_good_data(tiny, tmp_path, serve, run_script):
    address, paths, _ = serve({'/trickles': page(trickles, tiny.archive()), '/good': tiny.archive()})
    environment = environment_for(tiny, [f'{address}/trickles', f'{address}/good'])
    processes = [run_script('load_data.py', tmp_path, start_only=True, **environment) for _ in range(2)]
    outputs = [process.communicate(timeout=PATIENCE)[0].strip() for process in processes]
    assert outputs == [tiny.sha256] * 2
    assert paths == ['/trickles', '/good'], 'the second process waited for the first'
