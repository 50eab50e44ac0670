"""How the program ends."""

import subprocess
import sys

import pytest

PROGRAM = """
import atexit, sys, threading, time, types

class TakenDown:
    def __del__(self):
        print("taken down", flush=True)

def work():
    # Longer than the command takes.
    threading.main_thread().join(0.5)
    print("thread ended")

held = TakenDown()
for name in {loaded!r}:
    sys.modules[name] = types.ModuleType(name)
atexit.register(print, "exit function")
threading.Thread(target=work).start()
from milstore.cli.main import main
sys.argv = ["milstore", *{words!r}]
main()
"""


def ended(*words: str, loaded: tuple[str, ...]) -> tuple[int, list[str]]:
    """The exit code of a command as a process of its own, and the lines that it printed."""
    program = PROGRAM.format(words=list(words), loaded=loaded)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize("loaded", [(), ("torch",)], ids=["a question", "a training"])
def test_the_interpreter_is_not_taken_down(loaded: tuple[str, ...]) -> None:
    """Threads are waited for and exit functions are called, as ever; then the process ends, whatever was imported.

    A thread of Arrow that met the end of the interpreter aborted one of some hundred trainings that were done.
    """
    code, lines = ended("--version", loaded=loaded)
    assert code == 0
    assert lines[0].startswith("milstore ")
    assert lines[1:] == ["thread ended", "exit function"]


def test_the_code_is_that_of_the_command() -> None:
    """An error is still an error at the end."""
    assert ended("nothing-like-it", loaded=("torch",)) == (2, ["thread ended", "exit function"])
