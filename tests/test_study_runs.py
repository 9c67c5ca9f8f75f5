"""What the studies train, in which order, what they say, keep and refuse; with a training that takes no time."""

import argparse
import concurrent.futures.process
import json
import queue
import re
import signal
import tempfile
import threading

import pytest

import cifar10_utils
import compare_batch_norm
import known_runs
from approval import assert_approved, assert_catalogue
from conftest import ROOT
from experiments import batch_norm_report, batch_norm_runs, batch_norm_training, study, twins
from experiments.study import ResultsError
from figures_in_words import described

SETTINGS = {'hidden_dims': [8], 'lr': 0.05, 'batch_size': 100, 'epochs': 2}


@pytest.fixture
def told(monkeypatch, capsys, tmp_path):
    """What happens, line by line, with its standard output and error; told.to(main, *arguments) runs a script."""
    class Told(list):
        def to(self, main, *arguments):
            monkeypatch.setattr('sys.argv', ['SCRIPT', *arguments, '--results_dir', str(tmp_path)])
            self.append(f'\n$ {" ".join(arguments)}'.rstrip())
            try:
                main()
            except SystemExit as ended:
                self.append(f'exit code {ended.code}')
            out, err = capsys.readouterr()
            self.extend(f'{name}: {line}' for name, text in (('out', out), ('err', err)) for line in text.splitlines())

        def text(self):
            text = '\n'.join(self).replace(str(tmp_path), 'FOLDER').replace(str(ROOT), 'PROJECT').strip() + '\n'
            text = re.sub(r'results-\w+', 'results-…', text)
            return re.sub(r'^err: .*?: (error|interrupted)', r'err: SCRIPT: \1', text, flags=re.MULTILINE)

    return Told()


# The study of batch normalization.

def known(run):
    """A run of these settings as it is kept: one with a learning rate of 1 diverges."""
    names = ('hidden_dims', 'use_batch_norm', 'seed', *known_runs.SETTINGS, 'start', 'group_size')
    settings = {name: run[name] for name in names if name in run}
    return known_runs.known_run(**settings) if run['lr'] < 1 else known_runs.diverged(settings)


def assert_signals_held_back():
    """What is started now gets neither Ctrl-C nor a hangup."""
    if hasattr(signal, 'pthread_sigmask'):
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) >= {signal.SIGINT, signal.SIGHUP}


@pytest.fixture
def batch_norm(told, monkeypatch, tmp_path):
    """The study of batch normalization, whose runs are known; batch_norm[n] is an error to raise in the run n."""
    errors = {}

    class Executor(concurrent.futures.Executor):
        """In place of the processes: what is submitted is done at once, and said to be done in the opposite order."""

        def __init__(self, jobs, context, initializer, initargs):
            told.append(f'{jobs} at a time, {context.get_start_method()}ed, which begin with '
                        f'{initializer.__name__.strip("_")}({", ".join(map(str, initargs))})')
            assert_signals_held_back()

        def submit(self, function, *arguments):
            assert_signals_held_back()
            future = concurrent.futures.Future()
            try:
                future.set_result(function(*arguments))
            except BaseException as error:
                future.set_exception(error)
            return future

    def train_one(run, data_dir):
        assert data_dir == errors.setdefault('data', data_dir)
        errors['runs'] = errors.get('runs', 0) + 1
        if errors['runs'] in errors:
            raise errors[errors['runs']]
        return known(run)

    for place, name, value in [
            (compare_batch_norm, 'processors', lambda: 3), (study, 'processors', lambda: 7),
            (tempfile, 'tempdir', str(tmp_path)), (concurrent.futures, 'ProcessPoolExecutor', Executor),
            (concurrent.futures, 'as_completed', lambda futures: iter([*futures][::-1])),
            (cifar10_utils, 'get_cifar10', lambda data_dir: told.append(f'data is asked for: {data_dir}')),
            (batch_norm_training, 'train_one', train_one), (batch_norm_report, 'png_bytes', lambda figure: b'PNG'),
            (batch_norm_report, 'figures_of', lambda _: {'_train': None}), (batch_norm_runs, 'NETS', known_runs.NETS),
            (batch_norm_runs, 'LEARNING_RATES', [0.003, 0.01, 0.03, 0.3, 1])]:
        monkeypatch.setattr(place, name, value)
    return errors


