#!/usr/bin/env bash
# containerd from Debian's packages with its own shim for runc, pointed at the runtime by --runc-binary.
# shellcheck source=tests/engines/lib.sh
. "$(dirname "$0")/lib.sh"

daemon=
cleanup() {
	if [ -n "$daemon" ]; then
		ctr tasks ls -q 2>/dev/null | while read -r t; do ctr tasks kill -s KILL "$t"; ctr tasks rm -f "$t"; done >/dev/null 2>&1
		kill "$daemon" && wait "$daemon" 2>/dev/null
	fi
}
need containerd ctr busybox
mkdir -p "$WORK/bin"
cat >"$WORK/config.toml" <<C
version = 2
root = "$WORK/root"
state = "$WORK/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
address = "$WORK/containerd.sock"
C
export CONTAINERD_ADDRESS=$WORK/containerd.sock CONTAINERD_NAMESPACE=test
# `ctr containers create` has no --runc-binary: the shim finds this name in its PATH.
ln -s "$RUNTIME" "$WORK/bin/runc"
PATH=$WORK/bin:$PATH containerd --config "$WORK/config.toml" >"$WORK/containerd.log" 2>&1 &
daemon=$!
eventually "containerd starts" "Server" ctr version
[ $bad = 0 ] || { tail -20 "$WORK/containerd.log" | sed 's/^/# /'; exit 1; }

# An image without a registry: an OCI layout written by hand.
make_image "$WORK/layer.tar"
layout=$WORK/layout
mkdir -p "$layout/blobs/sha256"
blob() { local d; d=$(sha256sum <"$1" | cut -d' ' -f1); cp "$1" "$layout/blobs/sha256/$d"; echo "\"digest\":\"sha256:$d\",\"size\":$(stat -c %s "$1")"; }
diffid=$(sha256sum <"$WORK/layer.tar" | cut -d' ' -f1)
printf '{"architecture":"%s","os":"linux","config":{"Env":["PATH=/bin"],"Cmd":["/bin/sh"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' "$(dpkg --print-architecture)" "$diffid" >"$WORK/c.json"
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json",%s},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar",%s}]}' "$(blob "$WORK/c.json")" "$(blob "$WORK/layer.tar")" >"$WORK/m.json"
printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json",%s,"annotations":{"org.opencontainers.image.ref.name":"1","io.containerd.image.name":"localhost/busy:1"}}]}' "$(blob "$WORK/m.json")" >"$layout/index.json"
printf '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
tar -C "$layout" -cf "$WORK/image.tar" .
I=localhost/busy:1
passes "import an image" ctr images import "$WORK/image.tar"
SN=overlayfs
run="ctr run --rm --snapshotter $SN --runc-binary $RUNTIME"

prints "run prints" "hello" $run $I c1 echo hello
exits "run passes exit code 42" 42 $run $I c1 sh -c 'exit 42'
refuses "a missing program is named" 'executable file not found in .PATH' $run $I c1 nosuch
refuses "a missing path is named" 'no such file or directory' $run $I c1 /no/such
refuses "a file that is not executable" 'permission denied' $run $I c1 /etc/passwd
prints "--env" "v" $run --env K=v $I c1 sh -c 'echo $K'
prints "--cwd" "/tmp" $run --cwd /tmp $I c1 pwd
refuses "--read-only" "Read-only" $run --read-only $I c1 touch /x
prints "--mount" "in-dir" sh -c "mkdir -p $WORK/dir; echo in-dir >$WORK/dir/file; $run --mount type=bind,src=$WORK/dir,dst=/m,options=rbind:ro $I c1 cat /m/file"
prints "--mount in user's tmpfs" "tmpfs" $run --mount type=tmpfs,src=tmpfs,dst=/t,options=size=1m $I c1 sh -c "awk '\$2==\"/t\"{print \$3}' /proc/mounts"
# ctr mounts no cgroup file system in the container: the host's files are read.
passes "run with limits" ctr run -d --snapshotter $SN --runc-binary "$RUNTIME" --memory-limit 67108864 --cpu-quota 20000 --cpu-period 50000 $I lim sleep 1000
of_lim() { cat "/sys/fs/cgroup/$1/test/lim/$2" 2>/dev/null || cat "/sys/fs/cgroup/test/lim/$3"; }
out=$(of_lim memory memory.limit_in_bytes memory.max); [ "$out" = 67108864 ]; report $? "--memory-limit" "$out"
out=$(of_lim cpu cpu.cfs_quota_us cpu.max); [ "${out%% *}" = 20000 ]; report $? "--cpu-quota" "$out"
out=$(of_lim cpu cpu.cfs_period_us cpu.max); [ "${out##* }" = 50000 ]; report $? "--cpu-period" "$out"
ctr tasks kill -s KILL lim; eventually "... stopped" "lim .*STOPPED" ctr tasks ls
ctr tasks delete lim >/dev/null 2>&1; passes "... removed" ctr containers rm lim
[ -z "$(find /sys/fs/cgroup -maxdepth 3 -path '*/test/lim' 2>/dev/null)" ]; report $? "... with its cgroups" "$(find /sys/fs/cgroup -maxdepth 3 -path '*/test/lim')"
prints "--net-host" "$(readlink /proc/self/ns/net)" $run --net-host $I c1 readlink /proc/self/ns/net
prints "a network of its own has only lo" "1" $run $I c1 sh -c 'ls /sys/class/net | wc -l'
prints "--with-ns joins a namespace" "$(readlink /proc/self/ns/net)" $run --with-ns network:/proc/$$/ns/net $I c1 readlink /proc/self/ns/net
prints "--seccomp" "2" $run --seccomp $I c1 awk '/^Seccomp:/{print $2}' /proc/self/status
prints "without it there is none" "0" $run $I c1 awk '/^Seccomp:/{print $2}' /proc/self/status
prints "--allow-new-privs" "0" $run --allow-new-privs $I c1 awk '/NoNewPrivs/{print $2}' /proc/self/status
prints "no-new-privs is the default" "1" $run $I c1 awk '/NoNewPrivs/{print $2}' /proc/self/status
full_caps && prints "--privileged" "$(awk '/CapBnd/{print $2}' /proc/self/status)" $run --privileged $I c1 awk '/CapEff/{print $2}' /proc/self/status
prints "--rootfs-propagation and annotations" "0" sh -c "$run --annotation a.b=c $I c1 sh -c 'echo \$?'"
prints "--device" "0" sh -c "$run --device /dev/zero $I c1 sh -c 'test -c /dev/zero; echo \$?'"
exits "a program beyond its memory is killed" 137 $run --memory-limit 16777216 $I c1 awk 'BEGIN{s="x"; while (1) s = s s}'

