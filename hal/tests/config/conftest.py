import attrs
import pytest

from hal import config
from hal.config import kinds, setting
from hal.interface.errors import ConfigError


@attrs.frozen
class HostSettings:
    segment_size: int = setting("64G", kinds.size(), "Largest shared segment.")
    scratch_size: int = setting("4M", kinds.size(at_least=65536), "Scratch of one rank.")
    spin: int = setting(20, kinds.integer(), "Pauses before yielding.")
    eager: bool = setting("false", kinds.truth(), "Whether to begin at once.")


@pytest.fixture
def load(tmp_path):
    """Load the configuration of a fresh folder, with `text` as its hal.yaml; nothing outside is looked at."""

    def load(text=None, env=None, sections=None, **arguments):
        if text is not None:
            (tmp_path / "hal.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
        env = {"HOME": str(tmp_path / "home"), **(env or {})}
        sections = {"host": HostSettings} if sections is None else sections
        return config.load(env=env, cwd=tmp_path, sections=sections, **arguments)

    return load


@pytest.fixture
def refused(load):
    """The message of the ConfigError that loading raises."""

    def refused(*args, **kwargs):
        with pytest.raises(ConfigError) as caught:
            load(*args, **kwargs)
        return str(caught.value)

    return refused