def assert_kept(path, config):
    """The file holds the known runs with these settings, in the order of seed and network."""
    contents = json.loads(path.read_text())
    assert contents.pop('config') == {**config, 'nets': known_runs.NETS}
    for kept in contents.values():
        assert kept == [known({**run, 'batch_size': config['batch_size'], 'epochs': config['epochs']}) for run in kept]
        order = [(run['seed'], len(run['hidden_dims']), run['lr'], run['use_batch_norm']) for run in kept]
        assert order == sorted(order)
    return {kind: len(kept) for kind, kept in contents.items()}


def test_what_the_study_of_batch_normalization_trains_says_and_keeps(batch_norm, told, tmp_path):
    told.to(compare_batch_norm.main, '--seeds', '7', '5', '7', '--epochs', '4', '--data_dir', 'there')
    batch_norm.clear()
    told.to(compare_batch_norm.main, '--seeds', '5', '6', '--epochs', '4', '--jobs', '2')
    told.to(compare_batch_norm.main, '--seeds', '6', '7', '--epochs', '4')
    table = told[-8:]
    told.to(compare_batch_norm.main, '--plot_only', '--epochs', '3')
    assert told[-8:] == table
    del told[-9:]
    told.to(compare_batch_norm.main)
    assert assert_kept(tmp_path / 'batch_norm.json', {'lr': 0.1, 'batch_size': 128, 'epochs': 4})['runs'] == 18
    assert_approved('study_batch_norm', told.text())


def test_what_the_extended_study_trains(batch_norm, told, tmp_path, monkeypatch):
    monkeypatch.setattr(known_runs, 'NETS', [[4], [6, 5, 4]])
    monkeypatch.setattr(batch_norm_runs, 'NETS', known_runs.NETS)
    command = ['--extended', '--seeds', '5', '--lr', '0.3', '--batch_size', '16', '--epochs', '4']
    told.to(compare_batch_norm.main, *command)
    told += [str(assert_kept(tmp_path / 'batch_norm.json', {'lr': 0.3, 'batch_size': 16, 'epochs': 4}))]
    assert_approved('study_batch_norm_extended', told.text())
    told.to(compare_batch_norm.main, *command)
    assert 'nothing is left to train' in told.text()


def test_a_study_at_the_smallest_rate_tries_the_one_above_it_and_of_equal_rates_the_smallest_is_the_best():
    def results(*rates):
        runs = [run for lr in rates for run in batch_norm_runs.planned_runs([42], {'lr': lr, 'val_accuracy': [0.5]})]
        return {'runs': runs, 'learning_rate_runs': []}

    smallest = min(batch_norm_runs.LEARNING_RATES)
    planned = batch_norm_runs.planned_rates(42, {'lr': smallest}, results(smallest))
    assert [run['lr'] for _, run in planned] == [0.01] * 6
    assert batch_norm_runs.best_rate(results(0.03, 0.1, 0.01), [128], False) == 0.01


def test_what_is_said_where_the_study_is_cut_short_or_refused(batch_norm, told, tmp_path, monkeypatch):
    path = tmp_path / 'batch_norm.json'
    told.to(compare_batch_norm.main, '--plot_only')
    assert not list(tmp_path.iterdir())
    for error in (KeyboardInterrupt(), concurrent.futures.process.BrokenProcessPool()):
        batch_norm.update({'runs': 0, 6: error})  # of six the last one, which is said to be done first
        told.to(compare_batch_norm.main, '--seeds', '1')
        assert len(json.loads(path.read_text())['runs']) == 5  # which had finished all the same
        path.unlink()
    batch_norm.update({'runs': 0, 1: KeyboardInterrupt(), 2: KeyboardInterrupt()})
    with monkeypatch.context() as patch:
        patch.setattr(batch_norm_runs, 'NETS', [[4]])
        told.to(compare_batch_norm.main)
    batch_norm.clear()
    with monkeypatch.context() as patch:
        patch.setattr('importlib.util.find_spec', lambda name: None)
        told.to(compare_batch_norm.main)
    with monkeypatch.context() as patch:
        def full(contents, write=study.write_together):
            if path in contents:
                raise OSError(28, 'No space left on device', str(path))
            write(contents)

        patch.setattr(study, 'write_together', full)
        told.to(compare_batch_norm.main)
        *_, rescued = sorted(tmp_path.glob('results-*/batch_norm.json'), key=lambda file: file.stat().st_size)
        assert len(json.loads(rescued.read_text())['runs']) == 6
    path.write_text('{')
    for flags in ([], ['--plot_only'], ['--extended']):
        told.to(compare_batch_norm.main, *flags)
    for size, *flags in (['1'], ['0'], ['4', '--extended'], ['8', '--extended'], ['12', '--extended']):
        told.to(compare_batch_norm.main, '--plot_only', '--batch_size', size, *flags)
    assert_approved('study_batch_norm_refused', told.text())


