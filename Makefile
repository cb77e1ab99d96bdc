# Tierce: a front for Meson. `make help` lists the targets.
BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
MESON_FLAGS ?=
export BUILD

.PHONY: all run test test-vm bench fuzz install check clean help deps asan

all: $(BUILD)/build.ninja ## build everything into build/
	@ninja -C $(BUILD)

$(BUILD)/build.ninja:
	@tools/deps build
	@meson setup $(BUILD) --prefix=$(PREFIX) $(MESON_FLAGS)

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

deps: ## install what building and testing need from Debian's packages
	@tools/deps build test

check: ## room directions, headers alone
	@tools/check-rooms --compile

test: all ## all tests
	@tools/deps test
	@tests/run

clean: ## remove build folders
	rm -rf $(BUILD) build-*

install: all ## install below DESTDIR and PREFIX
	@meson configure $(BUILD) -Dprefix=$(PREFIX) >/dev/null
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD) --no-rebuild
