import io

import pytest

from latent_atlas.training.progress import Progress, duration


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (125, "2 min 5 s"), (3780, "1 h 3 min")]
)
def test_a_duration_is_said_in_words(seconds, said):
    assert duration(seconds) == said


def test_the_last_line_tells_how_long_it_took():
    out = io.StringIO()
    progress = Progress("digits-vae", 20, 0, 64, out)
    for step in range(1, 21):
        if progress.due(step):
            progress.show(step, 1.0 / step)
    lines = out.getvalue().splitlines()
    assert len(lines) == 10
    assert lines[0].startswith("digits-vae  2/20  loss 0.5")
    assert lines[0].endswith("left")
    assert " in 0 s" in lines[-1]
