"""The line that says how a training goes."""

from __future__ import annotations

import sys
import time
from typing import TextIO


class Progress:
    """One line that is rewritten on a terminal; elsewhere (a log, DVC, a sweep) one line per tenth of the run.

    Args:
        title: the run.
        total: steps of the run.
        start: steps already done.
        batch_size: to turn steps into images.
    """

    def __init__(self, title: str, total: int, start: int, batch_size: int, stream: TextIO | None = None) -> None:
        self.title, self.total, self.batch_size = title, total, batch_size
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self._start = self._shown = start
        self._began = self._last = time.perf_counter()

    def rate(self, step: int) -> float:
        """Items per second since this process began to train."""
        return (step - self._start) * self.batch_size / max(time.perf_counter() - self._began, 1e-9)

    def due(self, step: int) -> bool:
        """Whether a line should be shown now."""
        if step >= self.total:
            return True
        if self.live:
            return time.perf_counter() - self._last > 0.2
        return step * 10 // self.total > self._shown * 10 // self.total

    def show(self, step: int, loss: float) -> None:
        """Step, loss and speed; while it runs the time that is left, at its end the time that it took."""
        self._shown, self._last = step, time.perf_counter()
        spent = self._last - self._began
        left = spent * (self.total - step) / max(step - self._start, 1)
        clock = f"{duration(left)} left" if step < self.total else f"in {duration(spent)}"
        text = f"{self.title}  {step}/{self.total}  loss {loss:.4g}  {self.rate(step):,.0f} items/s  {clock}"
        if self.live:
            width = 24
            done = width * step // max(self.total, 1)
            end = "\n" if step >= self.total else ""
            self.stream.write(f"\r\x1b[2K{'█' * done}{'░' * (width - done)}  {text}{end}")
        else:
            self.stream.write(text + "\n")
        self.stream.flush()

    def say(self, text: str) -> None:
        """A line of its own."""
        self.stream.write(f"{chr(13) + chr(27) + '[2K' if self.live else ''}{self.title}: {text}\n")
        self.stream.flush()


def duration(seconds: float) -> str:
    """Seconds as people say them: 8 s, 2 min 5 s, 1 h 3 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
