"""Plant small faults in the code, one at a time in a copy, and report which of them the tests notice.

    python tests/plant_faults.py

The tests of the faulty file run first, the whole suite only where they notice nothing. A suite that does
not end within TIMEOUT seconds has noticed as well.
"""

import argparse
import concurrent.futures
import queue
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tqdm import tqdm

ROOT = Path(__file__).parent.parent
TIMEOUT = 400
WANTED = 0.95  # share of the faults that must be caught

# Per file: the tests that run first, and the faults, each a text that stands there once and what takes its place.
FAULTS = {
    'modules.py': (['unittests.py', 'tests/test_derivations.py', 'tests/test_twins.py'], [
        ("np.random.normal(0, np.sqrt(gain / in_features), ",
         "np.random.uniform(-np.sqrt(3 * gain / in_features), np.sqrt(3 * gain / in_features), "),
        ("dout.T @ _cached(self._x)  #", "-dout.T @ _cached(self._x)  #"),
        ("dout.T @ _cached(self._x)  #", "dout.T @ _cached(self._x) / len(dout)  #"),
        ("dout.sum(axis=0)  # (N,)", "dout.mean(axis=0)  # (N,)"),
        ("dout.sum(axis=0)  # (N,)", "dout[0]  # (N,)"),
        ("return dout @ self.params['weight'] if", "return -dout @ self.params['weight'] if"),
        ("if needs_input_grad else None", "if not needs_input_grad else None"),
        ("        out += self.params['bias']\n", ""),
        ("        out += self.params['bias']\n", "        out -= self.params['bias']\n"),
        ("gain = 1 if input_layer else 2", "gain = 2 if input_layer else 1"),
        ("gain = 1 if input_layer else 2", "gain = 2"),
        ("np.sqrt(gain / in_features)", "gain / in_features"),
        ("np.sqrt(gain / in_features)", "np.sqrt(gain / out_features)"),
        ("'bias': np.zeros(out_features, dtype),", "'bias': np.ones(out_features, dtype),"),
        ("np.maximum(x, 0)", "np.abs(x)"),
        ("np.maximum(x, 0)", "np.where(x > 0, x, 0)"),
        ("(_cached(self._out) > 0)", "(_cached(self._out) >= 0)"),
        ("(_cached(self._out) > 0)", "(dout > 0)"),
        ("x.max(axis=1, keepdims=True)", "x.max(axis=0, keepdims=True)"),
        ("np.exp(x - x.max(axis=1, keepdims=True))", "np.exp(x)"),
        ("exp / exp.sum(axis=1, keepdims=True)", "exp / exp.sum(axis=0, keepdims=True)"),
        ("np.maximum(out, np.finfo(out.dtype).tiny)", "out"),
        ("(dout * out).sum(axis=1, keepdims=True)", "(dout * out).sum(axis=0, keepdims=True)"),
        ("out * (dout - (dout * out)", "out * (dout + (dout * out)"),
        ("return -_target_rows(y, x) / _at_least_tiny(x) / len(x)", "return -_target_rows(y, x) / _at_least_tiny(x)"),
        ("return -_target_rows(y, x) /", "return _target_rows(y, x) /"),
        ("float(-(targets * np.log(_at_least_tiny(x))).sum() / len(x))",
         "float(-(targets * np.log(_at_least_tiny(x))).sum())"),
        ("float(-(targets * np.log(_at_least_tiny(x))).sum() / len(x))",
         "float(-(targets * np.log(x)).sum() / len(x))"),
        ("<= y.max() < classes", "<= y.max() <= classes"),
        ("(self.grads['bias'] + x_hat * self.grads['weight']) / len(dout)", "x_hat * self.grads['weight'] / len(dout)"),
        ("(self.grads['bias'] + x_hat * self.grads['weight']) / len(dout)", "self.grads['bias'] / len(dout)"),
        ("self.grads['weight'] = (dout * x_hat).sum(axis=0)", "self.grads['weight'] = dout.sum(axis=0)"),
        ("return self.params['weight'] / self._std * dout", "return dout / self._std"),
        ("np.sqrt(var + self.eps)", "np.sqrt(var) + self.eps"),
        ("self.momentum * unbiased_var", "self.momentum * var"),
        ("(1 - self.momentum) * self.running_mean + self.momentum * mean",
         "self.momentum * self.running_mean + (1 - self.momentum) * mean"),
        ("        if self.training:\n            dout", "        if True:\n            dout"),
        ("if samples < 2:", "if samples < 1:"),
    ]),
    'mlp_numpy.py': (['unittests.py', 'tests/test_twins.py'], [
        ("for layer in reversed(others):", "for layer in others:"),
        ("out_features, input_layer=not self.layers, dtype=dtype))", "out_features, input_layer=False, dtype=dtype))"),
        ("n_classes, input_layer=not self.layers, dtype=dtype))", "n_classes, input_layer=False, dtype=dtype))"),
        ("            self.layers.append(ReLUModule())\n", ""),
        ("            if use_batch_norm:\n", "            if not use_batch_norm:\n"),
        ("                layer.training = mode\n", "                layer.training = True\n"),
        ("        self.train(False)\n", "        self.train(True)\n"),
        ("            layer.clear_cache()\n", "            pass\n"),
        ("out = x.reshape(len(x), -1)", "out = x"),
    ]),
    'mlp_pytorch.py': (['tests/test_twins.py'], [
        ("        layer.bias.zero_()\n", ""),
        ("_linear(in_features, n_classes, input_layer=not layers)",
         "_linear(in_features, n_classes, input_layer=True)"),
        ("            layers.append(nn.ReLU())\n", "            layers.append(nn.Sigmoid())\n"),
    ]),
    'cifar10_utils.py': (['tests/test_loaders.py'], [
        ("[train_size - validation_size])", "[train_size - validation_size - 1])"),
        ("value % (n - i)", "value % (n - i - 1 or 1)"),
        ("order[i], order[j] = order[j], order[i]", "order[i] = order[j]"),
        ("size - size % batch_size if drop_incomplete else size", "size"),
        ("size - size % batch_size if drop_incomplete else size", "size - size % batch_size"),
        ("NumpyLoader(part, slices, train)", "NumpyLoader(part, slices, False)"),
        ("TorchLoader(part, slices, train, device)", "TorchLoader(part, slices, False, device)"),
        ("shard if train else (0, 1)", "shard"),
        ("slice(start + rank, start + batch_size, world_size)", "slice(start, start + batch_size, world_size)"),
        ("slice(start + rank, start + batch_size, world_size)", "slice(start + rank, start + batch_size)"),
        ("self.labels.take(index)", "self.labels.take(index * 0)"),
        ("self.labels.index_select(0, index)", "self.labels.index_select(0, index * 0)"),
        ("    out -= SHIFT\n", "    out += SHIFT\n"),
        ("1 / (255 * STD)", "1 / (256 * STD)"),
        (".mul_(self.scale).sub_(self.shift)", ".sub_(self.shift).mul_(self.scale)"),
        ("if not 1 <= batch_size <= len", "if not 0 <= batch_size <= len"),
        ("test_images.copy(), test_labels", "test_images.copy(), train_labels[:len(test_images)]"),
    ]),
    'cifar10/description.py': (['tests/test_loaders.py'], [
        ("0.491, 0.482, 0.447", "0.491, 0.447, 0.482"),
        ("split_seed=42", "split_seed=43"),
    ]),
    'train_mlp_numpy.py': (['tests/test_training_twins.py', 'tests/test_training.py', 'tests/test_twins.py',
                            'tests/test_observations.py'], [
        ("layer.params[name] -= grad", "layer.params[name] += grad"),
        ("            grad *= lr", "            grad *= 1"),
        ("        if log.end_epoch(**observe(model, loaders)):\n",
         "        log.end_epoch(**observe(model, loaders))\n        if True:\n"),
        ("(out > 0).any(axis=0)", "(out > 0).all(axis=0)"),
        ("    model = copy.deepcopy(model)  # whose gradients", "    pass  # whose gradients"),
        ("    model.train()\n    predictions", "    predictions"),
        ("np.concatenate(predictions), loaders['validation'].labels)",
         "predictions[0], loaders['validation'].labels[:len(predictions[0])])"),
        ("best_model = copy.deepcopy(model)", "best_model = model"),
        ("evaluate_model(best_model, loaders['test'])", "evaluate_model(best_model, loaders['validation'])"),
        ("evaluate_model(best_model, loaders['test'])", "evaluate_model(model, loaders['test'])"),
        ("correct += accuracy(predictions, labels) * len(labels)", "correct += accuracy(predictions, labels) * 128"),
        ("    np.random.seed(seed)\n", ""),
        ("        model.eval()\n    correct", "        pass\n    correct"),
        ("        model.train(was_training)\n", "        pass\n"),
        ("if np.isfinite(predictions).all() else math.nan", "if True else math.nan"),
        ("    best_model.eval()\n", "    best_model.train()\n"),
        ("predictions.argmax(axis=1)", "predictions.argmin(axis=1)"),
    ]),
    'train_mlp_pytorch.py': (['tests/test_training_twins.py', 'tests/test_training.py', 'tests/test_twins.py',
                              'tests/test_data_parallel.py', 'tests/test_observations.py'], [
        ("        model.zero_grad()\n", ""),
        ("param.add_(param.grad, alpha=-lr)", "param.add_(param.grad, alpha=lr)"),
        ("    model.train(was_training)\n", ""),
        ("    model.eval()\n    correct", "    correct"),
        ("best_model = copy.deepcopy(model)", "best_model = model"),
        ("torch.where(finite, ", "torch.where(torch.tensor(True), "),
        ("    if batch_size % world_size:\n", "    if False:\n"),
        ("batch_size == world_size > 1 and", "False and"),
        ("shard=(rank, world_size))", "shard=(0, 1))"),
        ("        data_parallel.average_buffers(model)\n", ""),
        ("        seen['val_accuracy'] = data_parallel.as_in_first(seen['val_accuracy'], device)\n", ""),
        ("(out > 0).any(dim=0)", "(out > 0).all(dim=0)"),
        ("    model = copy.deepcopy(model)  # which has no", "    pass  #"),
        ("    model.train()\n    cross_entropy", "    cross_entropy"),
        ("    best_model.eval()\n", "    best_model.train()\n"),
        ("return torch.device('cuda', index)", "return torch.device('cuda', 0)"),
        ("            raise MemoryError(message) from error\n", "            raise\n"),
        ("return float(correct) / samples", "return float(correct) / len(data_loader)"),
    ]),
    'training/log.py': (['tests/test_training.py', 'tests/test_data_parallel.py', 'tests/test_observations.py'], [
        ("        self._check(val_loss, steps, 'validation loss')\n", ""),
        ("        if not math.isfinite(value):", "        if False:"),
        ("return 1 + self.val_accuracies.index", "return self.val_accuracies.index"),
        ("self.val_accuracies.index(max(self.val_accuracies))", "self.val_accuracies.index(min(self.val_accuracies))"),
        ("return self.best_epoch == self.epoch", "return True"),
        ("self.train_losses.append(_mean(self._losses))", "self.train_losses.append(self._losses[-1])"),
        ("values[len(self._losses):]", "values[:len(self._losses)]"),
        ("        self.batch_losses += self._losses\n", ""),
        ("'seconds_per_epoch': _mean(self.seconds)", "'seconds_per_epoch': sum(self.seconds)"),
    ]),
    'training/settings.py': (['tests/test_training_told.py', 'tests/test_command_line_told.py'], [
        ("lambda value: 0 < value < math.inf", "lambda value: 0 <= value < math.inf"),
        ("lambda value: 0 <= value < 2**32", "lambda value: 0 <= value <= 2**32"),
        ("'epochs': 10,", "'epochs': 20,"),
        ("'lr': 0.1,", "'lr': 0.01,"),
        ("'batch_size': 128,", "'batch_size': 64,"),
    ]),
    'training/results.py': (['tests/test_command_line_told.py', 'tests/test_surroundings.py',
                             'tests/test_results.py'], [
        ("            if len(text) > LONGEST_TEXT:  #", "            if False:  #"),
        ("        png_path.unlink(missing_ok=True)  #", "        pass  #"),
        ("    for name, value in changed.items():\n", "    for name, value in {}.items():\n"),
        ("    if changed.get('use_batch_norm'):\n", "    if False:\n"),
    ]),
    'training/command_line.py': (['tests/test_command_line_told.py', 'tests/test_crashes.py',
                                  'tests/test_surroundings.py'], [
        ("        parser.exit(exit_code(interrupt),", "        parser.exit(0,"),
        ("        with signals_as_ctrl_c():\n            yield\n", "        yield\n"),
        ("        results.check_place(stem)\n", ""),
        ("if os.path.lexists(folder))", "if folder.exists())"),
        ("        self.exit(2, f'", "        self.exit(1, f'"),
        ("    except MemoryError as error:\n", "    except ZeroDivisionError as error:\n"),
    ]),
    'training/process.py': (['tests/test_training_told.py', 'tests/test_surroundings.py', 'tests/test_crashes.py'], [
        ("            if number is not None and signal.getsignal(number) is signal.SIG_DFL:\n",
         "            if number is not None:\n"),
        ("            signal.signal(number, action)\n", "            pass\n"),
        ("    except OSError as error:\n", "    except ZeroDivisionError as error:\n"),
    ]),
    'checks/gradients.py': (['tests/test_checks.py', 'unittests.py'], [
        ("TOLERANCE = 1e-9  # against", "TOLERANCE = 1e-2  # against"),
        ("CENTRAL_TOLERANCE = 1e-6", "CENTRAL_TOLERANCE = 1e-1"),
    ]),
    'unittests.py': (['tests/test_checks.py'], [
        ("    unittest.main(__name__, argv=sys.argv[:1],", "    unittest.main(__name__, argv=sys.argv[:1], exit=False,"),
    ]),
    'experiments/twins.py': (['tests/test_study_runs.py'], [
        ("label=run['twin'])", "label=pair[run is pair[0]]['twin'])"),
        ("for marker, use_batch_norm in (('o', False), ('s', True)):",
         "for marker, use_batch_norm in (('o', False), ('s', False)):"),
    ]),
    'training/curves.py': (['tests/test_results.py'], [
        ("axes.plot(epochs, record['val_accuracy'],", "axes.plot(epochs, record['train_accuracy'],"),
        ("record['val_accuracy'], 's-', color='C1', markersize=4, label='validation (after the epoch)'",
         "record['val_accuracy'], 's-', color='C1', markersize=4, label='training (mean over the epoch)'"),
        ("axes.plot(range(len(val_losses)), val_losses,", "axes.plot(range(1, len(val_losses)), val_losses[1:],"),
    ]),
    'training/models.py': (['tests/test_models.py'], [
        ("if found_dtype != dtype or fortran_order:", "if fortran_order:"),
        ("if not np.isfinite(array).all() or ", "if "),
        ("    model.eval()\n", ""),
        ("            vars(layer).update(header['batch_norm'])\n", "            pass\n"),
        ("        np.random.set_state(state)\n", "        pass\n"),
        ("    if member.compress_type != zipfile.ZIP_STORED:\n", "    if False:\n"),
        ("    if places.keys() != arrays.keys():\n", "    if places.keys() - arrays.keys():\n"),
    ]),
    'inspection/metrics.py': (['tests/test_inspection_told.py', 'tests/test_inspection.py'], [
        ("(2 * right, called + are)", "(right, called + are)"),
        ("((right, called), (right, are)", "((right, are), (right, called)"),
        ("np.searchsorted(edges[1:-1], confidences)", "np.searchsorted(edges[1:-1], confidences, 'right')"),
        ("np.abs(correct_sum - confidence_sum).sum()", "abs((correct_sum - confidence_sum).sum())"),
    ]),
    'inspection/inside.py': (['tests/test_inspection_told.py', 'tests/test_inspection.py'], [
        ("backward(model.layers[:-1], rows).reshape(images.shape) / STD",
         "backward(model.layers[:-1], rows).reshape(images.shape)"),
        ("    if model.training:\n", "    if False:\n"),
        ("np.abs((hidden - mean) * ", "np.abs(hidden * "),
        ("scores.argmax(axis=1)] - 1 / classes", "scores.argmax(axis=1)]"),
    ]),
    'inspection/own_images.py': (['tests/test_inspection_told.py', 'tests/test_inspection.py'], [
        ("        warnings.simplefilter('error', Image.DecompressionBombWarning)\n", ""),
        ("ImageOps.exif_transpose(image)", "image"),
        ("BACKGROUND = 'white'", "BACKGROUND = 'black'"),
        ("Image.Resampling.BOX", "Image.Resampling.NEAREST"),
        ("    if not image.mode.startswith('I'):\n", "    if True:\n"),
    ]),
    'inspection/report.py': (['tests/test_inspection_told.py', 'tests/test_inspection.py'], [
        ("np.argsort(-confidence, kind='stable')", "np.argsort(confidence, kind='stable')"),
        ("for entry in reversed(right)}", "for entry in right}"),
    ]),
    'benchmark/epochs.py': (['tests/test_benchmark.py'], [
        ("elapsed / COURSE_SHARE if name == COURSE else elapsed", "elapsed"),
    ]),
    'benchmark/busy.py': (['tests/test_benchmark.py'], [
        ("            with other_work(number):\n", "            with other_work(0):\n"),
        ("threads.threads_beside(threads.busy_processors(), available=2)", "2"),
    ]),
    'benchmark/shared_step.py': (['tests/test_benchmark.py'], [
        ("labels) / world_size)", "labels))"),
        ("                step += other\n", "                pass\n"),
        ("            barrier.abort()\n", "            errors.clear()\n            barrier.abort()\n"),
    ]),
    'benchmark/measure.py': (['tests/test_benchmark.py'], [
        ("        record = load_record(path)\n", "        record = {}\n"),
        ("                    write_together({path: json_bytes(record)})\n", "                    pass\n"),
    ]),
    'training/threads.py': (['tests/test_training_told.py', 'tests/test_threads.py'], [
        ("available - int(busy + 0.5)", "available - int(busy)"),
        ("return max(1, available - ", "return max(0, available - "),
        ("busy += 1 - (idle", "busy += (idle"),
        ("available == 1 or any(os.environ.get(name) for name in VARIABLES)", "available == 1"),
        ("return min(int(first), processors())", "return int(first)"),
        ("share > ENOUGH", "share < ENOUGH"),
    ]),
    'experiments/batch_norm_runs.py': (['tests/test_compare_batch_norm.py'], [
        (" + ordered[place + 1:place + 2]", ""),
        ("ordered[max(place - 1, 0):place] + ", ""),
        ("            if seed != SELECTION_SEED:\n", "            if False:\n"),
    ]),
    'experiments/batch_norm_training.py': (['tests/test_batch_norm_study.py', 'tests/test_compare_batch_norm.py'], [
        ("self.running_mean.lerp_(mean.mean(dim=(0, 1)), ", "self.running_mean.lerp_(mean[0, 0], "),
        ("layer.bias.sub_(mean).div_(deviation)", "layer.bias.sub_(mean)"),
        ("for i, (multiple, before) in enumerate(zip(MULTIPLES, [0, *MULTIPLES])):",
         "for i, (multiple, before) in enumerate(zip(MULTIPLES, [0] * 9)):"),
    ]),
    'experiments/study.py': (['tests/test_study_runs.py', 'tests/test_compare_batch_norm.py'], [
        ("    threads = max(1, processors() // jobs)  #", "    threads = max(1, processors() // min(jobs, len(todo)))  #"),
        ("            save(results_filename, results)\n", "        save(results_filename, results)\n"),
        ("            if not any(run.items() <= finished.items() for finished in results[kind])]", "            if True]"),
    ]),
    'training/data_parallel.py': (['tests/test_training_told.py', 'tests/test_data_parallel.py'], [
        ("        values /= world_size\n", ""),
        ("        distributed.all_reduce(values)\n", ""),
        ("    return nn.parallel.DistributedDataParallel(model)\n", "    return model\n"),
        ("        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)\n", "        pass\n"),
        ("    if not distributed.is_initialized():\n        return 0, 1\n", ""),
    ]),
    'storage/files.py': (['tests/test_data_routes.py', 'tests/test_crashes.py'], [
        ("                _flush(file)\n        for path, temporary in temporaries.items():\n            os.replace(temporary, path)",
         "                _flush(file)\n            os.replace(temporaries[path], path)"),
        ("            _flush(file)\n        os.replace(temporary, path)\n", "            _flush(file)\n"),
        ("        temporary.unlink(missing_ok=True)\n", "        pass\n"),
        ("    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')\n", "    temporary = path\n"),
    ]),
    'cifar10/sources.py': (['tests/test_data_routes.py', 'tests/test_downloads.py', 'tests/test_damaged_files.py'], [
        ("if hashlib.sha256(content).hexdigest() == description.CIFAR10.sha256:", "if True:"),
        ("if hashlib.sha256(content).hexdigest() != description.CIFAR10.sha256:", "if False:"),
        ("        if resumed:  #", "        if False:  #"),
        ("            stale.unlink(missing_ok=True)\n", "            pass\n"),
        ("                content = _read_only(data_dir, error)\n", "                raise DataUnavailable(str(error))\n"),
    ]),
    'cifar10/fetching.py': (['tests/test_data_routes.py', 'tests/test_downloads.py'], [
        ("        file.truncate(arrived)\n", ""),
        ("                if speed < minimum_speed:\n", "                if False:\n"),
        ("arrived if response.status == 206 and range_served else 0", "arrived"),
        ("response.read1(min(missing, CHUNK_BYTES))", "response.read1(CHUNK_BYTES)"),
        ("if not arrived and head != GZIP:", "if False:"),
        ("if file.read(len(GZIP)) == GZIP else 0", "if True else 0"),
        ("request.HTTPErrorProcessor, request.UnknownHandler)",
         "request.HTTPErrorProcessor, request.UnknownHandler, request.FTPHandler)"),
        ("        os.killpg(process.pid, signal.SIGKILL)\n", "        process.kill()\n"),
        ("if now > 2 * description.CIFAR10.package_bytes:", "if False:"),
    ]),
    'cifar10/formats.py': (['tests/test_data_routes.py', 'tests/test_damaged_files.py'], [
        ("pixels.transpose(0, 2, 1)", "pixels"),
        ("            raise pickle.UnpicklingError(f'refused to load {module}.{name}') from None\n",
         "            return super().find_class(module, name)\n"),
        ("'package/train_lables.json', 'package/test_lables.json'",
         "'package/test_lables.json', 'package/train_lables.json'"),
        ("if name in names and member.isreg():", "if name in names and not member.isdir():"),
        ("if member.size > LARGEST_MEMBER or", "if"),
        ("    if size > LARGEST_MEMBER:\n", "    if False:\n"),
        ("if image.width != PIXELS or image.height > LARGEST_ROWS:", "if False:"),
        ("    if stat.S_ISFIFO(status.st_mode) or", "    if"),
        ("labels.max(initial=0) >= CIFAR10", "labels.max(initial=0) > CIFAR10"),
        ("if len(images) != size or len(labels) != size:", "if len(images) != size:"),
    ]),
}


