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

deps: ## install what building, running and testing need from Debian's packages
	@tools/deps build run test bench engines vm

run: all ## a real web server from Debian's packages in a container of every tier, next to crun and runc
	@tools/deps run bench
	@tools/demo

check: ## room directions, headers alone
	@tools/check-rooms --compile

test: all ## all tests
	@tools/deps run test bench engines vm
	@tests/run

test-vm: all ## every suite inside machines with Debian's kernel: pure cgroup v2, systemd as init
	@tools/deps test vm
	@tests/machine/all

bench: all ## the figures of the README, next to Debian's crun and runc; results in bench/results
	@tools/deps run bench
	@bench/all

fuzz: ## build the fuzz targets and run each for FUZZ_SECONDS (60)
	@tools/deps build test
	@tools/fuzz

asan: ## an AddressSanitizer and UBSan build in build-asan
	@tools/deps build
	@test -f build-asan/build.ninja || meson setup build-asan -Db_sanitize=address,undefined -Dbuildtype=debugoptimized
	@ninja -C build-asan

clean: ## remove build folders (the cache of root filesystems and images stays in .cache)
	rm -rf $(BUILD) build-*

install: all ## install below DESTDIR and PREFIX
	@meson configure $(BUILD) -Dprefix=$(PREFIX) >/dev/null
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD) --no-rebuild
