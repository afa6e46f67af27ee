import subprocess
import sys


def test_an_agents_start_imports_nothing_of_dockers_api():
    script = "import sys, cgagent.api.serve; print(*(m for m in sys.modules if 'api.docker' in m))"
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == []
