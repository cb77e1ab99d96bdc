# shellcheck shell=bash disable=SC2154
# What the suites of the vm tier share: TAP, a bundle over busybox, the runtime with a state root of its own.
n=0
ok() { n=$((n + 1)); echo "ok $n - $1"; }
no() { n=$((n + 1)); echo "not ok $n - $1"; shift; printf '# %s\n' "$@" | head -20; }
is() { if [ "$2" = "$3" ]; then ok "$1"; else no "$1" "got: $2" "wanted: $3"; fi; }
has() { case $2 in *"$3"*) ok "$1";; *) no "$1" "got: $2" "wanted in it: $3";; esac; }
skip() { echo "ok 1 - vm tier # SKIP $1"; exit 0; }

[ "$(id -u)" = 0 ] || skip "not root"
[ -x "$BUILD/tierce-oci" ] || skip "tierce-oci is not built"
for p in qemu-system-x86_64 jq busybox; do command -v $p >/dev/null || skip "$p is missing"; done
[ "$(uname -m)" = x86_64 ] || skip "not x86-64"

work=$(mktemp -d /tmp/tierce-vm-test.XXXXXX)
oci=(timeout -k 5 90 "$BUILD/tierce-oci" --root "$work/state" --isolation vm)
finish() {
	for id in "$work"/state/*/; do [ -d "$id" ] && "${oci[@]}" delete -f "$(basename "$id")" >/dev/null 2>&1; done
	ip netns del tvmt >/dev/null 2>&1; ip link del tvmt0 >/dev/null 2>&1; [ -z "${ns:-}" ] || ip netns del "$ns" >/dev/null 2>&1
	rm -rf "$work"
}
trap finish EXIT
mkdir -p "$work"/root/{bin,proc,sys,dev,tmp,etc,vol} "$work/vol"
cp "$(command -v busybox)" "$work/root/bin/busybox"
for a in $("$work/root/bin/busybox" --list | grep -vx busybox); do ln -sf busybox "$work/root/bin/$a"; done

# bundle NAME JQ-FILTER: a bundle over the shared root; templates are waited for, so that every start but the first is a clone
(cd "$work" && "$BUILD/tierce-oci" spec) || skip "spec failed"
bundle() {
	mkdir -p "$work/$1"; [ -e "$work/$1/rootfs" ] || ln -sfn "$work/root" "$work/$1/rootfs"
	jq '.process.terminal=false | .root.readonly=false | .process.env=["PATH=/bin"] | .annotations={"dev.tierce.vm.template":"wait"} | '"$2" "$work/config.json" >"$work/$1/config.json"
}
sh_() { bundle "$1" '.process.args=["/bin/sh","-c",'"$(printf %s "$2" | jq -Rs .)"'] | '"${3:-.}"; }
run() { timeout -k 5 60 "${oci[@]}" run -b "$work/$1" "$1" </dev/null; }
monitors() { grep -lz -- "$work/[s]tate" /proc/[0-9]*/cmdline 2>/dev/null | wc -l; } # each takes its machine along when it ends

# need_kernel FILE: a first run whose errors are in FILE found no guest kernel
need_kernel() { if grep -qE 'no guest kernel|apt-get' "$1"; then skip "no guest kernel: $(head -c 200 "$1")"; fi; }
st() { "${oci[@]}" state "$1" 2>/dev/null | jq -r "${2:-.status}"; }
until_status() { for _ in $(seq 200); do [ "$(st "$1")" = "$2" ] && break; sleep 0.1; done; is "$3" "$(st "$1")" "$2"; }
end_of_suite() {
	for _ in $(seq 50); do [ "$(monitors)" = 0 ] && break; sleep 0.1; done
	is "no machine of ours is left" "$(monitors)" 0
	echo "1..$n"
}
