"""One call to the C library that makes training on a CPU faster."""

from __future__ import annotations

import ctypes
import os

SWITCH = "LATENT_ATLAS_MALLOPT"
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h


def keep_memory() -> bool:
    """Tells glibc to keep freed memory instead of giving it back; says whether it did.

    glibc gives every block over 32 MiB a fresh mapping, whose pages the kernel must then clear at each use: in a float32 step of a
    64-pixel network at batch 256 that is half of the time. The price is that memory is not returned to the system before the
    process ends. ``LATENT_ATLAS_MALLOPT=off`` leaves the allocator alone; so does any other C library.
    """
    if os.environ.get(SWITCH, "").lower() in ("off", "0", "false", "no"):
        return False
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018  (an AttributeError where the library is not glibc)
    except (AttributeError, OSError, TypeError):
        return False
    return all(libc.mallopt(*pair) for pair in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 128 << 20)))
