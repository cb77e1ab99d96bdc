#!/usr/bin/env bash
# dockerd and the docker command from Debian's packages drive the runtime: run, exec, build, networks, limits, restart policies.
# shellcheck source=tests/engines/lib.sh
. "$(dirname "$0")/lib.sh"

daemon=
cleanup() {
	if [ -n "$daemon" ]; then
		docker ps -aq | xargs -r docker rm -f >/dev/null 2>&1
		kill "$daemon" && wait "$daemon" 2>/dev/null
	fi
}
need dockerd docker containerd busybox iptables

cat >"$WORK/daemon.json" <<C
{"runtimes": {"tierce": {"path": "$RUNTIME"}}, "default-runtime": "tierce", "data-root": "$WORK/root", "exec-root": "$WORK/run",
 "pidfile": "$WORK/pid", "hosts": ["unix://$WORK/docker.sock"], "bip": "172.31.250.1/24", "storage-driver": "overlay2",
 "default-address-pools": [{"base": "172.31.0.0/17", "size": 24}]}
C
export DOCKER_HOST=unix://$WORK/docker.sock DOCKER_CONFIG=$WORK/config
mkdir -p "$WORK/config"
dockerd --config-file "$WORK/daemon.json" >"$WORK/dockerd.log" 2>&1 &
daemon=$!
eventually "dockerd starts" "Server Version" docker info
[ $bad = 0 ] || { tail -20 "$WORK/dockerd.log" | sed 's/^/# /'; exit 1; }
I=busy:1
ids='echo $(id -u; id -g; id -G)'
make_image "$WORK/image.tar"
passes "import an image" docker import -c 'CMD ["/bin/sh"]' -c 'ENV PATH=/bin' "$WORK/image.tar" $I
prints "info: the default runtime" "tierce" docker info --format '{{.DefaultRuntime}}'

# run
prints "run prints" "hello" docker run --rm $I echo hello
exits "run passes exit code 0" 0 docker run --rm $I true
exits "run passes exit code 42" 42 docker run --rm $I sh -c 'exit 42'
exits "run of a missing program is 127" 127 docker run --rm $I nosuch
matches "... and says so" "executable file not found in .PATH" sh -c "docker run --rm $I nosuch 2>&1; true"
exits "run of a missing path is 127" 127 docker run --rm $I /no/such
matches "... and says so" "no such file or directory" sh -c "docker run --rm $I /no/such 2>&1; true"
exits "run of a file that is not executable is 126" 126 docker run --rm $I /etc/passwd
matches "... and says so" "permission denied" sh -c "docker run --rm $I /etc/passwd 2>&1; true"
prints "stdin" "piped" sh -c "echo piped | docker run --rm -i $I cat"
prints "stderr is stderr" "" sh -c "docker run --rm $I sh -c 'echo x >&2' 2>/dev/null"
prints "a large output arrives whole" "2000000" sh -c "docker run --rm $I sh -c 'head -c 2000000 /dev/zero' | wc -c"
prints "-e" "b c" docker run --rm -e A='b c' $I sh -c 'echo "$A"'
prints "-w" "/tmp" docker run --rm -w /tmp $I pwd
prints "--hostname and --domainname" "box" docker run --rm --hostname box --domainname dom $I hostname
prints "-u by number" "1234 0 0" docker run --rm -u 1234 $I sh -c "$ids"
prints "-u by name" "1000 1000 1000 2000" docker run --rm -u user $I sh -c "$ids"
prints "-u uid:gid with --group-add" "5 6 6 77" docker run --rm -u 5:6 --group-add 77 $I sh -c "$ids"
prints "--entrypoint" "x" docker run --rm --entrypoint /bin/echo $I x
prints "--init" "docker-init" docker run --rm --init $I sh -c "sed -n 's/^Name:.\(docker-init\)/\1/p' /proc/1/status"
exits "--init passes the exit code" 5 docker run --rm --init $I sh -c 'exit 5'
prints "--oom-score-adj" "321" docker run --rm --oom-score-adj 321 $I cat /proc/self/oom_score_adj
prints "--ulimit" "512" docker run --rm --ulimit nofile=512:512 $I sh -c 'ulimit -n'
prints "--shm-size" "8192" docker run --rm --shm-size 8m $I sh -c "df -k /dev/shm | tail -1 | awk '{print \$2}'"
prints "--sysctl" "9" docker run --rm --sysctl net.ipv4.ip_default_ttl=9 $I cat /proc/sys/net/ipv4/ip_default_ttl
prints "--tmpfs" "tmpfs" docker run --rm --tmpfs /t $I sh -c "awk '\$2==\"/t\"{print \$3}' /proc/mounts"
for ns in pid ipc uts; do
	prints "--$ns host" "$(readlink /proc/self/ns/$ns)" docker run --rm --$ns host $I readlink /proc/self/ns/$ns
	out=$(docker run --rm $I readlink /proc/self/ns/$ns 2>&1); [[ $out == "$ns:"* && $out != "$(readlink /proc/self/ns/$ns)" ]]
	report $? "a $ns namespace of its own" "$out"
