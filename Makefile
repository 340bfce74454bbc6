# Two commands do everything on a fresh machine with Python 3.11 or later: `make run` and `make test`.
# Both first make .venv from the hashed lock file.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INPUT ?=
REV ?=
BENCH ?=
PLOT ?= $(VENV)/bench.json
FORCE ?=
MUTANTS ?=
ORCHESTRATORS := prefect dagster apscheduler
OLDEST := $(if $(wildcard /usr/lib/postgresql/15/bin/postgres),15,16)
OF_VERSIONS := tests/adoption tests/security tests/races tests/sql

.PHONY: run test versions quick sabotages proof mutants wheel review dbt integrations check format bench bench-plots freeze snapshot lock stop clean

run: $(VENV)/installed
	@$(BIN)/python -m tools.demo $(if $(INPUT),"$(INPUT)")

# Everything on the embedded PostgreSQL 18. Before that what the server's version can change, on the oldest that is here (Debian's 15, or
# the embedded 16): tests/support/versions.py says what that is. And what an adoption can change, on two adopted databases, see
# tests/support/hosts.py: all of it on the host that is less like ours, the stories on the other. With DATABASE_URL: everything on that server, see docs/howto/servers.md.
test: $(VENV)/installed
ifneq ($(origin DATABASE_URL),undefined)
	$(BIN)/python -m pytest -n 2 -m "not sabotage"
else
	DOT_TEST_POSTGRES=$(OLDEST) $(BIN)/python -m pytest -n 3 --dist loadfile -q -m by_version $(OF_VERSIONS)
	DOT_TEST_HOST=near $(BIN)/python -m pytest -n 2 -q -m by_host tests/properties
	DOT_TEST_HOST=far $(BIN)/python -m pytest -n 2 -q -m by_host tests/sql tests/properties
	$(BIN)/python -m pytest -n 3 --dist loadfile -m "not sabotage"
endif

# What the server's version can change, on 16.
versions: $(VENV)/installed
	DOT_TEST_POSTGRES=16 $(BIN)/python -m pytest -n 3 --dist loadfile -q -m by_version $(OF_VERSIONS)

# Breaks a database in eight ways, and by five mutants, and lets `dot-wrapper prove` find each: half a minute each.
sabotages: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 -q -m sabotage tests/operations/test_sabotage.py tests/tools/test_mutants_proved.py

# The rules on 18 alone: for the time in which one writes.
quick: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 -q tests/sql

# What tries to break the wrapper, in the large size: random seeds, printed for replay, and .proof.xml for programs. About an hour.
proof: $(VENV)/installed
	DOT_PROOF=large $(BIN)/python -m pytest -n 2 -v --durations=20 --junitxml=.proof.xml tests/properties tests/races tests/faults \
	    tests/operations/test_sabotage.py tests/tools/test_plpgsql.py tests/tools/test_mutants_proved.py

# Changes the SQL in every way a guard can be missing or wrong, and fails where no test notices. MUTANTS="--only fn_is_code", or
# MUTANTS="--changed" for some of those in files that the branch has changed.
mutants: $(VENV)/installed
	PYTHONPATH=tests $(BIN)/python -m tools.mutants.run --result $(VENV)/mutants.json $(MUTANTS)

# Builds the wheel and uses it as a consumer does, on the lowest and the highest Python of this machine. It needs a package index.
wheel: $(VENV)/installed
	$(BIN)/python -m tools.wheel

check: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m tools.frozen check
	$(BIN)/python -m tools.sql_lines
	$(BIN)/python -m tools.snapshot --check
	$(BIN)/alembic upgrade head --sql > $(VENV)/upgrade.sql
	$(BIN)/alembic -n amendment upgrade head --sql > $(VENV)/amendment.sql
	$(BIN)/squawk --config squawk.toml $(VENV)/upgrade.sql $(VENV)/amendment.sql sql/roles.sql sql/roles_drop.sql
	$(BIN)/alembic downgrade head:base --sql > $(VENV)/downgrade.sql
	$(BIN)/alembic -n amendment downgrade head:base --sql > $(VENV)/amendment_back.sql
	$(BIN)/python -m tools.pinned $(VENV)/upgrade.sql $(VENV)/downgrade.sql $(VENV)/amendment.sql $(VENV)/amendment_back.sql \
	    sql/roles.sql sql/roles_drop.sql sql/drift.sql

