"""Commands that are killed."""

from pathlib import Path

from tests.killing_commands import kill_commands


def test_a_killed_command_leaves_all_whole_and_is_given_again(tmp_path: Path) -> None:
    """Before or after, nothing between; no damage; and the same command comes to what it comes to unkilled."""
    made = kill_commands(tmp_path, 3, names=("labels", "patches", "run"))
    assert made["kills"] == 3
