"""Stages that begin with their libraries loaded: importing torch, Lightning and MLflow takes longer than many a stage.

``python forks.py serve <socket>`` imports once what stages import from other packages, none of this one's own code, and then forks
for each caller. ``python forks.py call <socket> <script> [words]`` is the caller: its parent sees ``python <script>``, with its
streams, folder, environment, exit code and answer to signals. Where no server listens, it becomes ``python <script>``.

Both ends are this file, run by path and free of imports from other packages, so that the caller takes 20 ms. Linux only: other
systems' libraries do not live on in a fork, and ``os.pidfd_open`` tells the end of a process without a thread in the server.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import selectors
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# What stages of the default pipeline import, by the time it takes: ``python -X importtime pipelines/train.py run=digits-vae``.
LIBRARIES = (
    "torch",
    "mlflow",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.tracing.processor.base_mlflow",
    "mlflow.pyfunc",
    "torchmetrics",
    "pytorch_lightning",
    "sklearn.mixture",
    "ripser",
    "scipy.stats",
    "omegaconf",
    "PIL.ImageDraw",
)
PASSED_ON = (signal.SIGTERM, signal.SIGHUP)
LONGEST = 107  # bytes of a socket's path
KILLED = "ended without an exit code; was the machine out of memory?"


def supported() -> bool:
    """Whether this system can fork a process that has torch loaded."""
    return sys.platform == "linux" and hasattr(os, "pidfd_open")


@contextlib.contextmanager
def server(environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """As long as it lasts a server listens; gives the environment in whose ``PATH`` ``python`` is a caller of it.

    Args:
        environment: that of the stages, in which the libraries are imported too.
    """
    with tempfile.TemporaryDirectory(prefix="atlas-", ignore_cleanup_errors=True) as folder:
        path, shim = Path(folder, "socket"), Path(folder, "python")
        shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{__file__}" call "{path}" "$@"\n', encoding="utf-8")
        shim.chmod(shim.stat().st_mode | stat.S_IXUSR)
        if len(os.fsencode(path)) > LONGEST or not os.access(shim, os.X_OK):  # or a folder where nothing may be executed
            yield environment
            return
        # Its standard input is the parent's life: when the pipe closes, the server ends.
        process = subprocess.Popen([sys.executable, __file__, "serve", str(path)], env=environment, stdin=subprocess.PIPE)
        try:
            yield environment | {"PATH": f"{folder}{os.pathsep}{environment['PATH']}"}
        finally:
            process.terminate()
            process.wait()


def serve(path: str) -> None:
    """Forks for each caller until it is ended. Returns in the fork, which then is as a new process of the caller's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the stages themselves
    sys.path.pop(0)  # this folder, whose modules are not for import by these names
    gc.disable()  # nothing of what is imported goes away again, but each collection looks: a quarter of the time
    for library in LIBRARIES:
        try:
            importlib.import_module(library)
        except (ImportError, OSError):  # the stage that needs it says so
            continue
    gc.freeze()  # or the first collection in each fork would write to, and so copy, all that was loaded
    gc.enable()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    callers: dict[int, tuple[int, socket.socket]] = {}  # pidfd -> process, its caller
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        selector.register(0, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd == 0:
                    shutil.rmtree(Path(path).parent, ignore_errors=True)
                    sys.exit()
                if key.fileobj is listener:
                    caller = listener.accept()[0]
                    request = receive(caller)
                    if request is None:
                        caller.close()
                        continue
                    with warnings.catch_warnings():
                        warnings.simplefilter(
                            "ignore", DeprecationWarning
                        )  # of threads at a fork: an allocator's, which knows of it
                        pid = os.fork()
                    if not pid:
                        selector.close()
                        for other in (listener, caller, *(held for _, held in callers.values())):
                            other.close()
                        for ended in callers:
                            os.close(ended)
                        return become(*request)
                    for stream in request[1]:
                        os.close(stream)
                    ended = os.pidfd_open(pid)
                    callers[ended] = pid, caller
                    selector.register(ended, selectors.EVENT_READ, "ended")
                    selector.register(caller, selectors.EVENT_READ, ended)
                elif key.data == "ended":
                    ended = key.fd
                    pid, caller = callers.pop(ended)
                    for file in (ended, caller):
                        if file in selector.get_map():
                            selector.unregister(file)
                    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                    answer(caller, status if status >= 0 else 128 - status)
                    os.close(ended)
                elif key.data in callers:
                    number = first_byte(key.fileobj)  # type: ignore[arg-type]
                    if number is None:  # the caller is gone: nobody waits for the stage
                        selector.unregister(key.fileobj)
                    os.kill(callers[key.data][0], number or signal.SIGTERM)


def receive(caller: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """What a caller asks for, and its three streams."""
    try:
        head, streams, _, _ = socket.recv_fds(caller, 4, 3)
        (size,) = struct.unpack("!I", head)
        body = b""
        while len(body) < size:
            part = caller.recv(size - len(body))
            if not part:
                return None
            body += part
        return json.loads(body), streams
    except (OSError, struct.error, ValueError):
        return None


def first_byte(caller: socket.socket) -> int | None:
    try:
        found = caller.recv(1)
    except OSError:
        return None
    return found[0] if found else None


def answer(caller: socket.socket, code: int) -> None:
    with caller, contextlib.suppress(OSError):  # it may not have waited
        caller.sendall(bytes([code]))


def become(request: dict[str, Any], streams: list[int]) -> None:
    """In the fork: the caller's streams, folder, environment and words."""
    for place, stream in enumerate(streams):
        os.dup2(stream, place)
        os.close(stream)
    for number in (signal.SIGINT, *PASSED_ON):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv[:] = request["argv"]
    sys.path.insert(0, str(Path(sys.argv[0]).resolve().parent))
    sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]
    time.tzset()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # or every fork would draw what every other draws; ``random`` sees to it itself


def call(path: str, argv: list[str]) -> int:
    """Runs a script in a fork of the server; its exit code."""
    caller = socket.socket(socket.AF_UNIX)
    try:
        if not argv or argv[0].startswith("-"):
            raise OSError
        caller.connect(path)
    except OSError:  # not ready yet, gone, or not asked for a script
        os.execv(sys.executable, [sys.executable, *argv])
    body = json.dumps({"argv": argv, "cwd": os.getcwd(), "env": dict(os.environ)}).encode()

    def pass_on(number: int, frame: object) -> None:
        with contextlib.suppress(OSError):
            caller.sendall(bytes([number]))

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the fork is of the same group, and gets it too
    socket.send_fds(caller, [struct.pack("!I", len(body))], [0, 1, 2])
    caller.sendall(body)
    for number in PASSED_ON:
        signal.signal(number, pass_on)
    code = first_byte(caller)
    if code is None:
        print(f"{' '.join(argv)}: {KILLED}", file=sys.stderr)
    return 1 if code is None else code


if __name__ == "__main__":
    if sys.argv[1] == "call":
        sys.exit(call(sys.argv[2], sys.argv[3:]))
    serve(sys.argv[2])
    runpy.run_path(str(Path(sys.argv[0]).resolve()), run_name="__main__")
