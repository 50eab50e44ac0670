"""Names of columns and cells steer nothing: not the terminal, not the page that Markdown becomes, not a spreadsheet."""

import os
import pty
import sys
from pathlib import Path

import pytest

from milstore.asking.ask import ask_sql
from milstore.cli.formatters import write_answer
from milstore.cli.main import main
from milstore.store import Store

PROGRAM = "from milstore.cli.main import main; main()"
STEERING = "\x1b[31m\x9b5m\x07\u202e"


@pytest.mark.parametrize("format_", ["table", "csv", "json", "markdown"])
def test_control_characters_never_reach_a_terminal(three: Store, format_: str) -> None:
    """Neither those of a column's name nor those of a value, in any format."""
    statement = f'select \'v{STEERING}\' as "n{STEERING}", 2 as "n{STEERING}"'
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(
            sys.executable,
            [sys.executable, "-c", PROGRAM, "sql", statement, "--format", format_, "--store", str(three.root)],
        )
    seen = b""
    while True:
        try:
            part = os.read(terminal, 1 << 16)
        except OSError:
            break
        if not part:
            break
        seen += part
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, seen
    text = seen.decode()
    assert "n[31m" in text or "n\\u001b[31m" in text
    assert not any(letter in text for letter in "\x1b\x9b\x07\u202e"), text


def test_a_file_gets_the_data_as_it_is(three: Store, tmp_path: Path) -> None:
    """What a terminal must not see is still in the CSV that a program reads."""
    output = tmp_path / "a.csv"
    write_answer(ask_sql(three, f"select 'v{STEERING}' as \"n{STEERING}\""), "csv", output)
    assert output.read_text() == f"n{STEERING}\nv{STEERING}\n"


def test_html_never_passes_into_markdown(three: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """Names and values show as they are in what is made of it; an & that begins no entity stays."""
    statement = "select '<img src=x onerror=a>|&lt;' as \"<script>\", 'h&e' as stain, '[a](javascript:b)' as c"
    assert main(["sql", statement, "--format", "markdown", "--store", str(three.root)]) == 0
    assert capsys.readouterr().out == (
        "| &lt;script&gt; | stain | c |\n"
        "|---|---|---|\n"
        "| &lt;img src=x onerror=a&gt;\\|&amp;lt; | h&e | [a]\\(javascript:b) |\n"
    )


FORMULAS = "select * from (values ('=1+1', -1, '-x', '@a', '+b', 'a=b', -2.5, null)) t(a, b, c, d, e, f, g, h)"
COUNT = "note: a spreadsheet takes text that begins with =, +, - or @ for a formula, here 4 cells: "


def test_texts_that_look_like_formulas_are_counted(three: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """Data stays what it is; numbers below 0 are no formulas."""
    assert main(["sql", FORMULAS, "--format", "csv", "--store", str(three.root)]) == 0
    out, err = capsys.readouterr()
    assert out == "a,b,c,d,e,f,g,h\n=1+1,-1,-x,@a,+b,a=b,-2.5,\n"
    assert err == f"{COUNT}--safe-cells puts a single quote before each\n"


def test_safe_cells_quotes_them(three: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """A single quote before each, also of a column's name, and nothing else is changed."""
    assert main(["sql", FORMULAS, "--format", "csv", "--safe-cells", "--store", str(three.root)]) == 0
    out, err = capsys.readouterr()
    assert out == "a,b,c,d,e,f,g,h\n'=1+1,-1,'-x,'@a,'+b,a=b,-2.5,\n"
    assert err == f"{COUNT}a single quote stands before each\n"
    assert main(["sql", 'select 1 as "=x"', "--format", "csv", "--safe-cells", "--store", str(three.root)]) == 0
    assert capsys.readouterr().out == "'=x\n1\n"
    assert main(["sql", "select 1", "--format", "json", "--safe-cells", "--store", str(three.root)]) == 2
    assert "--safe-cells is for --format csv" in capsys.readouterr().err
