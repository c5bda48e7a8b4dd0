"""Lies here so that pytest puts this directory on the path: ``drawn`` and ``zoo`` are imported by tests of every part."""
