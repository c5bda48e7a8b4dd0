"""scikit-learn's digits: 1,797 scans of real handwriting, 8×8 with 17 levels of grey, inside the installed package."""

from __future__ import annotations

import numpy as np

from latent_atlas.data.reader import Contents, Stored, blocks, class_field
from latent_atlas.data.spec import Field
from latent_atlas.data.splits import Split


class Digits:
    """E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI 1998: images (1, 8, 8) and ten classes."""

    def open(self, split: Split) -> Contents:
        """Reads the set at once; 115 kB."""
        from sklearn.datasets import load_digits

        found = load_digits()
        images = np.rint(found.images * (255 / 16)).astype(np.uint8)[..., None]
        fields = {"image": Stored(Field("image", (1, 8, 8), size=256), "uint8"), "labels": class_field([str(k) for k in range(10)])}
        arrays = {"image": images, "labels": found.target}
        return Contents("image", fields, lambda: blocks(arrays), {"kind": "image", "size": None, "range": None}, len(images))
