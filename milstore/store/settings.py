"""Settings of a store, in milstore.toml: stains and their aliases, and how file names are read."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from milstore.errors import DataError
from milstore.store.names import clip, named
from milstore.store.pattern import DEFAULT_PATTERN, DEFAULT_READS, NamePattern, compile_pattern
from milstore.store.tomlfile import read_toml

FILE = "milstore.toml"

DEFAULT_STAINS = {
    "h&e": ("he", "h&e"),
    "melan": ("melan", "melana", "melan-a"),
    "sox10": ("sox10",),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """The settings of one store."""

    stains: dict[str, tuple[str, ...]] = field(default_factory=lambda: dict(DEFAULT_STAINS))
    """Canonical name of each stain, in the order of tables and charts, and the names that files use for it."""
    pattern: str = DEFAULT_PATTERN
    """Template or regular expression that reads case, slice, stain and patch from a file's name."""

    @property
    def name_pattern(self) -> NamePattern:
        """The pattern, checked. DataError if it cannot work."""
        return compile_pattern(self.pattern, tuple(self.stains.items()))

    def stain_of(self, alias: str) -> str | None:
        """Canonical name of a stain, from any of its names in any case of letters; None if it is not of this store."""
        alias = alias.lower()
        for stain, aliases in self.stains.items():
            if alias == stain.lower() or alias in aliases:
                return stain
        return None


def read_settings(path: Path) -> Settings:
    """Settings from a milstore.toml; the defaults where it says nothing. DataError if it says what cannot be."""
    try:
        content = read_toml(path, f"a {FILE}")
    except FileNotFoundError:
        return Settings()
    return _checked(content, path)


def _checked(content: dict[str, Any], path: Path) -> Settings:
    _refuse_unknown(content, {"stains", "patches"}, "table", path)
    chosen: dict[str, Any] = {}
    if "stains" in content:
        chosen["stains"] = _stains(content["stains"], path)
    patches = content.get("patches", {})
    if not isinstance(patches, dict):
        raise DataError(f"patches in {path} is not a table: write it as [patches]")
    _refuse_unknown(patches, {"pattern"}, "key in [patches]", path)
    if "pattern" in patches:
        if not isinstance(patches["pattern"], str):
            raise DataError(f"pattern in {path} is not a text: put it in quotes")
        chosen["pattern"] = patches["pattern"]
    settings = Settings(**chosen)
    if "pattern" in patches:
        settings.name_pattern  # noqa: B018 - a pattern that cannot work is refused here
    return settings


def _refuse_unknown(content: dict[str, Any], known: set[str], what: str, path: Path) -> None:
    unknown = sorted(set(content) - known)
    if unknown:
        raise DataError(f"{path} has an unknown {what}: {named(unknown)}; known are {named(sorted(known))}")


def _stains(content: object, path: Path) -> dict[str, tuple[str, ...]]:
    if not isinstance(content, dict) or not content:
        raise DataError(f'[stains] in {path} must name at least one stain, such as melan = ["melana"]')
    stains: dict[str, tuple[str, ...]] = {}
    owner: dict[str, str] = {}
    for stain, aliases in content.items():
        if not stain.strip() or not isinstance(aliases, list) or not all(isinstance(a, str) and a for a in aliases):
            raise DataError(f'stain {clip(stain)!r} in {path} must be a list of its names, such as ["melana"]')
        stains[stain] = tuple(alias.lower() for alias in aliases)
        for name in {stain.lower(), *stains[stain]}:
            if name in owner:
                raise DataError(f"the name {clip(name)!r} belongs to two stains in {path}: {owner[name]} and {stain}")
            owner[name] = stain
    return stains


_HOW_NAMES_ARE_READ = """\
# How file names are read. A template: {case}, {stain}, {slice} and {patch} (a
# number) stand for what varies, {x} {y} {width} {height} for pixels, * for
# anything, a / for a folder; the rest is as it stands in the names. {slice} and
# the ending (.png) may be left out, and so may {stain} where there is only one.
# What would be read: milstore ingest patches FOLDER --dry-run
# Two examples, and a name that each reads:
#
# pattern = '{case}_{stain}_{slice}_{patch}'    # A7_HE_2_0012.png
# pattern = '{case}/{stain}/tile{patch}.png'    # A7/HE/tile0012.png
#
# Or a regular expression (RE2) with the groups case, slice, stain and patch.
"""


def settings_text(settings: Settings) -> str:
    """A milstore.toml that says what `settings` say, with a word on each key."""
    stains = "\n".join(f"{json.dumps(stain)} = {json.dumps(list(names))}" for stain, names in settings.stains.items())
    own = "" if settings.pattern == DEFAULT_PATTERN else f"pattern = {json.dumps(settings.pattern)}\n"
    return (
        "# Settings of this milstore store. What is changed here counts from the next\n"
        "# ingest on.\n\n"
        "# The stains, in the order of tables and charts, and the names that files use\n"
        "# for each. A stain that has patches must stay.\n"
        f"[stains]\n{stains}\n\n"
        f"[patches]\n{_HOW_NAMES_ARE_READ}# The default, which reads {DEFAULT_READS}:\n#\n"
        f"# pattern = '{DEFAULT_PATTERN}'\n{own}"
    )
