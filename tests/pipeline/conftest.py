"""What the pipeline tests share."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def second_stage():
    """Installs the second-stage test model of ``tests/zoo.py`` in a clone, as a user would: one module, one conf file."""
    import yaml

    tests = Path(__file__).resolve().parents[1]
    sys.path.insert(0, str(tests))
    import zoo

    def install(root: Path) -> None:
        (root / "src/latent_atlas/models/second.py").write_text((tests / "zoo.py").read_text(encoding="utf-8"), encoding="utf-8")
        text = yaml.safe_dump(zoo.SECOND_STAGE | {"name": "second"}).replace("zoo.", "latent_atlas.models.second.")
        (root / "conf/model/second.yaml").write_text(text, encoding="utf-8")

    return install
