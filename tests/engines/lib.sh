# Shared by the engine suites: TAP assertions, a small root filesystem of busybox, the runtime under test.
# TIERCE_ENGINE_RUNTIME=/usr/sbin/runc runs the same suite against another runtime: what fails there too is the test's fault.
# shellcheck shell=bash
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit
TOP=$PWD
# Engines write firewall rules, bridges and mounts: all of that, and every process that they leave, ends with the suite.
if [ -z "${TIERCE_ENGINE_INSIDE:-}" ] && [ "$(id -u)" = 0 ]; then
	TIERCE_ENGINE_INSIDE=1 exec unshare --mount --net --pid --fork --kill-child --mount-proc --propagation slave "$TOP/tests/engines/$(basename "$0")" "$@"
fi
ip link set lo up 2>/dev/null
BUILD=${BUILD:-build}
RUNTIME=${TIERCE_ENGINE_RUNTIME:-$TOP/$BUILD/tierce-oci}
WORK=$(mktemp -d "/var/tmp/tierce-engines.XXXXXX")
chmod 755 "$WORK"
count=0 bad=0
out=

finish() {
	local rc=$?
	trap - EXIT
	cleanup
	cd /
	awk -v w="$WORK/" 'index($5, w) == 1 {print $5}' /proc/self/mountinfo | tac | xargs -r -n1 umount -l 2>/dev/null
	rm -rf --one-file-system "$WORK"
	echo "1..$count"
	exit $((bad > 0 ? 1 : rc))
}
trap finish EXIT
trap 'exit 130' INT TERM

report() { # RC DESCRIPTION DETAIL
	count=$((count + 1))
	if [ "$1" = 0 ]; then echo "ok $count - $2"; else
		bad=$((bad + 1)); echo "not ok $count - $2"; printf '%s\n' "$3" | head -12 | sed 's/^/# /'
	fi
	return 0
}
limit() { timeout -k 5 "${LIMIT:-90}" "$@"; }
# Every assertion leaves the output in $out.
passes() { local d=$1; shift; out=$(limit "$@" 2>&1 </dev/null); local rc=$?; report $rc "$d" "exit $rc: $out"; }
exits() { local d=$1 want=$2; shift 2; out=$(limit "$@" 2>&1 </dev/null); local rc=$?; [ $rc = "$want" ]; report $? "$d" "exit $rc, wanted $want: $out"; }
prints() { local d=$1 want=$2; shift 2; out=$(limit "$@" 2>"$WORK/stderr" </dev/null); local rc=$?; [ $rc = 0 ] && [ "$out" = "$want" ]; report $? "$d" "exit $rc: got '$out', wanted '$want' $(head -3 "$WORK/stderr")"; }
matches() { local d=$1 want=$2; shift 2; out=$(limit "$@" 2>&1 </dev/null); local rc=$?; [ $rc = 0 ] && grep -qE -- "$want" <<<"$out"; report $? "$d" "exit $rc: '$out' has no /$want/"; }
refuses() { local d=$1 want=$2; shift 2; out=$(limit "$@" 2>&1 </dev/null); local rc=$?; [ $rc != 0 ] && grep -qE -- "$want" <<<"$out"; report $? "$d" "exit $rc: '$out' has no /$want/"; }
lacks() { local d=$1 want=$2; shift 2; out=$(limit "$@" 2>&1 </dev/null); ! grep -qE -- "$want" <<<"$out"; report $? "$d" "'$out' has /$want/"; }
skip() { count=$((count + 1)); echo "ok $count - $1 # SKIP $2"; }
# eventually DESCRIPTION PATTERN COMMAND...: what engines do in the background, with a deadline of 20 s
eventually() {
	local d=$1 want=$2 i; shift 2
	for ((i = 0; i < 200; i++)); do out=$(limit "$@" 2>&1 </dev/null) && grep -qE -- "$want" <<<"$out" && { report 0 "$d"; return; }; sleep 0.1; done
	report 1 "$d" "'$out' has no /$want/"
}

need() { # PROGRAM... : skips the whole suite when an engine is missing
	local p
	for p; do command -v "$p" >/dev/null || { skip "$p" "$p is not installed"; exit 0; }; done
	[ "$(id -u)" = 0 ] || { skip "engines" "needs root"; exit 0; }
	[ -x "$RUNTIME" ] || { report 1 "$RUNTIME is built"; exit 1; }
}

make_image() { # TARBALL: busybox with every applet, two users
	local d=$WORK/image a
	mkdir -p "$d"/{bin,proc,dev,sys,tmp,etc,root,var/www,data}
	cp "$(command -v busybox)" "$d/bin/busybox"
	for a in $(busybox --list); do [ "$a" = busybox ] || ln -sf busybox "$d/bin/$a"; done
	chmod 1777 "$d/tmp"
	printf 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/:/bin/sh\n' >"$d/etc/passwd"
	printf 'root:x:0:\nuser:x:1000:\nextra:x:2000:user\n' >"$d/etc/group"
	echo from-image >"$d/data/file"
	echo served >"$d/var/www/index.html"
	tar -C "$d" --numeric-owner --owner=0 --group=0 -cf "$1" .
	rm -rf "$d"
}

# Some hosts withhold a capability (CAP_SYS_RESOURCE in nested machines): "all of them" cannot be given there.
full_caps() { [ "$(awk '/CapBnd/{print $2}' /proc/self/status)" = "$(printf '%016x' $(((1 << ($(cat /proc/sys/kernel/cap_last_cap) + 1)) - 1)))" ]; }

# Inside a container: a limit by its v1 and v2 names.
cg_memory='cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max'
cg_pids='cat /sys/fs/cgroup/pids/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids.max'
cg_quota='if [ -e /sys/fs/cgroup/cpu/cpu.cfs_quota_us ]; then echo $(cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us); else cat /sys/fs/cgroup/cpu.max; fi'
cg_cpus='cat /sys/fs/cgroup/cpuset/cpuset.cpus 2>/dev/null || cat /sys/fs/cgroup/cpuset.cpus'
