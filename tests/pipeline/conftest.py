"""What the pipeline tests share."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def second_stage():
    """Installs the second-stage test model of ``tests/zoo.py`` in a clone, as a user would: one module, one conf file."""
    tests = Path(__file__).resolve().parents[1]
    sys.path.insert(0, str(tests))
    import yaml
    import zoo

    def install(root: Path) -> None:
        shutil.copy(tests / "zoo.py", root / "src/latent_atlas/models/second_stage.py")
        text = yaml.safe_dump(zoo.CONF["second_stage"]).replace("zoo.", "latent_atlas.models.second_stage.")
        (root / "conf/model/second_stage.yaml").write_text(text, encoding="utf-8")

    return install
