#!/usr/bin/env bash
# podman from Debian's packages drives the runtime: what a person and a script do with it, as root.
# shellcheck source=tests/engines/lib.sh
. "$(dirname "$0")/lib.sh"

cleanup() {
	if [ -f "$WORK/containers.conf" ]; then
		podman pod rm -af -t 0 >/dev/null 2>&1
		podman rm -af -t 0 >/dev/null 2>&1
		podman network prune -f >/dev/null 2>&1
		umount -R "$WORK/root/overlay" 2>/dev/null
		rm -f "$TOP/oom" # conmon leaves it where podman was called when a container runs out of memory
	fi
}
need podman conmon busybox jq

cat >"$WORK/containers.conf" <<C
[containers]
default_ulimits = []
cgroupns = "private"
pids_limit = 0
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "tierce"
runtime_supports_json = ["tierce"]
volume_path = "$WORK/volumes"
lock_type = "file"
[engine.runtimes]
tierce = ["$RUNTIME"]
[network]
network_config_dir = "$WORK/net"
C
cat >"$WORK/storage.conf" <<C
[storage]
driver = "overlay"
runroot = "$WORK/run"
graphroot = "$WORK/root"
C
export CONTAINERS_CONF=$WORK/containers.conf CONTAINERS_STORAGE_CONF=$WORK/storage.conf
mkdir -p "$WORK/net" "$WORK/tmp"
mkdir -p "$WORK/bin"
printf '#!/bin/sh\nexec %s --tmpdir %s "$@"\n' "$(command -v podman)" "$WORK/tmp" >"$WORK/bin/podman"
chmod +x "$WORK/bin/podman"
PATH=$WORK/bin:$PATH
I=localhost/busy:1
ids='echo $(id -u; id -g; id -G)'
make_image "$WORK/image.tar"

passes "import an image" podman import -c 'CMD ["/bin/sh"]' "$WORK/image.tar" $I
matches "info names the runtime" "tierce" podman info --format '{{.Host.OCIRuntime.Name}}'
matches "info reads the runtime's version" "[0-9]+\.[0-9]+" podman info --format '{{.Host.OCIRuntime.Version}}'

# run: what goes in, what comes out
prints "run prints" "hello" podman run --rm $I echo hello
exits "run passes exit code 0" 0 podman run --rm $I true
exits "run passes exit code 1" 1 podman run --rm $I false
exits "run passes exit code 42" 42 podman run --rm $I sh -c 'exit 42'
exits "run of a missing program is 127" 127 podman run --rm $I /no/such/program
exits "run of a program not in PATH is 127" 127 podman run --rm $I nosuchprogram
exits "run of a file that is not executable is 126" 126 podman run --rm $I /etc/passwd
refuses "the error names the program" 'nosuchprogram' podman run --rm $I nosuchprogram
prints "stdin reaches the program" "from stdin" sh -c "echo from stdin | podman run --rm -i $I cat"
prints "stderr is stderr" "" sh -c "podman run --rm $I sh -c 'echo err >&2' 2>/dev/null"
prints "a large output arrives whole" "3000000" sh -c "podman run --rm $I sh -c 'head -c 3000000 /dev/zero' | wc -c"
prints "-e sets the environment" "b c" podman run --rm -e A='b c' $I sh -c 'echo "$A"' 
prints "--env-host is off" "" sh -c "SECRET=1 podman run --rm $I sh -c 'echo \$SECRET'"
prints "-w sets the directory" "/tmp" podman run --rm -w /tmp $I pwd
prints "--hostname" "box" podman run --rm --hostname box $I hostname
prints "-u by number" "1234 0 0" podman run --rm -u 1234 $I sh -c "$ids"
prints "-u by name" "1000 1000 1000 2000" podman run --rm -u user $I sh -c "$ids"
prints "-u uid:gid" "5 6 6" podman run --rm -u 5:6 $I sh -c "$ids"
matches "--group-add" "3000" podman run --rm --group-add 3000 $I id
prints "--entrypoint" "x y" podman run --rm --entrypoint /bin/echo $I x y
prints "--umask" "0077" podman run --rm --umask 0077 $I sh -c umask
prints "pid 1 is the program" "1" podman run --rm $I sh -c 'echo $$'
prints "no extra file descriptors" "0 1 2 3" podman run --rm $I sh -c 'echo $(ls /proc/self/fd)'
prints "--preserve-fds passes a file descriptor" "through" bash -c "podman run --rm --preserve-fds 1 $I cat /proc/self/fd/3 3< <(echo through)"
matches "--tz" "\+0900|JST" podman run --rm -e TZ=JST-9 $I date +%Z%z
hard="--ulimit nproc=100:100" # podman raises what is not given, which takes CAP_SYS_RESOURCE
prints "--ulimit nofile" "512" podman run --rm $hard --ulimit nofile=512:512 $I sh -c 'ulimit -n'
prints "--ulimit core" "0" podman run --rm $hard --ulimit nofile=512:512 --ulimit core=0:0 $I sh -c 'ulimit -c'
prints "--oom-score-adj" "500" podman run --rm --oom-score-adj 500 $I cat /proc/self/oom_score_adj
prints "--shm-size" "8192" podman run --rm --shm-size 8m $I sh -c "df -k /dev/shm | tail -1 | awk '{print \$2}'"
prints "--sysctl" "8" podman run --rm --sysctl net.ipv4.ip_default_ttl=8 $I cat /proc/sys/net/ipv4/ip_default_ttl
prints "--sysctl kernel.msgmax" "4096" podman run --rm --sysctl kernel.msgmax=4096 $I cat /proc/sys/kernel/msgmax
prints "--annotation reaches the spec" "yes" sh -c "podman create --annotation my.note=yes --name note $I true >/dev/null; podman inspect note --format '{{index .Config.Annotations \"my.note\"}}'; podman rm note >/dev/null"

