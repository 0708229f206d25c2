"""Settings: every default runs, every shipped config loads, every mistake is one clear line."""

import re
from pathlib import Path

import pytest

import care_live
from care_live import config as settings
from care_live.config import Config, Section, load, parse
from care_live.errors import ConfigError

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.toml"))
RUNS = [path for path in CONFIGS if not path.stem.startswith(("train", "simulate"))]


def test_the_defaults_run_the_virtual_microscope():
    config = Config()
    assert config.source.kind == "virtual"
    assert config.restore.model is None


def test_every_setting_is_read_somewhere():
    package = Path(care_live.__file__).parent
    code = "\n".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    sections = [one for one in vars(settings).values() if isinstance(one, type) and issubclass(one, Section)]
    names = {name for section in sections for name in section.model_fields}
    assert not {name for name in names if not re.search(rf"\.{name}\b", code)}


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_every_shipped_config_loads(path):
    assert load(path).source.kind


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[restore]\nmodle = 'x.onnx'", r"restore\.modle"),
        ("[assemble]\ndeadline_s = -1", r"assemble\.deadline_s = -1"),
        ("[source]\nkind = 'telescope'", "telescope"),
        ("[source]\nkind = 'replay'", r"source\.replay\.path"),
        ("run_id = 'a/b'", "run_id = 'a/b'"),
        ("[restore]\npolicy = 'wait'", r"config\.toml: restore\.policy 'wait' would hold up source"),
        ("[restore", "is not TOML"),
        ("[sourc]\nkind = 'virtual'", r"sourc = .*no such setting; did you mean source\?"),
        ("[source]\nkind = 'virtual'\nshape_pix = [8, 8]", r"shape_pix = .*did you mean shape_px\?"),
        ("[[restore.channel]]\nnam = 'DAPI'", r"name = .*must be set; .*nam = 'DAPI': .*did you mean name\?"),
        ("[[restore.channel]]\nname = 'DAPI'\nweight = 1", r"no such setting; wanted one of model, name, provider$"),
        ("[source.acquisition]\ntime_points = 3", r"source = .*: kind is missing"),
    ],
    ids=[
        "unknown key",
        "out of range",
        "unknown source",
        "missing path",
        "bad run id",
        "contradiction",
        "no TOML",
        "misspelt section",
        "misspelt key of a source",
        "misspelt key of a channel",
        "unlike any key",
        "no kind",
    ],
)
def test_a_mistake_is_named(tmp_path, text, complaint):
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=complaint) as caught:
        load(file)
    assert "\n" not in str(caught.value)


def test_a_file_as_editors_of_windows_save_it_is_read_or_says_how_to_save_it(tmp_path):
    file, text = tmp_path / "config.toml", "[source]\r\nkind = 'virtual'\r\n"
    file.write_bytes(text.encode("utf-8-sig"))
    assert load(file).source.kind == "virtual"
    file.write_bytes(text.encode("utf-16"))
    with pytest.raises(ConfigError, match="is not text in UTF-8: save it with that encoding"):
        load(file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read config .*none\.toml"):
        load(tmp_path / "none.toml")


def test_sections_are_frozen():
    config = parse({"restore": {"nth": 3}}, origin="test")
    with pytest.raises(ValueError, match="frozen"):
        config.restore.nth = 4
