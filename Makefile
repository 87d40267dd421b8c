# make demo: from a fresh checkout to finished experiments.  make test, make lint: for developers.

PYTHON ?= python3
CORES := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
# More workers than this only compete for the ports and the disk of one machine.
WORKERS := $(shell [ $(CORES) -gt 8 ] && echo 8 || echo $(CORES))

.DEFAULT_GOAL := help
.PHONY: help venv demo images docker causes targets test mutants lint bench clean

help:
	@echo "make demo    install everything into .venv and run the quick experiments"
	@echo "make docker  tests of the docker runtime, and the quick experiments on containers"
	@echo "make causes  tests of replaying, shrinking and generating, and of reports in a browser"
	@echo "make targets tests of the systems under test: their parts, and whole services"
	@echo "make test    the harness's own tests, all but those of docker, causes and targets"
	@echo "make mutants show that each experiment catches the bugs it is for"
	@echo "make lint    ruff and mypy"
	@echo "make bench   what the harness costs, measured here"
	@echo "make clean   remove .venv and caches; recorded runs stay"

venv: .venv/installed

demo: venv
	.venv/bin/harness doctor --fetch
	@status=0; .venv/bin/pytest experiments -m quick || status=$$?; \
	echo; echo "The runs, each in a folder of its own (harness runs):"; \
	.venv/bin/harness runs; exit $$status

# What the docker runtime runs in, made when missing or stale. It would do so itself, but then the
# first test waits for it.
images: venv
	PYTHONPATH=. .venv/bin/python compose/images

docker: images
	@if .venv/bin/python -c 'from harness.runtime.docker.engine import connect; connect()' \
		2>/dev/null; then \
		.venv/bin/pytest tests/live/docker -n $(WORKERS) --dist worksteal && \
		HARNESS_TEST_RUNTIME=docker .venv/bin/pytest tests/live/faults -n $(WORKERS) \
			--dist worksteal && \
		.venv/bin/pytest experiments -m quick --chaos-runtime docker; \
	else echo "No Docker engine answers: nothing was run on containers."; fi

# Live tests take seconds each: a worker that has done its share takes some of the other's.
test: venv
	.venv/bin/pytest tests --ignore tests/live/docker --ignore tests/live/causes \
		--ignore tests/live/report --ignore tests/live/targets --ignore tests/unit/targets \
		-n $(WORKERS) --dist worksteal

# What replays and shrinks carries out a plan many times, which takes minutes; reports need a browser.
causes: venv
	.venv/bin/pytest tests/live/causes tests/live/report -n $(WORKERS) --dist worksteal

targets: venv
	.venv/bin/pytest tests/unit/targets tests/live/targets -n $(WORKERS) --dist worksteal

# Two at a time, but for payments, which promises milliseconds that a busy machine does not keep.
# ONLY=--quick leaves out what the quick experiments need not catch.
mutants: venv
	@for target in etcd redis cluster jobs chat; do \
		echo "== $$target"; \
		.venv/bin/harness mutants $$target --only-expected --jobs 2 $(ONLY) || exit 1; \
	done
	.venv/bin/harness mutants payments --only-expected $(ONLY)

lint: venv
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

bench: venv
	@for script in tests/benchmarks/*.py; do \
		[ -e "$$script" ] || continue; \
		echo "== $$script"; PYTHONPATH=. .venv/bin/python "$$script" || exit 1; \
	done

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last: an installation that was interrupted is begun again.
.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu:" \
			"apt-get install python3-venv" >&2; exit 1; }
	@.venv/bin/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[dev,docker,load,targets]'
	@touch $@