passes "run -d" ctr run -d --snapshotter $SN --runc-binary "$RUNTIME" --log-uri "file://$WORK/life.log" $I life sh -c 'trap "exit 3" TERM; echo ready; while :; do sleep 0.1; done'
eventually "its output is logged" "ready" cat "$WORK/life.log"
matches "tasks ls" "life +[0-9]+ +RUNNING" ctr tasks ls
prints "exec" "x" ctr tasks exec --exec-id e1 life echo x
exits "exec passes the exit code" 7 ctr tasks exec --exec-id e2 life sh -c 'exit 7'
refuses "exec of a missing program" 'executable file not found in .PATH' ctr tasks exec --exec-id e3 life nosuch
prints "exec --cwd --user" "/tmp 1000" ctr tasks exec --exec-id e4 --cwd /tmp --user 1000 life sh -c 'echo $PWD $(id -u)'
prints "exec with stdin" "piped" sh -c "echo piped | ctr tasks exec --exec-id e5 life cat"
matches "ps" "[0-9]+" ctr tasks ps life
matches "metrics" "memory|pids" ctr tasks metrics life
passes "pause" ctr tasks pause life
matches "... is paused" "life +[0-9]+ +PAUSED" ctr tasks ls
passes "resume" ctr tasks resume life
matches "... runs" "life +[0-9]+ +RUNNING" ctr tasks ls
passes "kill with TERM" ctr tasks kill -s TERM life
eventually "... is stopped" "life +[0-9]+ +STOPPED" ctr tasks ls
matches "delete gives the exit code" "non-zero exit code 3" ctr tasks delete life
passes "containers rm" ctr containers rm life
passes "create and start apart" ctr containers create --snapshotter $SN $I apart sleep 1000
passes "... start" ctr tasks start -d apart
passes "... kill --all" ctr tasks kill -a -s KILL apart
eventually "... stopped" "STOPPED" ctr tasks ls
matches "... delete" "exit code 137" ctr tasks delete apart
passes "... rm" ctr containers rm apart
if command -v script >/dev/null; then
	matches "-t gives a terminal" "/dev/" script -qec "$run -t $I c2 tty" /dev/null
else
	skip "terminal" "script (package bsdutils) is not installed"
fi
passes "six at once" sh -c "for i in 1 2 3 4 5 6; do ctr run -d --snapshotter $SN --runc-binary $RUNTIME $I m\$i sleep 1000 & done; wait; test \$(ctr tasks ls | grep -c RUNNING) = 6"
for i in 1 2 3 4 5 6; do ctr tasks kill -s KILL m$i >/dev/null 2>&1; done
eventually "... all stopped" "^6$" sh -c "ctr tasks ls | grep -c STOPPED"
passes "... and deleted" sh -c "for i in 1 2 3 4 5 6; do ctr tasks delete m\$i; ctr containers rm m\$i || exit 1; done"
prints "no state of the runtime is left" "0" sh -c "ls /run/containerd/runc/test 2>/dev/null | grep -cv seccomp-cache || true"
