"""Work in several processes, begun by somebody's own script."""

import subprocess
import sys
from pathlib import Path


def test_a_script_without_a_guard_is_run_once(tmp_path: Path) -> None:
    """Processes that a script starts by milstore do not run the script again, whether it asks for its name or not."""
    script = tmp_path / "mine.py"
    script.write_text(
        "import os\nfrom milstore.workers import mapped\n"
        "print('begun', flush=True)\n"
        "print(list(mapped(os.path.basename, ['/a/b', '/c/d'], jobs=2)), __file__)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=120)
    assert (done.stderr, done.stdout) == ("", f"begun\n['b', 'd'] {script}\n")
