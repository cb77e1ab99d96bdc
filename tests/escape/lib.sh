# Sourced by every attack. The harness (tests/suites.d/50-escape) sets T (the runtime), W (a fresh folder), BUILD.
# An attack prints "ESCAPED: what it got" when it succeeded and "HELD" at its end.
# shellcheck shell=bash
set -u
MARK=$(basename "$W") # ids of this run
SECRET=secret-of-the-host-$MARK
mkdir -p "$W/host" "$W/run"
echo "$SECRET" >"$W/host/secret"

escaped() { echo "ESCAPED: $*"; }
held() { echo HELD; }

# bundle NAME: a busybox image with runc's default config in $W/NAME; becomes the current folder.
bundle() {
	mkdir -p "$W/$1/rootfs"/{bin,proc,sys,tmp,etc,dev}
	cp "$(command -v busybox)" "$W/$1/rootfs/bin/busybox"
	for a in sh cat ls echo id sleep mkdir rmdir touch grep true kill readlink; do ln -s busybox "$W/$1/rootfs/bin/$a"; done
	cd "$W/$1" || exit 1
	"$T" spec || exit 1
	edit 'd["process"]["terminal"] = False; d["root"]["readonly"] = False'
}

# edit PYTHON: change the config, which is d.
edit() {
	W=$W python3 - "$1" <<'PY'
import json, os, sys
W = os.environ["W"]
d = json.load(open("config.json"))
p, m = d["process"], d["mounts"]
exec(sys.argv[1])
json.dump(d, open("config.json", "w"))
PY
}

tierce() { timeout 20 "$T" --root "$W/run" "$@"; }
# run NAME: the bundle of the current folder, output of both.
run() { tierce run "$MARK-$1" </dev/null 2>&1; }
start() { tierce run -d "$MARK-$1" </dev/null >/dev/null 2>&1 || echo "cannot start $1"; }
