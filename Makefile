PY ?= python3
.venv/stamp: pyproject.toml
	$(PY) -m venv .venv
	.venv/bin/pip install -q -U 'pip>=25.1'
	.venv/bin/pip install -q -e . --group dev
	touch $@
