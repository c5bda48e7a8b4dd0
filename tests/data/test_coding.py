import numpy as np
import pytest

from latent_atlas.data.coding import code_factors, code_labels
from latent_atlas.data.reader import DataError


def test_classes_are_sorted_numbers_by_value_texts_by_letter():
    coded = code_labels(np.array([10, 2, 2, 10, 33, 2]), "y")
    assert coded.stored.field.names == ("2", "10", "33")
    assert coded.array.tolist() == [1, 0, 0, 1, 2, 0]
    assert code_labels(np.array(["b", "a", "b", "a"]), "y").stored.field.names == ("a", "b")
    assert code_labels(np.array([1.0, 0.0, 1.0]), "y").array.tolist() == [1, 0, 1]
    named = code_labels(np.array([2, 0, 2]), "y", ["zero", "one", "two"])
    assert named.array.tolist() == [2, 0, 2]
    assert named.stored.field.size == 3


@pytest.mark.parametrize(
    ("column", "names", "message"),
    [
        (np.array([0.0, np.nan, 1.0]), None, r"y: row 2 is nan \(1 in all\)"),
        (np.array([0.5, 1.0, 1.0]), None, "labels such as 0.5 are not classes"),
        (np.arange(10), None, "10 different labels for 10 items look like identifiers"),
        (np.zeros((3, 2)), None, r"labels have shape \(3, 2\)"),
        (np.array([0, 3, 0]), ["a", "b"], "labels run to 3, but 2 class names"),
        (np.array([1j, 2]), None, "neither numbers nor texts"),
    ],
)
def test_what_cannot_be_a_class_is_named(column, names, message):
    with pytest.raises(DataError, match=message):
        code_labels(column, "y", names)


def test_factors_are_discrete_or_continuous():
    n = 600
    columns = {
        "colour": np.array(["red", "blue"])[np.arange(n) % 2],
        "angle": np.array([0, 90, 180])[np.arange(n) % 3],
        "flag": np.arange(n) % 2 == 0,
        "size": np.linspace(0, 1, n),
        "count": np.arange(n),
    }
    coded = code_factors(columns, "f")
    assert coded.stored.field.size == (2, 3, 2, 0, 0)
    assert coded.stored.field.dtype == "float32"
    assert coded.values == {"colour": ["blue", "red"], "angle": [0, 90, 180], "flag": [False, True]}
    np.testing.assert_allclose(coded.array[3], [0, 0, 0, 3 / 599, 3], rtol=1e-6)
    discrete = code_factors({"angle": columns["angle"]}, "f")
    assert discrete.array.dtype == np.int64
    assert discrete.stored.field.dtype == "int64"
    with pytest.raises(DataError, match="factor 'name': 600 different texts look like identifiers"):
        code_factors({"name": np.arange(n).astype(str)}, "f")
