import numpy as np
from sklearn.datasets import load_digits

from latent_atlas.data.datamodule import DataModule
from latent_atlas.data.digits import Digits
from latent_atlas.data.splits import Split
from latent_atlas.data.store import write


def test_digits_are_scikit_learns(tmp_path):
    card = write(Digits().open(Split(0.1, 0.2)), tmp_path / "digits", name="digits", split=Split(0.1, 0.2), reference_size=320)
    dm, source = DataModule(tmp_path / "digits"), load_digits()
    batch = dm.take(range(1797))
    np.testing.assert_allclose(batch["image"][:, 0].numpy() * 16, source.images, atol=16 / 510)
    np.testing.assert_array_equal(batch["labels"].numpy(), source.target)
    assert card["ranges"] == {"image": [0, 1], "labels": [0, 9]}
    # The reference of conf/data/digits.yaml is in test and enough for 64 features.
    assert len(dm.rows("test")) >= 320 >= 2 * 64
