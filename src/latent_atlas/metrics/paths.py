"""Does the way through the decoder hold? Length of the paths that it draws, and whether its encoder finds the code again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from latent_atlas.metrics.result import Measured, NotApplicable, mean_of

Map = Callable[[Tensor], Tensor]
STRATA = 10  # fractions of the way, each at a random place of its own tenth
PARTS = 512  # items decoded at once


@torch.no_grad()
def perceptual_path_length(
    prior: Tensor, decode: Map, extract: Map, space: Any, eps: float = 1e-4, n_pairs: int = 500, seed: int = 0
) -> Measured:
    """E |φ(G(γ(t))) − φ(G(γ(t + ε)))|² / ε² over geodesics γ between prior draws, t uniform in [0, 1 − ε] (Karras et al. 2019).

    γ is the space's own geodesic, so a curved space is not left; φ is the extractor, hence the key names space, ε and extractor.
    The ceiling, E |φ(G(b)) − φ(G(a))|², is a way straight and even in features; the floor, that over ε, one jump on each way. The
    whole image counts, and no pair is thrown away as in StyleGAN's code; the median stands in the parts.

    Args:
        prior: (N, d) coordinates of prior draws; neighbours in this order are joined.
        decode: coordinates to means.
        extract: observations to features (n, f).
        space: with ``from_coordinates``, ``geodesic`` and ``coordinates``.
        eps: ε, the length of a step as a share of the way.
        n_pairs: paths, at most half of N.
        seed: of t.

    Raises:
        NotApplicable: fewer than 20 pairs of prior draws.
    """
    pairs = min(n_pairs, len(prior) // 2)
    if pairs < 20:
        raise NotApplicable(f"{len(prior)} prior draws are too few for 20 paths")
    a, b = space.from_coordinates(prior[: 2 * pairs].float()).chunk(2)
    place = torch.rand(STRATA, generator=torch.Generator().manual_seed(seed))
    lengths = []
    for stratum in range(STRATA):
        rows = slice(stratum, None, STRATA)
        t = (stratum + float(place[stratum])) / STRATA * (1 - eps)
        ends = space.geodesic(a[rows], b[rows], torch.tensor([t, t + eps]))
        shown = in_parts(lambda z: extract(decode(z)), torch.cat([space.coordinates(end) for end in ends])).double()
        start, stop = shown.chunk(2)
        lengths.append((start - stop).square().sum(1) / eps**2)
    found = torch.cat(lengths)
    measured = mean_of(found, eps=f"{eps:.0e}".replace("e-0", "e-"), space=type(space).__name__.lower(), pairs=pairs)
    ends = in_parts(lambda z: extract(decode(z)), torch.cat([space.coordinates(a), space.coordinates(b)])).double().chunk(2)
    straight = float((ends[0] - ends[1]).square().sum(1).mean())
    parts = {"median": float(found.median())}
    return Measured(measured.value, measured.interval, straight / eps, straight, measured.provenance, parts)


def cycle_error(prior: Tensor, encode: Map, decode: Map, space: Any, limit: int = 1000) -> Measured:
    """Mean distance of prior draws z from E(D(z)): does the encoder find again what the decoder was given?

    In the space's own distance. The floor is the distance of z from E(D(z')) of another draw: what knowing nothing about z gives.

    Args:
        prior: (N, d) coordinates of prior draws.
        encode: observations to coordinates of the posterior's mode.
        decode: coordinates to means.
        space: with ``from_coordinates`` and ``distance``.
        limit: the most draws.
    """
    return _cycle(prior[:limit], encode, decode, space)


def cycle_error_codes(codes: Tensor, encode: Map, decode: Map, space: Any, limit: int = 1000) -> Measured:
    """``cycle_error`` of the codes of held-out items: where the data lies the two maps should agree."""
    return _cycle(codes[:limit], encode, decode, space)


@torch.no_grad()
def _cycle(coordinates: Tensor, encode: Map, decode: Map, space: Any) -> Measured:
    if len(coordinates) < 2:
        raise NotApplicable("one point has no other to be held against")
    start = coordinates.float()
    again = in_parts(lambda z: encode(decode(z)), start).float()
    z, back = space.from_coordinates(start), space.from_coordinates(again)
    floor = space.distance(z, back.roll(1, 0)).double().mean()
    distances = space.distance(z, back).double()
    measured = mean_of(distances, floor=float(floor))
    parts = {"median": float(distances.median()), "share_of_floor": measured.value / float(floor) if floor > 0 else None}
    return Measured(measured.value, measured.interval, float(floor), 0.0, measured.provenance, parts)


def in_parts(function: Map, rows: Tensor) -> Tensor:
    """The function on blocks of rows, joined."""
    return torch.cat([function(part) for part in rows.split(PARTS)])
