import sys
import textwrap

import numpy as np

from latent_atlas.data import reader
from latent_atlas.data.prepare import prepare

IMPORTS = """
import numpy as np
from latent_atlas.data.reader import Contents, Stored, blocks, factor_field
from latent_atlas.data.spec import Field
from latent_atlas.data.splits import Split
"""


def test_the_example_of_a_new_reader_runs(tmp_path, monkeypatch):
    example = textwrap.dedent(reader.__doc__.split("Example::\n")[1])
    (tmp_path / "waves_of_the_docstring.py").write_text(IMPORTS + example)
    monkeypatch.syspath_prepend(tmp_path)
    built = {"_target_": "waves_of_the_docstring.Waves", "n": 300}
    data = {"reader": built, "split": {"val": 0.1, "test": 0.2}, "reference_size": 40}
    card = prepare({"name": "waves", "data": data}, tmp_path / "waves")
    sys.modules.pop("waves_of_the_docstring")
    assert card["spec"]["fields"]["x"]["shape"] == [64]
    assert card["factors"]["sizes"] == [8]
    # Eight waves, so eight contents: each lies in one split only, however often it occurs.
    x, split = np.load(tmp_path / "waves/x.npy"), np.load(tmp_path / "waves/split.npy")
    assert all(len(set(split[(x == wave).all(1)])) == 1 for wave in np.unique(x, axis=0))


def test_rows_on_disk():
    binary = reader.Stored(reader.Field("image", (3, 5, 7), size=2), "uint8", packed=True)
    assert binary.shape == (5, 7, 3)
    assert binary.row == (14,)
    assert [reader.smallest(n) for n in (2, 256, 257, 70_000)] == ["uint8", "uint8", "uint16", "uint32"]
