# Two commands matter: `make run` and `make test`. Both prepare what they need by themselves.
MODE ?= v2
SOAK ?= --deaths 1000 --image-kills 100 --image-fuzz 10000 --power-cuts 100 --rounds 10000

.PHONY: run demo-monitoring test test-guest test-pythons soak lint bench clean

run:
	@deploy/venv runtime
	@deploy/demo

demo-monitoring:
	@deploy/venv runtime
	@deploy/demo-monitoring

test: .venv/stamp
	@tests/run unit lint native v2

test-guest: .venv/stamp
	@tests/run $(MODE)

test-pythons: .venv/stamp
	@tests/run pythons

soak: .venv/stamp
	@.venv/bin/python -m tests.world.prepare native
	@.venv/bin/python -m tests.soak $(SOAK)

lint: .venv/stamp
	@tests/run lint

bench:
	@deploy/venv runtime
	@.venv/bin/python -m benchmarks $(BENCH)

clean:
	rm -rf .venv .coverage .hypothesis .import_linter_cache .mypy_cache .ruff_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/stamp: FORCE
	@deploy/venv dev

.PHONY: FORCE
FORCE:
