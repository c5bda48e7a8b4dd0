"""A stage forked from a process with its libraries loaded is the stage itself: words, streams, exit code, signals, end."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from latent_atlas.planning import forks, parallel

pytestmark = pytest.mark.skipif(not forks.supported(), reason="forks are for Linux")
SCRIPT = """
import os, signal, sys, time
word = sys.argv[1]
print("loaded" if "torch" in sys.modules else "new", os.getcwd(), os.environ.get("MARK"))
if word == "fail":
    sys.exit("what was wrong")
if word == "code":
    sys.exit(5)
if word == "raise":
    raise ValueError("seen")
if word == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if word == "read":
    print(sys.stdin.read().upper())
if word == "draw":
    import numpy, random
    print(random.random(), numpy.random.rand())
if word == "wait":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(os.getpid(), flush=True)
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def env():
    with forks.server(parallel.LOADING | parallel.environment()) as found:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not Path(found["PATH"].split(os.pathsep)[0], "socket").exists():
            time.sleep(0.2)
        yield found


@pytest.fixture
def script(tmp_path):
    (tmp_path / "über dir").mkdir()
    path = tmp_path / "über dir" / "script.py"
    path.write_text(SCRIPT)
    return path


def run(env, script, word, **kwargs):
    words = ["python", str(script), word]
    return subprocess.run(words, env=env | {"MARK": "ö"}, cwd=script.parent, capture_output=True, text=True, **kwargs)


def test_it_is_the_script_with_its_libraries_loaded(env, script):
    found = run(env, script, "read", input="said by the caller")
    assert found.stdout.splitlines() == [f"loaded {script.parent} ö", "SAID BY THE CALLER"]
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.parametrize(
    ("word", "code", "said"), [("fail", 1, "what was wrong"), ("code", 5, ""), ("raise", 1, "ValueError: seen"), ("kill", 137, "")]
)
def test_its_end_is_the_callers(env, script, word, code, said):
    found = run(env, script, word)
    assert found.returncode == code
    assert said in found.stderr


def test_two_forks_do_not_draw_the_same(env, script):
    one, other = (run(env, script, "draw").stdout.splitlines()[1].split() for _ in range(2))
    assert one[0] != other[0]
    assert one[1] != other[1]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_signal_reaches_the_stage_and_a_killed_caller_leaves_none_behind(env, script, number, code):
    caller = subprocess.Popen(["python", str(script), "wait"], env=env, stdout=subprocess.PIPE, text=True)
    caller.stdout.readline()
    stage = psutil.Process(int(caller.stdout.readline()))
    assert stage.pid != caller.pid
    caller.send_signal(number)
    assert caller.wait(20) == code
    psutil.wait_procs([stage], timeout=20)
    assert not stage.is_running() or stage.status() == psutil.STATUS_ZOMBIE


def test_without_a_server_the_caller_is_python_itself(script, tmp_path):
    words = [sys.executable, "-I", "-S", forks.__file__, "call", str(tmp_path / "none"), str(script), "fail"]
    found = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.stdout.startswith("new ")
    assert (found.returncode, found.stderr.strip()) == (1, "what was wrong")


def test_the_server_ends_with_the_process_that_began_it_and_leaves_nothing(tmp_path):
    code = "import os; from latent_atlas.planning import parallel, forks\n"
    code += "with forks.server(parallel.environment() | {'MARK': 'x'}): os._exit(9)"
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", code], env=os.environ | {"TMPDIR": folder}, timeout=60, check=False)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and list(Path(folder).glob("atlas-*")):
            time.sleep(0.2)
        assert list(Path(folder).glob("atlas-*")) == []


def test_where_no_socket_fits_the_environment_is_as_it_was(tmp_path, monkeypatch):
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with forks.server(parallel.environment()) as found:
        assert found == parallel.environment()