def test_a_second_study_in_the_folder_waits_and_keeps_what_the_first_has_written(batch_norm, tmp_path, monkeypatch):
    filename, said = tmp_path / 'batch_norm.json', queue.Queue()
    monkeypatch.setattr('sys.stderr', argparse.Namespace(write=said.put, flush=lambda: None))
    second = threading.Thread(target=compare_batch_norm.train_models, args=(filename, (7,)), daemon=True)
    with study.only_writer(filename):
        second.start()
        assert said.get(timeout=60) == f'another study is writing to {filename}; this one waits until it has ended'
        first = known_runs.study_of([known_runs.known_run([4], True, 42, batch_size=128, epochs=20)])
        filename.write_text(json.dumps({**first, 'config': {**batch_norm_runs.SETTINGS, 'nets': known_runs.NETS}}))
    second.join(60)
    assert [run['seed'] for run in json.loads(filename.read_text())['runs']] == [7] * 6 + [42]


def test_the_courses_functions_have_the_settings_of_the_assignment(batch_norm, tmp_path):
    results = compare_batch_norm.train_models(tmp_path / 'a' / 'results.json')
    assert batch_norm_runs.SETTINGS == {'lr': 0.1, 'batch_size': 128, 'epochs': 20}
    assert assert_kept(tmp_path / 'a' / 'results.json', batch_norm_runs.SETTINGS)['runs'] == len(results['runs']) == 6
    compare_batch_norm.train_models(str(tmp_path / 'b.json'), (1,), 2, settings={'epochs': 2})
    assert_kept(tmp_path / 'b.json', {'lr': 0.1, 'batch_size': 128, 'epochs': 2})
    paths, table = compare_batch_norm.plot_results(str(tmp_path / 'b.json'))
    assert paths == [tmp_path / 'b_train.png', tmp_path / 'b.md'] and table.startswith('hidden layers  batch norm')


# The twins.

@pytest.fixture
def known_twins(told, monkeypatch):
    """The twins, whose runs are known; known_twins[n] is an error to raise in the run n."""
    errors = {}

    def trainer(twin, difference):
        def train(**settings):
            told.append(f'  {twin}: ' + ', '.join(f'{name} {value}' for name, value in settings.items()))
            errors['runs'] = errors.get('runs', 0) + 1
            if errors['runs'] in errors:
                raise errors[errors['runs']]
            loss = 2 + 0.25 * settings['use_batch_norm'] + 0.125 * settings['seed']
            test_accuracy = 0.5 + (settings['seed'] + settings['use_batch_norm']) / 64 - difference * settings['seed']
            return None, None, test_accuracy, {'batch_loss': [loss + difference, 2, 1.5 - 2 * difference, 1, 1, 1],
                                               'environment': {'threads': 1}, 'train_loss': [3]}

        return train

    monkeypatch.setattr(twins, 'TWINS', {'NumPy': trainer('NumPy', 2**-8), 'PyTorch': trainer('PyTorch', 0)})
    monkeypatch.setattr(twins, 'SETTINGS', SETTINGS)
    monkeypatch.setattr(twins, 'png_bytes', lambda figure: described(figure).encode())
    return errors


def test_what_the_study_of_the_twins_trains_says_and_keeps(known_twins, told, tmp_path):
    told.to(twins.main, '--seeds', '7', '7', '--data_dir', 'there')
    told.to(twins.main, '--seeds', '7', '5')
    told.to(twins.main, '--seeds', '7')
    assert told[-7] == f'out: nothing is left to train: {tmp_path / "twins.json"} holds all runs'
    assert told[-6:] == told[-14:-8]
    del told[-8:]
    for name in ('twins.json', 'twins.md', 'twins.png'):
        told += ['', f'{name}:', (tmp_path / name).read_text(encoding='utf-8')]
    (tmp_path / 'twins.json').unlink()
    for number in (1, 3):
        known_twins.clear()
        known_twins[number] = KeyboardInterrupt()
        told.to(twins.main, '--seeds', '8')
    (tmp_path / 'twins.json').write_text('{}')
    told.to(twins.main)
    assert_approved('study_twins', told.text())