done
prints "--net host" "$(readlink /proc/self/ns/net)" docker run --rm --net host $I readlink /proc/self/ns/net
prints "--net none has only lo" "1" docker run --rm --net none $I sh -c 'ls /sys/class/net | wc -l'
prints "--cgroupns private" "0::/" docker run --rm --cgroupns private $I sh -c "grep '^0:' /proc/self/cgroup"

# security
prints "default capabilities" "00000000a80425fb" docker run --rm $I awk '/CapEff/{print $2}' /proc/self/status
prints "--cap-drop ALL" "0000000000000000" docker run --rm --cap-drop ALL $I awk '/CapEff/{print $2}' /proc/self/status
prints "--cap-add" "0000000000001000" docker run --rm --cap-drop ALL --cap-add NET_ADMIN $I awk '/CapEff/{print $2}' /proc/self/status
prints "a user has no effective capabilities" "0000000000000000" docker run --rm -u 1000 $I awk '/CapEff/{print $2}' /proc/self/status
if full_caps; then prints "--privileged" "$(awk '/CapBnd/{print $2}' /proc/self/status)" docker run --rm --privileged $I awk '/CapEff/{print $2}' /proc/self/status
else skip "--privileged" "this machine withholds a capability that docker asks for"; fi
prints "no-new-privileges" "1" docker run --rm --security-opt no-new-privileges $I awk '/NoNewPrivs/{print $2}' /proc/self/status
prints "seccomp is on" "2" docker run --rm $I awk '/^Seccomp:/{print $2}' /proc/self/status
prints "seccomp=unconfined" "0" docker run --rm --security-opt seccomp=unconfined $I awk '/^Seccomp:/{print $2}' /proc/self/status
printf '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}' >"$WORK/no-mkdir.json"
exits "a profile of one's own" 1 docker run --rm --security-opt seccomp="$WORK/no-mkdir.json" $I mkdir /tmp/x
exits "unshare is refused" 1 docker run --rm $I unshare -n true
exits "/proc/sys is read-only" 1 docker run --rm $I sh -c 'echo 1 >/proc/sys/kernel/panic'
prints "/proc/kcore is masked" "0" docker run --rm $I sh -c 'head -c 5 /proc/kcore | wc -c'
prints "/proc/acpi, /sys/firmware are masked" "0" docker run --rm $I sh -c 'ls /sys/firmware | wc -l'
refuses "--read-only" "Read-only" docker run --rm --read-only $I touch /x

# mounts
mkdir -p "$WORK/dir"; echo in-dir >"$WORK/dir/file"
prints "-v" "in-dir" docker run --rm -v "$WORK/dir:/m" $I cat /m/file
refuses "-v :ro" "Read-only" docker run --rm -v "$WORK/dir:/m:ro" $I touch /m/x
passes "a named volume takes data" docker run --rm -v vol:/data $I sh -c 'echo kept >/data/k'
prints "... keeps it" "kept" docker run --rm -v vol:/data $I cat /data/k
prints "... with what the image had" "from-image" docker run --rm -v vol:/data $I cat /data/file
prints "--mount bind readonly" "1" docker run --rm --mount type=bind,src="$WORK/dir",dst=/m,readonly $I sh -c "grep -c ' /m ext4 ro\| /m .* ro[, ]' /proc/mounts"
prints "--mount tmpfs" "tmpfs" docker run --rm --mount type=tmpfs,dst=/t,tmpfs-size=1m $I sh -c "awk '\$2==\"/t\"{print \$3}' /proc/mounts"
mount --bind "$WORK/dir" "$WORK/dir" && mount --make-shared "$WORK/dir"
prints "propagation" "1" docker run --rm --mount type=bind,src="$WORK/dir",dst=/m,bind-propagation=rslave $I sh -c "grep ' /m .*master:' /proc/self/mountinfo | wc -l"
passes "--device" docker run --rm --device /dev/null:/dev/mine $I test -c /dev/mine
prints "/etc/resolv.conf is there" "0" docker run --rm $I sh -c 'test -e /etc/resolv.conf; echo $?'
matches "--add-host" "10.1.2.3.*there" docker run --rm --add-host there:10.1.2.3 $I cat /etc/hosts

