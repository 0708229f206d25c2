"""The pages of the repository: what they link to is there, and the first one stays short."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob(".github/**/*.md")), *sorted(ROOT.glob("care_live/**/*.md"))]
MOST_WORDS = 2_300
"""Of README, tables and commands among them: a newcomer reads it in five minutes."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_is_linked_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    files = [target for target in re.findall(r"\]\(([^)\s#]+)", text) if "://" not in target]
    assert not [target for target in files if not (page.parent / target).exists()]
    titles = re.findall(r"(?m)^#+ (.+)$", text)
    headings = {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([\w-]+)\)", text)) <= headings


def test_readme_is_short() -> None:
    n_words = len((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert n_words <= MOST_WORDS, "move what only users of one part need to a page beside its room"


def test_readme_leads_to_the_page_of_each_part() -> None:
    linked = set(re.findall(r"\]\((care_live/[\w/]+\.md)\)", (ROOT / "README.md").read_text(encoding="utf-8")))
    for page in ("source/live", "daemon/several", "trust/trust_light", "offline/archives", "prepare/prepare"):
        assert f"care_live/{page}.md" in linked


TEXTS = sorted(
    path
    for pattern in ("README.md", "CHANGELOG.md", ".github/**/*.md", ".github/**/*.yml", "configs/*", "care_live/**/*.*")
    for path in ROOT.glob(pattern)
    if path.suffix in {".md", ".yml", ".yaml", ".toml", ".py", ".js", ".html"}
)
UNCLEAR = re.compile(r"nobody|whoever|\btold\b|\bso many\b|(?<!there )\bis none\b")
"""Each of these hides who does what, or how much: name the actor, the number, or what is wrong."""


def test_texts_name_the_actor_and_the_number() -> None:
    lines = (f"{path.relative_to(ROOT)}: {line}" for path in TEXTS for line in path.read_text("utf-8").splitlines())
    assert not [line for line in lines if UNCLEAR.search(line)]