def test_a_process_that_trains_has_its_threads_leaves_ctrl_c_to_its_parent_and_ends_with_it(monkeypatch):
    done = {}
    for path in ('torch.set_num_threads', 'tqdm.tqdm.set_lock', 'signal.signal', 'multiprocessing.connection.wait',
                 'os._exit'):
        monkeypatch.setattr(path, lambda *arguments, path=path: done.update({path: arguments}))
    monkeypatch.setattr('torch.get_num_threads', lambda: 4)
    monkeypatch.setattr('multiprocessing.parent_process', lambda: argparse.Namespace(sentinel='the end of the parent'))
    monkeypatch.setattr('threading.Thread', lambda target, daemon: argparse.Namespace(start=daemon and target))
    for threads, number in ((3, 3), (5, 4)):
        done.clear()
        study._start_worker(threads)
        assert type(*done.pop('tqdm.tqdm.set_lock')) is type(threading.RLock())
        assert list(done.items()) == [
            ('torch.set_num_threads', (number,)), ('signal.signal', (signal.SIGINT, signal.SIG_IGN)),
            ('multiprocessing.connection.wait', (['the end of the parent'],)), ('os._exit', (1,))]


# Files of results that cannot be: each is refused with one line that names what is wrong, and left as it is.

TWIN = {'twin': 'NumPy', 'seed': 1, 'use_batch_norm': True, 'test_accuracy': 0.5, 'first_epoch_loss': [2.5, 2]}
TWIN_OF_SEED_2 = {**TWIN, 'seed': 2}
RUN, STUDY, EMPTY = known_runs.known_run([5, 4], True, 42), known_runs.with_gaps(), known_runs.study_of([])


def without(contents, name):
    return {key: value for key, value in contents.items() if key != name}


def with_run(name, value, kind='runs'):
    """A study of one run with another value."""
    return {**EMPTY, kind: [{**RUN, name: value}]}


def with_text(name, text):
    """The same with a text of JSON for a value."""
    return json.dumps(with_run(name, '@')).replace('"@"', text)


def of_twins(*runs, **config):
    return {'config': {**twins.SETTINGS, **config}, 'runs': [*runs]}


@pytest.fixture
def load(tmp_path, monkeypatch):
    """load(module, contents) → the results, as read from a file that stays as it is."""
    monkeypatch.setattr(batch_norm_runs, 'NETS', known_runs.NETS)
    path = tmp_path / 'results.json'

    def load(module, contents, *settings):
        text = (contents if isinstance(contents, str) else json.dumps(contents)).encode('latin-1')
        path.write_bytes(text)
        try:
            return module.load_results(path, *settings)
        finally:
            assert path.read_bytes() == text

    return load


def test_a_file_that_cannot_be_is_refused_as_approved(load):
    def refusal(case):
        contents = eval(case, globals())
        with pytest.raises(ResultsError) as refused:
            load(twins if 'of_twins' in case else batch_norm_runs, contents)
        before, message, after = re.split(r' \((.+)\)', str(refused.value))
        assert before.endswith('results.json is damaged') and len(message) < 300
        assert after == '; it was left as it is: move it away or give another --results_dir'
        return re.sub("^(Expecting value|Expecting property name|maximum recursion|'utf-8' codec).*", r'\1…', message)

    assert_catalogue('study_files', refusal)


def test_a_whole_file_is_read(load):
    for study in (known_runs.of_one_seed(), STUDY, EMPTY):
        assert load(batch_norm_runs, study, known_runs.SETTINGS) == load(batch_norm_runs, study) == study
    assert load(twins, of_twins(TWIN))['runs'] == [TWIN]


def test_runs_of_other_settings_are_not_mixed(load):
    changed = {**EMPTY, 'config': {**EMPTY['config'], 'lr': 0.2}}
    assert load(batch_norm_runs, changed) == changed
    for module, contents, settings, words in (
            (batch_norm_runs, changed, [known_runs.SETTINGS], 'lr 0.2, not 0.1'),
            (batch_norm_runs, {**EMPTY, 'config': {'nets': [[9]]}}, [], 'nets [[9]], not [[4], [5, 4], [6, 5, 4]]'),
            (twins, of_twins(epochs=None), [], 'epochs None, not 10')):
        words = f'holds runs with {words}; it was left as it is: give another --results_dir'
        with pytest.raises(ResultsError, match=re.escape(words)):
            load(module, contents, *settings)
