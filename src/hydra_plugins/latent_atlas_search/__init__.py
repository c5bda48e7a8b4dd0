"""Hydra takes sweepers from the package ``hydra_plugins`` only; what this one does stands in ``latent_atlas.planning.search``."""

from latent_atlas.planning import search


class ParetoSweeper(search.ParetoSweeper):
    """See ``latent_atlas.planning.search.ParetoSweeper``."""