def all_faults():
    """(file, tests that run first, old, new) of each fault."""
    return [(file, tests, old, new) for file, (tests, faults) in FAULTS.items() for old, new in faults]


def is_noticed(folder, file, tests, old, new):
    """Plant the fault in the copy of the project in `folder`, run the tests, take it out again."""
    path = folder / file
    sound = path.read_text(encoding='utf-8')
    path.write_text(sound.replace(old, new), encoding='utf-8')
    try:
        return any(_fails(folder, chosen) for chosen in (tests, []))
    finally:
        path.write_text(sound, encoding='utf-8')


def _fails(folder, tests):
    command = [sys.executable, '-B', '-m', 'pytest', '-q', '-x', '-n0', '-p', 'no:cacheprovider', *tests,
               '--deselect', 'tests/test_planted_faults.py']
    try:
        ended = subprocess.run(command, cwd=folder, capture_output=True, timeout=TIMEOUT)
        return ended.returncode in (1, 2)  # a test fails, or can not even be read
    except subprocess.TimeoutExpired:
        return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--jobs', type=int, default=2, help='faults that are tried at a time')
    jobs = parser.parse_args().jobs
    survivors, faults = [], all_faults()
    with tempfile.TemporaryDirectory() as temporary, concurrent.futures.ThreadPoolExecutor(jobs) as executor:
        folders = [Path(temporary) / str(job) for job in range(jobs)]
        for folder in folders:
            shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns('.git', 'data', '__pycache__', '.venv', 'venv'))
        if any(executor.map(lambda folder: _fails(folder, []), folders)):  # as busy as with faults
            sys.exit('the suite fails without any fault: run python -m pytest first')
        copies = queue.Queue()
        for folder in folders:
            copies.put(folder)

        def attempt(fault):
            copy = copies.get()
            try:
                return fault, is_noticed(copy, *fault)
            finally:
                copies.put(copy)

        for fault, noticed in tqdm(executor.map(attempt, faults), 'faults', len(faults), disable=None):
            if not noticed:
                survivors.append(fault)
    for file, _, old, new in survivors:
        print(f'survived: {file}: {old.strip()!r} → {new.strip()!r}')
    caught = len(faults) - len(survivors)
    print(f'{caught} of {len(faults)} planted faults were caught ({caught / len(faults):.0%})')
    return caught < WANTED * len(faults)


if __name__ == '__main__':
    sys.exit(main())
