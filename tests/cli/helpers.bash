# shellcheck shell=bash disable=SC2034
# What the suites 30-oci-* share: a bundle with busybox, the runtime, checks that say what they saw.
# RUNTIME=runc (or crun) runs the same tests against a peer, to see whether a test itself is right.

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD=${BUILD:-$TOP/build}
case $BUILD in /*) ;; *) BUILD=$TOP/$BUILD ;; esac
# TIER=vm (or sentry) runs them against another wall; needs_tier names the cases that cannot hold there.
TIER=${TIER:-ns}
case $TIER in ns) RUNTIME=${RUNTIME:-$BUILD/tierce-oci} ;; *) RUNTIME=${RUNTIME:-$BUILD/tierce-oci-$TIER} ;; esac
CLI=$TOP/tests/cli

# ---- bundle ----

base_rootfs() {
	local base=$BUILD/test-rootfs
	(
		flock 9
		[ -e "$base/.done2" ] && exit
		rm -rf "$base"
		mkdir -p "$base"/{bin,sbin,usr/bin,usr/sbin,etc,proc,sys,dev,tmp,root,var,home,run,mnt}
		cp "$(command -v busybox)" "$base/bin/busybox"
		chroot "$base" /bin/busybox --install -s /bin
		printf 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n' >"$base/etc/passwd"
		printf 'root:x:0:\nuser:x:1000:\ntty:x:5:\n' >"$base/etc/group"
		chmod 1777 "$base/tmp"
		touch "$base/.done2"
	) 9>"$BUILD/test-rootfs.lock"
	echo "$base"
}

setup_bundle() {
	ROOT=$(mktemp -d "${TMPDIR:-/tmp}/tierce-oci-test.XXXXXX")
	chmod 755 "$ROOT"
	ID=t$(basename "$ROOT" | tr -cd 'a-zA-Z0-9')
	mkdir -p "$ROOT/bundle" "$ROOT/state"
	cp -a "$(base_rootfs)" "$ROOT/bundle/rootfs"
	cd "$ROOT/bundle" || return 1
	"$RUNTIME" spec
	# a pid of its own for the cgroup: tests of several people may run at once
	CGROUP=/tierce-oci-test/$ID
	config ".process.terminal=false | .linux.cgroupsPath=\"$CGROUP\" | .root.readonly=false"
	# The tests look into the root from outside.
	[ "$TIER" != vm ] || config '.annotations["dev.tierce.vm.root"]="shared" | .annotations["dev.tierce.vm.template"]="wait"'
}

teardown_bundle() {
	[ -n "$ROOT" ] || return 0
	local id
	for id in $(__oci list -q 2>/dev/null); do __oci delete -f "$id" || true; done
	[ -f "$ROOT/recvtty.pid" ] && kill "$(cat "$ROOT/recvtty.pid")" 2>/dev/null
	cd /
	rm -rf --one-file-system "$ROOT"
}

# config FILTER...: jq on config.json; args VALUE...: the container's program
config() {
	jq "$@" config.json >config.new && mv config.new config.json
}
args() {
	jq '.process.args=$ARGS.positional' --args -- "$@" <config.json >config.new && mv config.new config.json
}

# ---- the runtime ----

__oci() { "$RUNTIME" --root "$ROOT/state" "$@"; }
# Into a file: a detached container keeps the files that it was given, and a pipe would never end.
to_file() { "$RUNTIME" --root "$ROOT/state" "$@" >"$ROOT/output" 2>&1; }
oci() {
	status=0
	to_file "$@" || status=$?
	output=$(cat "$ROOT/output")
	mapfile -t lines <"$ROOT/output"
	echo "\$ oci $* -> $status"
	echo "$output"
}
ok() {
	oci "$@"
	[ "$status" -eq 0 ]
}
fails() {
	oci "$@"
	[ "$status" -ne 0 ]
}
# rc N ARGS...
rc() {
	local want=$1
	shift
	oci "$@"
	[ "$status" -eq "$want" ]
}
# has TEXT...: each is in the output
has() {
	local t
	for t in "$@"; do [[ $output == *"$t"* ]] || { echo "missing: $t"; return 1; }; done
}
hasnt() {
	local t
	for t in "$@"; do [[ $output != *"$t"* ]] || { echo "unexpected: $t"; return 1; }; done
}
# out TEXT: the whole output
out() { [ "$output" = "$1" ] || { echo "expected: $1"; return 1; }; }
field() { __oci state "$1" | jq -r "$2"; }
is_status() { [ "$(field "$1" .status)" = "$2" ] || { echo "status is $(field "$1" .status), not $2"; return 1; }; }
# until_ok COMMAND...: at most ten seconds, no fixed sleep
until_ok() {
	local i
	for ((i = 0; i < 500; i++)); do "$@" >/dev/null 2>&1 && return 0; sleep 0.02; done
	echo "never: $*"
	return 1
}
# status of a background process
waits() {
	status=0
	wait "$1" || status=$?
}
gone() { ! kill -0 "$1" 2>/dev/null; }
nothing_left() {
	[ -z "$(ls -A "$ROOT/state" 2>/dev/null | grep -v '^\.')" ] || { ls -lA "$ROOT/state"; return 1; }
	[ -z "$(find /sys/fs/cgroup -type d -path "*$CGROUP*" 2>/dev/null)" ] || { find /sys/fs/cgroup -type d -path "*$CGROUP*"; return 1; }
	! grep -q "$ROOT" /proc/self/mountinfo
}

# background: a sleeping container
start_sleeper() {
	local id=${1:-$ID}
	args sleep 1000
	ok run -d "$id"
}

recvtty() {
	export CONSOLE_SOCKET=$ROOT/tty.sock
	python3 "$CLI/recvtty.py" "$CONSOLE_SOCKET" "$ROOT/tty.out" "$ROOT/recvtty.pid" >/dev/null 2>&1 3>&- &
	until_ok test -S "$CONSOLE_SOCKET"
}

# ---- what this host has ----

v1_dir() { # controller -> mount point of its v1 hierarchy
	awk -v c="$1" '{ for (i = 1; i <= NF; i++) if ($i == "-") { if ($(i+1) == "cgroup" && ("," $(i+3) ",") ~ ("," c ",")) print $5 } }' /proc/self/mountinfo | head -1
}
v2_dir() { awk '{ for (i = 1; i <= NF; i++) if ($i == "-" && $(i+1) == "cgroup2") print $5 }' /proc/self/mountinfo | head -1; }
# cg CONTROLLER V1FILE V2FILE: value of the container's cgroup file, wherever the controller lives
cg() {
	local d
	d=$(v1_dir "$1")
	if [ -n "$d" ]; then cat "$d$CGROUP/$2"; else cat "$(v2_dir)$CGROUP/$3"; fi
}
need() {
	local what
	for what; do
		case $what in
		v1) [ -n "$(v1_dir memory)" ] || skip "needs cgroup v1" ;;
		v2) grep -q memory "$(v2_dir)/cgroup.controllers" 2>/dev/null || skip "needs memory on cgroup v2" ;;
		psi) [ -r /proc/pressure/cpu ] || skip "needs PSI" ;;
		smp) [ "$(nproc)" -gt 1 ] || skip "needs two processors" ;;
		criu) command -v criu >/dev/null && criu check >/dev/null 2>&1 || skip "criu does not work here" ;;
		apparmor) [ -d /sys/kernel/security/apparmor ] || skip "needs AppArmor" ;;
		selinux) [ -d /sys/fs/selinux/class ] || skip "needs SELinux" ;;
		ours) [[ $(basename "$RUNTIME") == tierce* ]] || skip "only for tierce-oci" ;;
		fuse) [ -c /dev/fuse ] && (: <>/dev/fuse) 2>/dev/null || skip "needs /dev/fuse" ;;
		timens) [ -e /proc/self/ns/time ] || skip "needs time namespaces" ;;
		*) echo "unknown need $what"; return 1 ;;
		esac
	done
}
