import numpy as np
import pytest

from latent_atlas.data.datamodule import DataModule
from latent_atlas.data.preprocess import read_new
from latent_atlas.data.reader import DataError
from latent_atlas.data.splits import Split
from latent_atlas.data.store import write
from latent_atlas.data.tree import Tree

HALF = Split(0.1, 0.2)


def walk(a, b):
    """Edges between two nodes, by walking up."""
    steps = 0
    while a != b:
        a, b, steps = (a, (b - 1) // 2, steps + 1) if b > a else ((a - 1) // 2, b, steps + 1)
    return steps


def test_squared_distances_between_codes_are_distances_in_the_tree():
    codes = Tree(4).codes()
    for a, b in np.random.default_rng(0).integers(0, 31, (200, 2)):
        assert np.square(codes[a] - codes[b]).sum() == walk(a, b)


def test_items_are_noisy_codes_with_their_depth_node_and_branch(tmp_path):
    reader = Tree(3, copies=50, noise=0.1)
    card = write(reader.open(HALF), tmp_path / "tree", name="tree", split=HALF, reference_size=100)
    module = DataModule(tmp_path / "tree")
    batch = module.take(range(len(module)))
    depth, node = batch["factors"].numpy().T
    assert card["spec"]["fields"]["factors"]["size"] == [4, 15]
    noise = batch["x"].numpy() - reader.codes()[node]
    assert noise.std() == pytest.approx(0.1, rel=0.02)
    np.testing.assert_array_equal(depth, reader.codes()[node].sum(1) - 1)
    labels = batch["labels"].numpy()
    # a branch is below one of the four nodes of depth 2, nodes 3 to 6 of the heap
    np.testing.assert_array_equal(labels, np.where(depth < 2, 0, (reader.codes()[node][:, 3:7] * [1, 2, 3, 4]).sum(1)))
    new = tmp_path / "new.npy"
    np.save(new, reader.codes())
    x, ids, rejected = read_new(card["preprocessing"], module.spec, new)
    np.testing.assert_array_equal(x, reader.codes())
    assert (len(ids), rejected) == (15, [])


def test_two_openings_give_the_same_items_and_another_seed_others():
    one, two, other = (next(iter(Tree(3, 2, seed=seed).open(HALF).chunks()))["x"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()


def test_impossible_arguments_are_named():
    with pytest.raises(DataError, match="2 to 10"):
        Tree(depth=1)
