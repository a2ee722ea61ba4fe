# make demo | test | check | docs | setup | clean            `make demo` and `make test` need nothing before them.
# On Debian-like systems, as root (or with sudo for `setup`); see README.md.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SUDO := $(shell [ "$$(id -u)" = 0 ] || { sudo -n true 2>/dev/null && echo "sudo -n"; })
CAN_ROOT := $(shell [ "$$(id -u)" = 0 ] && echo yes)

# what the lab and the tests call; python3-venv is a package of its own on Debian
SYSTEM_PACKAGES := python3-venv git ca-certificates openssl openssh-client openssh-server sudo \
	debootstrap debian-archive-keyring systemd-container iproute2 iptables nftables procps kmod \
	bash dash zsh fish tcsh sshfs rsync zstd busybox-static vagrant etcd-server etcd-client

.PHONY: help setup system-packages docker-client demo test check docs clean

help:
	@sed -n '1,2s/^# //p' Makefile

setup: system-packages $(VENV)/.installed

# only what is missing; an unreachable third-party source must not stop what Debian itself has
system-packages:
	@missing=$$(for one in $(SYSTEM_PACKAGES); do \
	  [ "$$(dpkg-query -W -f '$${db:Status-Status}' $$one 2>/dev/null)" = installed ] || echo $$one; done); \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if ! command -v apt-get >/dev/null; then \
	  echo "not a Debian-like system; please install the equivalents of:" $$missing; exit 0; fi; \
	if [ -z "$(CAN_ROOT)$(SUDO)" ]; then \
	  echo "without root or sudo these packages are not installed:" $$missing; exit 0; fi; \
	echo "installing:" $$missing; \
	$(SUDO) apt-get update -q >/dev/null || true; \
	$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
	  -o DPkg::Lock::Timeout=300 $$missing >/dev/null

$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "machinectl needs Python 3.10 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# a docker client for this machine: docker-cli where Debian has it apart, else docker.io
docker-client:
	@command -v docker >/dev/null || [ -z "$(CAN_ROOT)$(SUDO)" ] || { \
	  $(SUDO) apt-get update -q >/dev/null; $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends docker-cli >/dev/null 2>&1 \
	  || $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends docker.io >/dev/null; }

demo: setup docker-client
	$(SUDO) env PATH="$(CURDIR)/$(BIN):$$PATH" docs/first-session.sh

# first what needs no hosts, so that nothing is timed beside hosts that boot. Most of the lab's tests wait for hosts:
# three at once keep two cores busy; a file's tests share their hosts and stay together
test: setup docker-client
ifdef PYTEST
	$(BIN)/pytest $(PYTEST)
else
	first=0; $(BIN)/pytest -n auto --dist loadfile tests/unit tests/contract tests/kernel || first=$$?; \
	$(BIN)/pytest -n 3 --dist loadfile tests/lab && exit $$first
endif
	@[ -n "$(CAN_ROOT)" ] || echo "not run, as they need root: tests marked 'root' and 'lab' (sudo make test)"

check: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/check_docs.py

# reference pages that are made from the code
docs: $(VENV)/.installed
	$(BIN)/python docs/build_reference.py

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