# namespaces
own() { podman run --rm "${@:2}" $I readlink "/proc/self/ns/$1"; }
for ns in pid ipc uts mnt net; do
	out=$(own $ns 2>&1); [ -n "$out" ] && [ "$out" != "$(readlink /proc/self/ns/$ns)" ]
	report $? "a $ns namespace of its own" "$out"
done
for ns in pid ipc uts; do prints "--$ns host joins the host's" "$(readlink /proc/self/ns/$ns)" podman run --rm --$ns host $I readlink /proc/self/ns/$ns; done
prints "--net host joins the host's" "$(readlink /proc/self/ns/net)" podman run --rm --net host $I readlink /proc/self/ns/net
prints "--net none has only lo" "1" podman run --rm --net none $I sh -c 'ls /sys/class/net | wc -l'
prints "--cgroupns private shows a root" "0::/" podman run --rm --cgroupns private $I sh -c "grep '^0:' /proc/self/cgroup"
prints "--uidmap" "0 100000 5000" podman run --rm --uidmap 0:100000:5000 --gidmap 0:100000:5000 $I sh -c 'echo $(cat /proc/self/uid_map)'
prints "--uidmap: files belong to the container's root" "0 0" podman run --rm --uidmap 0:100000:5000 --gidmap 0:100000:5000 $I stat -c '%u %g' /etc/passwd
exits "--uidmap: root cannot reach the host's" 1 podman run --rm --uidmap 0:100000:5000 --gidmap 0:100000:5000 -v /root:/h $I sh -c 'ls /h >/dev/null 2>&1'

