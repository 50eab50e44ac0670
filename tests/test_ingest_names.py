"""What a file's name says."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milstore.errors import DataError
from milstore.ingest.file_names import read_names
from milstore.store.names import normal_case_id
from milstore.store.pattern import (
    DEFAULT_PATTERN,
    PatchName,
    SliceName,
    Unread,
    canonical_slice,
    compile_pattern,
    parse_name,
    parse_slice_name,
)
from milstore.store.settings import Settings

SETTINGS = Settings()
DEFAULT = compile_pattern(DEFAULT_PATTERN)


def read(stem: str) -> PatchName | Unread:
    return parse_name(DEFAULT, SETTINGS.stain_of, stem)


def name(
    case_id: str, stain: str, slice_name: str, patch_idx: int, x: int | None = None, y: int | None = None
) -> PatchName:
    return PatchName(case_id=case_id, stain=stain, slice_name=slice_name, patch_idx=patch_idx, x=x, y=y)


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("case_052_match_1_h&e_patch164", name("52", "h&e", "match_1", 164)),
        ("case_97_unmatched_6_he_patch90", name("97", "h&e", "unmatched_6", 90)),
        ("case_83_unmatched2_melan_patch18", name("83", "melan", "unmatched_2", 18)),
        ("case_83_unmatched2_sox10_patch18", name("83", "sox10", "unmatched_2", 18)),
        ("CASE_83_MATCH_02_MelanA_PATCH0018", name("83", "melan", "match_2", 18)),
        ("case_TCGA-D3-A2JH_match_1_he_patch3", name("TCGA-D3-A2JH", "h&e", "match_1", 3)),
        ("case_5_left_upper_he_patch2", name("5", "h&e", "left_upper", 2)),
        ("case_5_biopsy_melan-a_patch0", name("5", "melan", "biopsy", 0)),
        ("case_000_match_1_he_patch1_x512_y0", name("0", "h&e", "match_1", 1, 512, 0)),
    ],
)
def test_reads_the_names_that_groups_use(stem: str, expected: PatchName) -> None:
    """Padding or none, underscore or none, aliases of a stain and upper case all mean the same patch."""
    assert read(stem) == expected


@pytest.mark.parametrize(
    ("stem", "reason"),
    [
        ("notes", "it does not fit the pattern"),
        ("case_5_match_1_he", "it names no patch"),
        ("case_5_match_1_he_patch2147483648", "its patch is not a number below 2147483648"),
        ("case_5_match_1_he_patch" + "9" * 3000, "its patch is not a number below 2147483648"),
        ("case_5_match_1_he_patch٣", "its stain 'patch٣' is not in this store"),
        ("case_5_match_1_cd3_patch3", "its stain 'cd3' is not in this store"),
        ("case_5_match_1_he_patch\udce9", "it is not valid UTF-8"),
        ("c" * 10_000_000, "it is longer than 4096 characters"),
    ],
)
def test_says_why_a_name_is_not_read(stem: str, reason: str) -> None:
    """A name that does not fit is never guessed at."""
    found = read(stem)
    assert isinstance(found, Unread)
    assert found.reason == reason


def test_reads_the_name_of_a_slice() -> None:
    """The same pattern, its patch left out, names a slice; and a patch is no slice."""
    found = parse_slice_name(DEFAULT, SETTINGS.stain_of, "case_83_unmatched2_melan")
    assert found == SliceName(case_id="83", stain="melan", slice_name="unmatched_2")
    assert parse_slice_name(DEFAULT, SETTINGS.stain_of, "case_8_match_1_he_patch1") == Unread(
        "it names a patch, not a slice"
    )


CASES = st.one_of(
    st.integers(0, 10**6).map(str),
    st.text(st.characters(exclude_characters="_", exclude_categories=["Cs"]), min_size=1),
).filter(lambda case: normal_case_id(case) != "")
WORDS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=10)
ALIASES = [(alias, stain) for stain, aliases in SETTINGS.stains.items() for alias in aliases]


@settings(deadline=None)
@given(CASES, WORDS, st.integers(0, 999), st.sampled_from(ALIASES), st.integers(0, 2**31 - 1), st.data())
def test_every_spelling_of_a_patch_is_that_patch(
    case: str, word: str, number: int, stain: tuple[str, str], patch: int, data: st.DataObject
) -> None:
    """Whatever zeros, underscores and capitals a name is written with, the same patch is read."""
    zeros = data.draw(st.tuples(*[st.integers(0, 3)] * 3))
    padded = "0" * zeros[0] + case if case.isascii() and case.isdigit() else case
    rest = f"_{word}{data.draw(st.sampled_from(['', '_']))}{'0' * zeros[1]}{number}_{stain[0]}_patch{'0' * zeros[2]}{patch}"
    stem = f"case_{padded}{data.draw(st.sampled_from([rest, rest.upper(), rest.title()]))}"
    assert read(stem) == name(normal_case_id(case), stain[1], f"{word}_{number}", patch)


@settings(deadline=None)
@given(
    st.lists(st.one_of(st.text(max_size=40), st.just("case_1_match_1_he_patch3"), st.just("case_2_a_he_patch1_x3_y4")))
)
def test_many_names_are_read_like_each_alone(stems: list[str]) -> None:
    """Reading names at once gives what reading them one by one gives."""
    alone = [(stem, read(stem)) for stem in stems]
    if any(isinstance(each, Unread) and each.stain is not None for _, each in alone):
        with pytest.raises(DataError):
            read_names(SETTINGS, stems, stems)
        return
    found = read_names(SETTINGS, stems, stems)
    rows = [
        {**{key: getattr(each, key) for key in each.__slots__}, "file": stem}
        for stem, each in alone
        if isinstance(each, PatchName)
    ]
    assert found.table.to_pylist() == rows
    expected = sorted((stem, each.reason) for stem, each in alone if isinstance(each, Unread))
    assert sorted(found.unread) == expected


@settings(deadline=None)
@given(st.text(max_size=12), st.sampled_from(["", "7", "007"]))
def test_the_name_of_a_slice_is_settled_at_once(text: str, number: str) -> None:
    """The canonical name of a canonical name is itself."""
    once = canonical_slice(text, number)
    assert canonical_slice(once) == once


def test_an_unknown_stain_is_named_with_its_file() -> None:
    """An unknown stain is an error that says what, where and what to do."""
    stems = ["case_12_match_1_he_patch3", "case_12_match_1_cd3_patch3"]
    with pytest.raises(DataError) as caught:
        read_names(SETTINGS, [f"{stem}.png" for stem in stems], stems)
    assert str(caught.value) == (
        "stain 'cd3' in case_12_match_1_cd3_patch3.png is not in this store (h&e, melan, sox10): "
        'add an alias under [stains] in milstore.toml, or a stain of its own by the line "cd3" = ["cd3"]'
    )


WHERE = "the pattern under [patches] in milstore.toml"


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(?P<case>.)", f"{WHERE} has no group slice, stain, patch: write it as (?P<slice>…)"),
        ("x" * 1001, f"{WHERE} is longer than 1000 characters: shorten it"),
        (DEFAULT_PATTERN + "(?P<case>x)", f"{WHERE} has a group twice: case"),
        (DEFAULT_PATTERN + "(y)", "contains unnamed groups"),
        (DEFAULT_PATTERN + "(?=y)", "invalid perl operator"),
        (DEFAULT_PATTERN + "(", "missing )"),
        (DEFAULT_PATTERN + "(?:(?:(?:a{999}){999}){999})", "not a regular expression of RE2"),
        (DEFAULT_PATTERN + "(?P<colour>y)", f"{WHERE} has a group colour that means nothing"),
        (DEFAULT_PATTERN + "\udcff", "not a regular expression of RE2"),
    ],
)
def test_a_pattern_that_cannot_work_is_refused(pattern: str, message: str) -> None:
    """A pattern from somebody's milstore.toml is bounded, and says what is wrong with it."""
    with pytest.raises(DataError) as caught:
        compile_pattern(pattern)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_pattern_of_exponential_kind_takes_no_time() -> None:
    """A pattern that would keep Python's engine busy for ages reads a name at once."""
    pattern = compile_pattern(r"(?P<case>(?:a*)*)b(?P<slice>.)(?P<stain>.)(?P<patch>.)")
    assert parse_name(pattern, SETTINGS.stain_of, "a" * 4000) == Unread("it does not fit the pattern")


def test_a_group_of_its_own_for_the_number_of_a_slice() -> None:
    """A pattern may split the slice's name, and give places and sizes."""
    text = r"(?P<case>\w+?)-(?P<stain>[a-z]+)-(?P<slice>[a-z]+)(?P<slice_number>\d+)-(?P<patch>\d+)-(?P<x>\d+)-(?P<y>\d+)-(?P<width>\d+)-(?P<height>\d+)"
    found = parse_name(compile_pattern(text), SETTINGS.stain_of, "007-he-cut03-12-5-6-224-225")
    expected = PatchName(case_id="7", stain="h&e", slice_name="cut_3", patch_idx=12, x=5, y=6, width=224, height=225)
    assert found == expected


def test_order_does_not_matter() -> None:
    """Names are read the same in any order."""
    stems = [f"case_{i}_match_{i % 3}_he_patch{i}" for i in range(50)]
    shuffled = random.Random(1).sample(stems, len(stems))
    key = [("file", "ascending")]
    assert read_names(SETTINGS, stems, stems).table.sort_by(key) == read_names(
        SETTINGS, shuffled, shuffled
    ).table.sort_by(key)
