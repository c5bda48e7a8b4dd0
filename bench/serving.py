"""A contestant as a process of its own that trains a round when it is asked; standard library only, both environments import it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Answer = dict[str, Any]


class Clock:
    """Wall and CPU time of the steps after the first ``warm`` ones."""

    def __init__(self, warm: int) -> None:
        self.warm, self.marks = warm, [(time.perf_counter(), time.process_time())]

    def mark(self) -> None:
        """A step is done."""
        self.marks.append((time.perf_counter(), time.process_time()))

    def answer(self, batch: int) -> Answer:
        """Items, wall and CPU seconds of the timed steps."""
        (wall, cpu), (end_wall, end_cpu) = self.marks[self.warm], self.marks[-1]
        steps = len(self.marks) - 1 - self.warm
        return {"items": steps * batch, "seconds": end_wall - wall, "cpu_seconds": end_cpu - cpu}


def serve(handlers: dict[str, Callable[..., Answer]]) -> None:
    """Answers one JSON line on standard output per JSON line on standard input, until that ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print goes to the log, not between the answers
    for line in sys.stdin:
        asked = json.loads(line)
        answers.write(json.dumps(handlers[asked.pop("do")](**asked)) + "\n")


class Contestant:
    """A running process of ``bench/<script>``; ``ask`` waits for its answer."""

    def __init__(self, python: str, script: Path, arguments: list[str], environment: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                [python, str(script), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **environment},
            )

    def ask(self, **request: Any) -> Answer:
        """The answer, or the end of the bench with the contestant's last lines."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
            sys.exit(f"bench: {self.log.stem} ended with code {self.process.wait()}:\n{tail}")
        answer: Answer = json.loads(line)
        return answer

    def close(self) -> None:
        """Ends the process."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(timeout=60)
