"""Scripts in processes forked from a server that has imported the libraries, which takes most of a short run's time.

The server does nothing else, so that no thread of a parallel region is missing after the fork. This module imports
nothing of the repository: a script in a copy of it finds the copy's modules."""

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([
    "filelock", "imageio.v3", "matplotlib.backends.backend_agg", "matplotlib.figure", "pydantic", "sklearn.datasets",
    "torch", "torch.distributed.nn", "torch.utils.tensorboard", "torchvision.utils", "tqdm", "tyro"])


def _run(script, args, cwd, env, streams):
    """What the child does. SystemExit ends it with its code, all else as the script's own hook says, or with 1 and a
    traceback."""
    for number, path in streams.items():
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    # as python sets it: the repository comes onto it by the script's own doing
    sys.path[:] = [str(Path(script).parent), *(p for p in sys.path if p not in ("", str(ROOT), str(ROOT / "tests")))]
    sys.argv = [script, *args]
    if "OMP_NUM_THREADS" in env:  # which the server has read already
        import torch

        torch.set_num_threads(int(env["OMP_NUM_THREADS"]))
    try:
        runpy.run_path(script, run_name="__main__")
    except (Exception, KeyboardInterrupt) as error:
        sys.excepthook(type(error), error, error.__traceback__)
        sys.exit(1)
    finally:
        atexit._run_exitfuncs()  # which multiprocessing leaves out


class Forked:
    """A running script, with the part of subprocess.Popen that the tests need; its output is kept as text."""

    def __init__(self, script, *args, cwd="/", env=None):
        self.args = [str(script), *map(str, args)]
        self._folder = tempfile.TemporaryDirectory()
        self._streams = {number: Path(self._folder.name, str(number)) for number in (1, 2)}
        self._process = CONTEXT.Process(target=_run, daemon=True, args=(
            self.args[0], self.args[1:], str(cwd), dict(os.environ if env is None else env), self._streams))
        self._process.start()

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self._process.pid, number)

    def wait(self, timeout=240):
        """Waits for the end. Returns the status. Kills the process at the timeout."""
        self._process.join(timeout)
        if self.poll() is None:
            self._process.kill()
            self._process.join()
            raise subprocess.TimeoutExpired(self.args, timeout, *map(self._text, (1, 2)))
        return self.returncode

    def communicate(self, timeout=240):
        """Waits for the end. Returns what was written to stdout and stderr."""
        self.wait(timeout)
        return self._text(1), self._text(2)

    def finish(self, timeout=240):
        """Waits for the end, as subprocess.run does with captured text."""
        out, err = self.communicate(timeout)
        return subprocess.CompletedProcess(self.args, self.returncode, out, err)

    def _text(self, number):
        return self._streams[number].read_text() if self._streams[number].exists() else ""