# limits
prints "--memory" "67108864" docker run --rm --memory 64m $I sh -c "$cg_memory"
prints "--cpus" "50000 100000" docker run --rm --cpus 0.5 $I sh -c "$cg_quota"
prints "--pids-limit" "44" docker run --rm --pids-limit 44 $I sh -c "$cg_pids"
prints "--cpuset-cpus" "0" docker run --rm --cpuset-cpus 0 $I sh -c "$cg_cpus"
passes "--cpu-shares, --blkio-weight" docker run --rm --cpu-shares 200 $I true
matches "the pids limit holds" "can't fork" sh -c "docker run --rm --pids-limit 5 $I sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 1 & done' 2>&1; true"
exits "a program beyond --memory is killed" 137 docker run --name oom --memory 16m --memory-swap 16m $I sh -c 'exec awk "BEGIN{s=\"x\"; while (1) s = s s}"'
prints "... and reported as OOM" "true" docker inspect oom --format '{{.State.OOMKilled}}'

# life
passes "run -d" docker run -d --name life $I sh -c 'trap "echo got term; exit 3" TERM; echo ready; while :; do sleep 0.1; done'
eventually "logs" "ready" docker logs life
prints "inspect: running" "running" docker inspect life --format '{{.State.Status}}'
prints "exec" "x" docker exec life echo x
exits "exec passes the exit code" 7 docker exec life sh -c 'exit 7'
refuses "exec of a missing program" "executable file not found in .PATH" docker exec life nosuch
exits "exec of a file that is not executable is 126" 126 docker exec life /etc/passwd
prints "exec -e -w -u" "v /tmp 1000" docker exec -e K=v -w /tmp -u user life sh -c 'echo $K $PWD $(id -u)'
prints "exec -i" "piped" sh -c "echo piped | docker exec -i life cat"
passes "exec -d" docker exec -d life sh -c 'echo detached >/tmp/d'
eventually "... ran" "detached" docker exec life cat /tmp/d
full_caps && prints "exec --privileged" "$(awk '/CapBnd/{print $2}' /proc/self/status)" docker exec --privileged life awk '/CapEff/{print $2}' /proc/self/status
matches "top" "sh" docker top life
matches "stats" "life" docker stats --no-stream --format '{{.Name}} {{.MemUsage}} {{.PIDs}}' life
lacks "... with figures" "0B / 0B|--" docker stats --no-stream --format '{{.MemUsage}}' life
passes "pause" docker pause life
prints "... is paused" "paused" docker inspect life --format '{{.State.Status}}'
refuses "exec in a paused container is refused" "paused" docker exec life true
passes "unpause" docker unpause life
passes "update" docker update --memory 128m --memory-swap 256m --cpus 0.25 --pids-limit 77 life
prints "... memory holds" "134217728" docker exec life sh -c "$cg_memory"
prints "... cpus hold" "25000 100000" docker exec life sh -c "$cg_quota"
prints "... pids hold" "77" docker exec life sh -c "$cg_pids"
passes "cp into" docker cp "$WORK/dir/file" life:/tmp/copied
prints "... is there" "in-dir" docker exec life cat /tmp/copied
passes "cp out of" docker cp life:/etc/group "$WORK/copied"
passes "stop" docker stop -t 10 life
prints "... by TERM, with the exit code" "exited 3" docker inspect life --format '{{.State.Status}} {{.State.ExitCode}}'
matches "... and its last words" "got term" docker logs life
passes "start again" docker start life
passes "restart" docker restart -t 1 life
prints "... runs" "running" docker inspect life --format '{{.State.Status}}'
passes "kill" docker kill life
prints "wait" "137" docker wait life
passes "rm" docker rm life
passes "kill -s to a handler" docker run -d --name usr $I sh -c 'trap "echo usr1" USR1; echo up; while :; do sleep 0.1; done'
eventually "... is up" "up" docker logs usr
passes "... USR1" docker kill -s USR1 usr
eventually "... arrived" "usr1" docker logs usr
passes "rm -f" docker rm -f usr
passes "restart policy on-failure:2" docker run -d --name again --restart on-failure:2 $I sh -c 'exit 1'
eventually "... tries twice and stops" "^2 exited" docker inspect again --format '{{.RestartCount}} {{.State.Status}}'
passes "restart policy always" docker run -d --name always --restart always $I sh -c 'sleep 0.2'
eventually "... tries for ever" "^[2-9]" docker inspect always --format '{{.RestartCount}}'
passes "rm -f" docker rm -f always again
passes "--health-cmd" docker run -d --name health --health-cmd 'test -f /tmp/well' --health-interval 1s --health-retries 1 $I sleep 1000
eventually "... unhealthy" "unhealthy" docker inspect health --format '{{.State.Health.Status}}'
passes "... mended" docker exec health touch /tmp/well
eventually "... healthy" "^healthy" docker inspect health --format '{{.State.Health.Status}}'
passes "rm -f" docker rm -f health
matches "events saw the life of a container" "start" docker events --since 10m --until 0s --filter event=start --format '{{.Status}}'
passes "a container with 100 processes ends whole" sh -c "docker run -d --name many $I sh -c 'for i in \$(seq 100); do setsid sleep 1000 & done; wait' && docker rm -f many"