# capabilities and security
prints "default capabilities" "00000000a80425fb" podman run --rm $I awk '/CapEff/{print $2}' /proc/self/status
prints "--cap-drop all" "0000000000000000" podman run --rm --cap-drop all $I awk '/CapEff/{print $2}' /proc/self/status
prints "--cap-drop all --cap-add net_admin" "0000000000001000" podman run --rm --cap-drop all --cap-add net_admin $I awk '/CapEff/{print $2}' /proc/self/status
prints "a user has no effective capabilities" "0000000000000000" podman run --rm -u 1000 $I awk '/CapEff/{print $2}' /proc/self/status
prints "a user with --cap-add keeps it (ambient)" "0000000000000400" podman run --rm -u 1000 --cap-drop all --cap-add net_bind_service $I awk '/CapEff/{print $2}' /proc/self/status
prints "no-new-privileges" "1" podman run --rm --security-opt no-new-privileges $I awk '/NoNewPrivs/{print $2}' /proc/self/status
prints "seccomp is on" "2" podman run --rm $I awk '/^Seccomp:/{print $2}' /proc/self/status
prints "seccomp=unconfined" "0" podman run --rm --security-opt seccomp=unconfined $I awk '/^Seccomp:/{print $2}' /proc/self/status
cat >"$WORK/no-mkdir.json" <<'C'
{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":95}]}
C
matches "a profile of one's own refuses with its errno" "not supported" sh -c "podman run --rm --security-opt seccomp=$WORK/no-mkdir.json $I mkdir /tmp/x 2>&1; true"
exits "mount is refused without CAP_SYS_ADMIN" 1 podman run --rm $I mount -t tmpfs x /tmp
exits "masked /proc/kcore is empty" 0 podman run --rm $I sh -c 'test "$(head -c 10 /proc/kcore | wc -c)" = 0'
exits "/proc/sys is read-only" 1 podman run --rm $I sh -c 'echo 1 >/proc/sys/kernel/panic'
exits "/proc/sysrq-trigger is read-only" 1 podman run --rm $I sh -c 'echo h >/proc/sysrq-trigger'
prints "/sys/firmware is empty" "0" podman run --rm $I sh -c 'ls /sys/firmware | wc -l'
prints "--security-opt unmask=/proc/sys" "0" podman run --rm --security-opt unmask=ALL $I sh -c 'test -w /proc/sys/kernel/panic; echo $?'
prints "--security-opt mask" "0" podman run --rm --security-opt mask=/data $I sh -c 'ls /data | wc -l'
prints "--privileged has every capability" "$(awk '/CapBnd/{print $2}' /proc/self/status)" podman run --rm --privileged $I awk '/CapEff/{print $2}' /proc/self/status
passes "--privileged sees devices" podman run --rm --privileged $I test -c /dev/kmsg

# file systems
refuses "--read-only" "Read-only" podman run --rm --read-only $I touch /x
passes "--read-only has a writable /tmp" podman run --rm --read-only $I touch /tmp/x
passes "the root is writable otherwise" podman run --rm $I touch /x
echo host >"$WORK/hostfile"; mkdir -p "$WORK/dir"; echo in-dir >"$WORK/dir/file"
prints "-v of a directory" "in-dir" podman run --rm -v "$WORK/dir:/m" $I cat /m/file
prints "-v of a file" "host" podman run --rm -v "$WORK/hostfile:/f" $I cat /f
refuses "-v ro" "Read-only" podman run --rm -v "$WORK/dir:/m:ro" $I touch /m/x
passes "-v rw writes" podman run --rm -v "$WORK/dir:/m" $I touch /m/new
passes "... and the host sees it" test -f "$WORK/dir/new"
exits "-v noexec" 126 podman run --rm -v "$WORK/dir:/m:noexec" $I sh -c 'cp /bin/busybox /m/echo; /m/echo 2>/dev/null'
passes "a named volume" podman volume create vol
passes "... keeps data" podman run --rm -v vol:/data $I sh -c 'echo kept >/data/k'
prints "... and gives it back" "kept" podman run --rm -v vol:/data $I cat /data/k
prints "... with what the image had there" "from-image" podman run --rm -v vol:/data $I cat /data/file
prints "--tmpfs" "tmpfs" podman run --rm --tmpfs /t:size=1m $I sh -c "awk '\$2==\"/t\"{print \$3}' /proc/mounts"
matches "--tmpfs size" "size=1024k" podman run --rm --tmpfs /t:size=1m $I grep ' /t ' /proc/mounts
prints "--tmpfs notmpcopyup off: the image's files are copied up" "from-image" podman run --rm --mount type=tmpfs,destination=/data $I cat /data/file
prints "--mount type=bind" "in-dir" podman run --rm --mount type=bind,src="$WORK/dir",dst=/m $I cat /m/file
prints "--mount bind-propagation" "1" podman run --rm --mount type=bind,src="$WORK/dir",dst=/m,bind-propagation=shared $I sh -c "grep -c ' /m .*shared:' /proc/self/mountinfo"
prints "-v destination is made" "in-dir" podman run --rm -v "$WORK/dir:/a/b/c" $I cat /a/b/c/file
passes "--device" podman run --rm --device /dev/null:/dev/mynull $I test -c /dev/mynull
matches "--device with read only" "Operation not permitted|EPERM" sh -c "podman run --rm --device /dev/kmsg:/dev/z:r $I sh -c 'echo x >/dev/z' 2>&1; true"
exits "mknod of a device that is not allowed cannot be opened" 1 podman run --rm --cap-add mknod $I sh -c 'mknod /tmp/d b 254 0 && head -c1 /tmp/d'
prints "/dev/pts, /dev/shm, /dev/mqueue are there" "3" podman run --rm $I sh -c "grep -cE ' /dev/(pts|shm|mqueue) ' /proc/mounts"
prints "/dev/fd and the rest are links" "/proc/self/fd" podman run --rm $I readlink /dev/fd
prints "/dev/ptmx" "pts/ptmx" podman run --rm $I readlink /dev/ptmx
matches "/etc/hosts has the container" "box" podman run --rm --hostname box $I cat /etc/hosts
passes "secrets" sh -c "echo s3cret | podman secret create sec -"
prints "... are mounted" "s3cret" podman run --rm --secret sec $I cat /run/secrets/sec

# limits
prints "--memory" "67108864" podman run --rm --memory 64m $I sh -c "$cg_memory"
prints "--pids-limit" "50" podman run --rm --pids-limit 50 $I sh -c "$cg_pids"
prints "--cpus" "50000 100000" podman run --rm --cpus 0.5 $I sh -c "$cg_quota"
prints "--cpuset-cpus" "0" podman run --rm --cpuset-cpus 0 $I sh -c "$cg_cpus"
passes "--cpu-shares" podman run --rm --cpu-shares 512 $I true
passes "--memory-reservation" podman run --rm --memory-reservation 32m $I true
exits "a program beyond --memory is killed" 137 podman run --rm --memory 16m --memory-swap 16m $I sh -c 'exec head -c 200m /dev/zero | tail -c 150000000 >/dev/null; exec sh -c "a=x; while :; do a=\$a\$a; done"'
matches "the pids limit holds" "can't fork" sh -c "podman run --rm --pids-limit 5 $I sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 1 & done' 2>&1; true"

# life
passes "run -d" podman run -d --name life $I sh -c 'trap "echo got term; exit 3" TERM; echo ready; while :; do sleep 0.1; done'
eventually "logs" "ready" podman logs life
prints "inspect: running" "running" podman inspect life --format '{{.State.Status}}'
pid=$(podman inspect life --format '{{.State.Pid}}')
passes "inspect: the pid lives" test -d "/proc/$pid"
prints "exec" "x" podman exec life echo x
exits "exec passes the exit code" 7 podman exec life sh -c 'exit 7'
exits "exec of a missing program is 127" 127 podman exec life nosuch
exits "exec of a file that is not executable is 126" 126 podman exec life /etc/passwd
prints "exec -e" "v" podman exec -e K=v life sh -c 'echo $K' 
prints "exec -w" "/tmp" podman exec -w /tmp life pwd
prints "exec -u" "1000 1000 1000 2000" podman exec -u user life sh -c "$ids"
prints "exec -i" "piped" sh -c "echo piped | podman exec -i life cat"
passes "exec -d" podman exec -d life sh -c 'echo detached >/tmp/d'
eventually "... ran" "detached" podman exec life cat /tmp/d
prints "exec sees the same processes" "sh" podman exec life cat /proc/1/comm
prints "exec --privileged has every capability" "$(awk '/CapBnd/{print $2}' /proc/self/status)" podman exec --privileged life awk '/CapEff/{print $2}' /proc/self/status
prints "exec without it keeps the container's" "00000000a80425fb" podman exec life awk '/CapEff/{print $2}' /proc/self/status
for ns in pid ipc uts mnt net cgroup; do prints "exec is in the $ns namespace" "$(readlink "/proc/$pid/ns/$ns")" podman exec life readlink /proc/self/ns/$ns; done
prints "exec is in the container's memory cgroup" "same" podman exec life sh -c 'cmp -s /proc/1/cgroup /proc/self/cgroup && echo same'
matches "top" "sh" podman top life comm
matches "stats" "life" podman stats --no-stream --format '{{.Name}} {{.PIDs}}' life
passes "pause" podman pause life
prints "... is paused" "paused" podman inspect life --format '{{.State.Status}}'
refuses "exec in a paused container is refused" "paus|improper" podman exec life true
passes "unpause" podman unpause life
prints "... runs" "running" podman inspect life --format '{{.State.Status}}'
passes "update --cpus" podman update --cpus 0.25 life
prints "... holds" "25000 100000" podman exec life sh -c "$cg_quota"
passes "update --memory" podman update --memory 128m life
prints "... holds" "134217728" podman exec life sh -c "$cg_memory"
passes "cp into" podman cp "$WORK/hostfile" life:/tmp/copied
prints "... is there" "host" podman exec life cat /tmp/copied
passes "cp out of" podman cp life:/etc/group "$WORK/copied"
matches "diff" "/tmp/d" podman diff life
passes "stop" podman stop -t 10 life
prints "... with TERM and the exit code" "3" podman inspect life --format '{{.State.ExitCode}}'
matches "... and its last words in the log" "got term" podman logs life
prints "inspect: exited" "exited" podman inspect life --format '{{.State.Status}}'
refuses "exec in a stopped container is refused" "(can only create exec sessions on running|not running|state improper)" podman exec life true
passes "start again" podman start life
prints "... runs" "running" podman inspect life --format '{{.State.Status}}'
passes "restart" podman restart -t 1 life
prints "... runs again" "running" podman inspect life --format '{{.State.Status}}'
passes "kill -s USR1 does not end what ignores it" podman exec life true
passes "kill" podman kill life
prints "wait" "137" podman wait life
passes "rm" podman rm life
refuses "... and it is gone" "no such container" podman container inspect life
passes "commit" sh -c "podman run --name c $I touch /made && podman commit -q c localhost/made:1 && podman rm c"
passes "... has the change" podman run --rm localhost/made:1 test -f /made
passes "create, init, start" sh -c "podman create --name ci $I sh -c 'sleep 1000' && podman init ci"
prints "... is initialized" "initialized" podman inspect ci --format '{{.State.Status}}'
passes "... starts" podman start ci
passes "rm -f of a running one" podman rm -f -t 0 ci
refuses "--timeout ends a container" "" podman run --rm --timeout 1 $I sleep 1000
passes "--restart on-failure" podman run -d --name again --restart on-failure:3 $I sh -c 'exit 1'
eventually "... was tried three times" "^3 exited" podman inspect again --format '{{.RestartCount}} {{.State.Status}}'
passes "rm" podman rm -f again
passes "a container of 200 processes" podman run --rm $I sh -c 'for i in $(seq 200); do sleep 0.3 & done; wait'
passes "kill --all-like removal leaves nothing" sh -c "podman run -d --name many $I sh -c 'for i in \$(seq 30); do setsid sleep 1000 & done; wait' && podman rm -f -t 0 many"

# terminal
if command -v script >/dev/null; then
	matches "-t gives a terminal" "/dev/(pts/0|console)|pts" script -qec "podman run --rm -t $I tty" /dev/null
	matches "-t has the size of the terminal" "33 77" script -qec "stty rows 33 cols 77; podman run --rm -t $I sh -c 'sleep 0.5; stty size </dev/tty'" /dev/null
	matches "-t turns newlines" $'line\r' script -qec "podman run --rm -t $I echo line" /dev/null
	passes "a container for exec -t" podman run -d --name term $I sleep 1000
	matches "exec -t gives a terminal" "/dev/" script -qec "podman exec -t term tty" /dev/null
	exits "exec -t passes the exit code" 9 script -qec "podman exec -t term sh -c 'exit 9'" /dev/null
	passes "rm" podman rm -f -t 0 term
else
	skip "terminals" "script (package bsdutils) is not installed"
fi

# init, health, network, pods
if [ -x /usr/libexec/podman/catatonit ] || command -v catatonit >/dev/null; then
	matches "--init" "catatonit|init" podman run --rm --init --init-path "$(command -v catatonit)" $I ps
else
	skip "--init" "catatonit is not installed"
fi
passes "a container with a health check" podman run -d --name health --health-cmd 'test -f /tmp/well' --health-interval disable --health-retries 1 $I sleep 1000
exits "healthcheck run: unhealthy" 1 podman healthcheck run health
passes "... mended" podman exec health touch /tmp/well
passes "healthcheck run: healthy" podman healthcheck run health
matches "... is in inspect" "^healthy" podman inspect health --format '{{.State.Health.Status}}'
passes "rm" podman rm -f -t 0 health
passes "a server with a published port" podman run -d --name web -p 127.0.0.1:18931:80 $I httpd -f -p 80 -h /var/www
eventually "... answers on the host" "served" busybox wget -qO- http://127.0.0.1:18931/
passes "a network" podman network create --disable-dns tnet
passes "... with a server" podman run -d --name peer --network tnet $I httpd -f -p 80 -h /var/www
ip=$(podman inspect peer --format '{{.NetworkSettings.Networks.tnet.IPAddress}}')
eventually "... that a neighbour reaches" "served" podman run --rm --network tnet $I wget -qO- "http://$ip/"
prints "--network container:" "$(podman exec peer readlink /proc/self/ns/net)" podman run --rm --network container:peer $I readlink /proc/self/ns/net
prints "--ipc container:" "$(podman exec web readlink /proc/self/ns/ipc)" sh -c "podman rm -f -t 0 web >/dev/null; podman run -d --name web --ipc shareable $I sleep 1000 >/dev/null; podman exec web readlink /proc/self/ns/ipc >$WORK/ipc; podman run --rm --ipc container:web $I readlink /proc/self/ns/ipc >$WORK/ipc2; cmp -s $WORK/ipc $WORK/ipc2 && echo '$(podman exec web readlink /proc/self/ns/ipc 2>/dev/null)' || echo differ"
passes "rm" podman rm -f -t 0 web peer
if command -v catatonit >/dev/null; then
	passes "pod create" podman pod create --name pod1 --hostname podhost
	prints "a container in the pod has its hostname" "podhost" podman run --rm --pod pod1 $I hostname
	passes "a server in the pod" podman run -d --pod pod1 --name pweb $I httpd -f -p 8080 -h /var/www
	eventually "... is on the pod's loopback" "served" podman run --rm --pod pod1 $I wget -qO- http://127.0.0.1:8080/
	prints "containers of a pod share the network" "$(podman exec pweb readlink /proc/self/ns/net)" podman run --rm --pod pod1 $I readlink /proc/self/ns/net
	matches "pod ps" "pod1" podman pod ps
	matches "pod inspect" "Running" podman pod inspect pod1 --format '{{.State}}'
	passes "pod pause" podman pod pause pod1
	prints "... pauses its containers" "paused" podman inspect pweb --format '{{.State.Status}}'
	passes "pod unpause" podman pod unpause pod1
	passes "pod stop" podman pod stop -t 1 pod1
	passes "pod start" podman pod start pod1
	prints "... starts its containers" "running" podman inspect pweb --format '{{.State.Status}}'
	passes "pod rm -f" podman pod rm -f -t 0 pod1
	cat >"$WORK/pod.yaml" <<C
apiVersion: v1
kind: Pod
metadata: {name: kube}
spec:
  containers:
  - name: one
    image: $I
    command: [/bin/sh, -c, "echo kube-ran; sleep 1000"]
    resources: {limits: {memory: 64Mi}}
C
	passes "play kube" podman play kube "$WORK/pod.yaml"
	eventually "... runs it" "kube-ran" podman logs kube-one
	prints "... with its limit" "67108864" podman exec kube-one /bin/sh -c "$cg_memory"
	passes "play kube --down" podman play kube --down "$WORK/pod.yaml"
else
	skip "pods" "catatonit is not installed"
fi
if criu check >/dev/null 2>&1; then
	passes "a container to checkpoint" podman run -d --name cr $I sh -c 'i=0; while :; do echo $i; i=$((i+1)); sleep 0.1; done'
	passes "checkpoint" podman container checkpoint cr
	prints "... is stopped" "exited" podman inspect cr --format '{{.State.Status}}'
	passes "restore" podman container restore cr
	prints "... runs" "running" podman inspect cr --format '{{.State.Status}}'
	passes "checkpoint to a file" podman container checkpoint -e "$WORK/cr.tar" cr
	passes "rm" podman rm -f cr
	passes "restore from the file" podman container restore -i "$WORK/cr.tar"
	passes "rm" podman rm -f -t 0 cr
else
	skip "checkpoint and restore" "criu check fails on this kernel"
fi
passes "build with RUN" sh -c "printf 'FROM $I\nRUN echo built >/built && id -u >/uid\nUSER user\nRUN id -un >/tmp/who\nWORKDIR /w\nENV A=b\nCMD cat /built\n' >$WORK/Containerfile && podman build -q --runtime $RUNTIME -t localhost/built:1 -f $WORK/Containerfile $WORK/dir"
prints "... ran it" "built" podman run --rm localhost/built:1
prints "... as its user" "user" podman run --rm localhost/built:1 cat /tmp/who
prints "no container is left in the runtime" "" sh -c "podman ps -aq"

# many at once
passes "ten containers at once" sh -c "for i in 0 1 2 3 4 5 6 7 8 9; do podman run -d --name m\$i --net none $I sleep 1000 & done; wait; test \$(podman ps -q | wc -l) = 10"
passes "... and their removal" podman rm -f -t 0 m0 m1 m2 m3 m4 m5 m6 m7 m8 m9