format: $(VENV)/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# What the wrapper costs beside the physical limit and its neighbours, under 15 minutes. SIZE=10M for the whole growth run,
# BENCH="--only observe" for some rows, see `python -m bench --help`. Without network the neighbours' rows say why they are empty.
bench: $(VENV)/installed
	-@$(MAKE) --no-print-directory $(VENV)/bench/installed
	$(BIN)/python -m bench --json $(VENV)/bench.json $(BENCH)

# The charts of docs/performance-*.svg from the last run of `make bench`, or PLOT=FILE. Look at them before you commit them.
bench-plots: $(VENV)/bench/installed
	$(VENV)/bench/bin/python bench/plots.py $(PLOT) docs

$(VENV)/bench/installed: bench/requirements.lock
	@echo "installing what the benchmark is measured beside into $(VENV)/bench"
	@test -x $(VENV)/bench/bin/python || $(PYTHON) -m venv $(VENV)/bench
	@$(VENV)/bench/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r bench/requirements.lock
	@touch $@

# The review packet of HEAD, from where it left main, in .venv/review.md. It fails on red that migrations/declared.txt does not explain.
review: $(VENV)/installed
	$(BIN)/python -m tools.self_review

# Runs the example for dbt with the real one, in an environment of its own. Binary packages alone: nothing is built, nothing else runs.
dbt: $(VENV)/installed $(VENV)/dbt/installed
	$(BIN)/python -m pytest -n 2 -q tests/client/test_dbt_runner.py

$(VENV)/dbt/installed: examples/bakery/requirements.lock
	@echo "installing dbt into $(VENV)/dbt"
	@test -x $(VENV)/dbt/bin/python || $(PYTHON) -m venv $(VENV)/dbt
	@$(VENV)/dbt/bin/python -m pip install -qq --disable-pip-version-check --only-binary :all: --require-hashes -r examples/bakery/requirements.lock
	@touch $@

# Runs the examples for orchestrators with the real ones.
integrations: $(VENV)/installed $(ORCHESTRATORS:%=$(VENV)/%/installed)
	$(BIN)/python -m pytest -n 2 -q tests/client/test_integrations.py

$(ORCHESTRATORS:%=$(VENV)/%/installed): $(VENV)/%/installed: examples/integrations/%.lock
	@echo "installing $* into $(VENV)/$*"
	@test -x $(VENV)/$*/bin/python || $(PYTHON) -m venv $(VENV)/$*
	@$(VENV)/$*/bin/python -m pip install -qq --disable-pip-version-check --only-binary :all: --require-hashes -r examples/integrations/$*.lock
	@touch $@

# make freeze REV=0005, or REV=a003 of the amendment: keeps the copies of sql/ that a revision applies. FORCE=1 rewrites one before the first release.
freeze: $(VENV)/installed
	$(BIN)/python -m tools.frozen freeze $(REV) $(if $(filter 1,$(FORCE)),--force)

# Regenerates sql/schema.snapshot.sql, the line diff of tables, constraints and grants.
snapshot: $(VENV)/installed
	$(BIN)/python -m tools.snapshot

# Pins the dependencies of pyproject.toml anew, with hashes and without any index address. Needs uv.
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --upgrade --group dev --extra embedded pyproject.toml -o requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --upgrade --group bench -o bench/requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --upgrade --only-binary :all: --group dbt -o examples/bakery/requirements.lock
	for name in $(ORCHESTRATORS); do \
	    uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --upgrade --only-binary :all: --group $$name pyproject.toml \
	        -o examples/integrations/$$name.lock; done

stop: $(VENV)/installed
	$(BIN)/dot-wrapper db stop

clean:
	-test ! -x $(BIN)/dot-wrapper || $(BIN)/dot-wrapper db stop
	rm -rf $(VENV) .data .proof.xml .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or later is needed: make PYTHON=...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the locked dependencies into $(VENV), about a minute the first time"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
