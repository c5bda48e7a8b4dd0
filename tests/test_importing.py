"""Garbage collection pauses while libraries are imported, and is as it was afterwards."""

import gc
import sys
import weakref

import pytest

from latent_atlas.importing import quickly


@pytest.fixture(autouse=True)
def _thaw():
    yield
    gc.unfreeze()
    gc.enable()


def test_collection_pauses_and_goes_on_also_after_an_error():
    with quickly():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ImportError), quickly():
        import no_such_library  # noqa: F401
    assert gc.isenabled()


def test_who_has_switched_it_off_finds_it_off():
    gc.disable()
    with quickly():
        pass
    assert not gc.isenabled()


def test_what_was_imported_is_left_alone_but_a_second_time_garbage_is_not(monkeypatch):
    class Node:
        pass

    def ring():
        node = Node()
        node.itself = node
        return weakref.ref(node)

    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    before = gc.get_freeze_count()
    with quickly():
        import colorsys
    assert gc.get_freeze_count() > before
    garbage = ring()
    with quickly():
        import colorsys  # noqa: F401
    gc.collect()
    assert garbage() is None
