# `make demo` and `make test` are all a newcomer needs; both build `.venv` first. `make test-slow` adds the longer checks.
PYTHON ?= python3
VENV := .venv
FAISS := $(shell command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L 2>/dev/null | grep -q GPU && echo gpu || echo cpu)

.PHONY: demo test test-slow install install-test clean

demo: install
	$(VENV)/bin/hubspoke demo

test: install-test
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" scripts/check -m "not slow"

test-slow: install-test
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" scripts/check --tests -m slow

install: $(VENV)/.installed-demo

install-test: $(VENV)/.installed-test

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "No virtual environment could be made; on Debian and Ubuntu install python3-venv and repeat." >&2; exit 1; }

$(VENV)/.installed-demo: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --disable-pip-version-check --progress-bar off -e ".[$(FAISS),demo,serve,rerank]"
	touch $@

$(VENV)/.installed-test: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --disable-pip-version-check --progress-bar off -e ".[$(FAISS),demo,serve,rerank,test]"
	touch $@

clean:
	rm -rf $(VENV) build .hubspoke