# terminal
if command -v script >/dev/null; then
	matches "-t gives a terminal" "/dev/pts|/dev/console" script -qec "docker run --rm -t $I tty" /dev/null
	matches "-t has the size of the terminal" "33 77" script -qec "stty rows 33 cols 77; docker run --rm -t $I sh -c 'sleep 0.5; stty size </dev/tty'" /dev/null
	passes "a container for exec -t" docker run -d --name term $I sleep 1000
	matches "exec -t gives a terminal" "/dev/" script -qec "docker exec -t term tty" /dev/null
	exits "exec -t passes the exit code" 9 script -qec "docker exec -t term sh -c 'exit 9'" /dev/null
	passes "rm -f" docker rm -f term
else
	skip "terminals" "script (package bsdutils) is not installed"
fi

# networks, as compose uses them
passes "a server with a published port" docker run -d --name web -p 127.0.0.1:18932:80 $I httpd -f -p 80 -h /var/www
eventually "... answers on the host" "served" busybox wget -qO- http://127.0.0.1:18932/
passes "network create" docker network create front
passes "... a server with an alias" docker run -d --name db --network front --network-alias database $I httpd -f -p 80 -h /var/www
eventually "... that a neighbour finds by name" "served" docker run --rm --network front $I wget -qO- http://database/
passes "a second network" docker network create back
passes "network connect" docker network connect back db
prints "... adds an interface to the running container" "2" docker exec db sh -c 'ls /sys/class/net | grep -c eth'
passes "network disconnect" docker network disconnect back db
prints "... and takes it away" "1" docker exec db sh -c 'ls /sys/class/net | grep -c eth'
prints "--network container:" "$(docker exec db readlink /proc/self/ns/net)" docker run --rm --network container:db $I readlink /proc/self/ns/net
prints "--pid container:" "$(docker exec db readlink /proc/self/ns/pid)" docker run --rm --pid container:db $I readlink /proc/self/ns/pid
passes "rm -f" docker rm -f web db
passes "network rm" docker network rm front back

# build
mkdir -p "$WORK/context"; echo ctx >"$WORK/context/file"
cat >"$WORK/context/Dockerfile" <<C
FROM $I
COPY file /copied
RUN echo built >/built && id -u >/uid
USER user
RUN id -un >/tmp/who
WORKDIR /w
ENV A=b
ENTRYPOINT ["cat"]
CMD ["/built"]
C
DOCKER_BUILDKIT=0 passes "build" env DOCKER_BUILDKIT=0 docker build -q -t built:1 "$WORK/context"
prints "... ran its steps" "built" docker run --rm built:1
prints "... as its user" "user" docker run --rm built:1 /tmp/who
prints "... with the copied file" "ctx" docker run --rm built:1 /copied
refuses "a failing step fails the build" "returned a non-zero code: 3" sh -c "printf 'FROM $I\nRUN exit 3\n' | DOCKER_BUILDKIT=0 docker build --force-rm -"

# the daemon goes and comes back
passes "eight containers at once" sh -c "for i in 1 2 3 4 5 6 7 8; do docker run -d --name m\$i --net none $I sleep 1000 & done; wait; test \$(docker ps -q | wc -l) = 8"
passes "... and their removal" docker rm -f m1 m2 m3 m4 m5 m6 m7 m8
prints "nothing is left" "" sh -c "docker rm oom >/dev/null; docker ps -a --format '{{.Names}} {{.Status}} {{.Command}}'"
prints "no state of the runtime is left" "0" sh -c "ls $WORK/run/runtime-tierce/moby 2>/dev/null | grep -cv seccomp-cache || true"
