# Every target does its own set-up; `make help` lists them.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: help bench test benchmarks lint types format native-test package check clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-12s %s\n", $$1, $$2}'

$(VENV)/installed: pyproject.toml setup.py CMakeLists.txt constraints.txt $(wildcard csrc/*.cpp csrc/*.h)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing zen_fast with its extras into $(VENV): a few minutes the first time"
	$(PIP) --editable '.[bench,eval,retrieval,train,gpu,cache,test,dev]'
	touch $@

bench: $(VENV)/installed ## measure the embedded model, in fp32 and int8, against stock PyTorch (ARGS='--help' for more)
	$(BIN)/python -m zen_fast.bench $(ARGS)

test: $(VENV)/installed ## the test suite, a file at a time on each core
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile $(ARGS)

benchmarks: $(VENV)/installed ## pytest-benchmark suites of the pieces
	$(BIN)/python -m pytest benchmarks --benchmark-only $(ARGS)

lint: $(VENV)/installed ## ruff and clang-format, changing nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror csrc/*.h csrc/*.cpp csrc/tests/* benchmarks/*.cpp

types: $(VENV)/installed ## mypy --strict
	$(BIN)/mypy --strict zen_fast

format: $(VENV)/installed ## ruff and clang-format, in place
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i csrc/*.h csrc/*.cpp csrc/tests/* benchmarks/*.cpp

native-test: $(VENV)/installed ## C++ tests under the address, undefined-behaviour and thread sanitizers
	for sanitizers in address,undefined thread; do \
	  folder=build/native-test-$${sanitizers%%,*}; \
	  $(BIN)/cmake -S . -B $$folder -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja \
	    -DZEN_FAST_PYTHON=OFF -DZEN_FAST_TESTS=ON -DZEN_FAST_SANITIZE=$$sanitizers >/dev/null && \
	  $(BIN)/cmake --build $$folder && \
	  $(BIN)/ctest --test-dir $$folder --output-on-failure || exit 1; \
	done

package: ## build the source archive, a wheel from it, install that into a fresh environment, and rerank with it
	rm -rf build/package && mkdir -p build/package
	$(PYTHON) -m venv build/package/venv
	build/package/venv/bin/pip install --quiet build
	build/package/venv/bin/python -m build --outdir build/package . >build/package/log 2>&1 || \
	  (cat build/package/log; exit 1)
	build/package/venv/bin/pip install --quiet --constraint constraints.txt build/package/*.whl
	cd build/package && printf 'Sunny.\nGreenhouse gases.\n' | \
	  venv/bin/zen-fast rerank --query 'What causes climate change?' -
	cd build/package && venv/bin/python -c \
	  'import pathlib, zen_fast; (pathlib.Path(zen_fast.__file__).parent / "kernels/attention.py").stat()'

check: test lint types native-test package ## everything that CI runs

clean: ## remove builds and the virtual environment
	rm -rf $(VENV) build dist *.egg-info zen_fast/_C*.so
