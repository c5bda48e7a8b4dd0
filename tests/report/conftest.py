import made
import pytest

from latent_atlas.report.build import build


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """Five models on the digits, built once: (root, section, folder of the page)."""
    root = tmp_path_factory.mktemp("digits")
    section = made.digits(root)
    out = root / "reports" / "build" / "digits"
    build(section, root, out)
    return root, section, out
