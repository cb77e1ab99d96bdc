#!/usr/bin/env python3
"""tierce-oci killed (or failed) at every system call of create, start, exec, kill, delete and run.

After each blow `state` must tell the truth and `delete -f` must leave no mount, cgroup, process, fifo or directory.
Usage: crash.py [--step N] [--errors] [--only OP[,OP]] [--tiers ns]        prints TAP, one line per command and target.
"""
import argparse, ctypes, json, os, shutil, signal, subprocess, sys, tempfile, time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(TOP, os.environ.get("BUILD", "build"))
OCI = os.environ.get("TIERCE_OCI", os.path.join(BUILD, "tierce-oci"))
INJECT = os.path.join(BUILD, "tests", "crash", "crash-inject")
ERRORS = {"ENOMEM": 12, "EPERM": 1, "EIO": 5, "ENOSPC": 28}
ap = argparse.ArgumentParser()
ap.add_argument("--step", type=int, default=1)
ap.add_argument("--errors", action="store_true")
ap.add_argument("--only", default="")
ap.add_argument("--from", dest="first", type=int, default=1)
ap.add_argument("--to", type=int, default=1 << 30)
ap.add_argument("--seconds", type=float, default=1e9, help="bound for each line: the step grows so that it fits")
args = ap.parse_args()

work = tempfile.mkdtemp(prefix="tierce-crash.", dir="/var/tmp")
root, bundle, ID = os.path.join(work, "root"), os.path.join(work, "bundle"), "crash-%d" % os.getpid()
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: what a killed runtime leaves becomes our child
number = failures = 0


def say(ok, text, detail=()):
    global number, failures
    number += 1
    failures += not ok
    print(("ok" if ok else "not ok") + f" {number} - {text}")
    for line in list(detail)[:12]:
        print("  # " + str(line)[:300])
    sys.stdout.flush()


def oci(*a, timeout=30):
    # Files, not pipes: a container keeps what it inherits, and nobody would see the end of a pipe.
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        p = subprocess.Popen([OCI, "--root", root, *a], stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        # Orphans become our children: as an init would, reap them while waiting, or their pid namespace cannot end.
        end = time.monotonic() + timeout
        while p.returncode is None:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == p.pid:
                p.returncode = os.waitstatus_to_exitcode(status)
            elif not pid:
                if time.monotonic() > end:
                    p.kill()
                    p.wait()
                    raise subprocess.TimeoutExpired(a, timeout)
                time.sleep(0.0005)
        out.seek(0), err.seek(0)
        return subprocess.CompletedProcess(a, p.returncode, out.read(), err.read())


def struck(n, children, error, *a):
    """Run the command with a blow at its n-th call. Returns (struck, count or nr, status, stderr)."""
    r, w = os.pipe()
    log = os.path.join(work, "stderr")
    with open(log, "w") as err, open("/dev/null", "r+") as null:
        argv = [INJECT, "-n", str(n)] + (["-c"] if children else []) + (["-e", str(error)] if error else []) + [OCI, "--root", root, *a]
        p = subprocess.Popen(["sh", "-c", f'exec "$@" 3>&{w} {w}>&-', "sh", *argv], stdin=null, stdout=null, stderr=err, pass_fds=(w,), start_new_session=True)
        os.close(w)
        try:
            p.wait(timeout=20)
            hung = False
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGKILL)
            p.wait()
            hung = True
    os.set_blocking(r, False)
    try:
        words = os.read(r, 200).decode().split()
    except BlockingIOError:
        words = []
    os.close(r)
    text = open(log).read()
    if hung or len(words) < 4:
        return "hung" if hung else "lost", int(words[1]) if len(words) > 1 else -1, 0, text
    return words[0], int(words[1]), int(words[3], 16), text


def reap():
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return
        except ChildProcessError:
            return


def descendants():
    found = []
    def walk(pid):
        try:
            for t in os.listdir(f"/proc/{pid}/task"):
                for c in open(f"/proc/{pid}/task/{t}/children").read().split():
                    found.append(int(c))
                    walk(int(c))
        except OSError:
            pass
    walk(os.getpid())
    return found


def cgroups():
    return subprocess.run(["find", "/sys/fs/cgroup", "-type", "d", "-name", f"*{ID}*"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.split()


def tree():
    out = []
    for top, dirs, files in os.walk(work):
        out += [os.path.relpath(os.path.join(top, n), work) for n in dirs + files if n != "stderr"]
    return sorted(out)


def leftovers(baseline):
    found = []
    found += ["mount " + l.split()[4] for l in open("/proc/self/mountinfo") if work in l or ID in l]
    for _ in range(100):  # a killed process is a zombie until we reap it, and its cgroup is busy as long
        reap()
        if not descendants():
            break
        time.sleep(0.01)
    for pid in descendants():
        try:
            found.append("process %d: %s" % (pid, open(f"/proc/{pid}/cmdline").read().replace("\0", " ") or open(f"/proc/{pid}/comm").read()))
        except OSError:
            pass
    found += ["cgroup " + c for c in cgroups()]
    found += ["file " + f for f in tree() if f not in baseline]
    return found


def truth():
    """What `state` says against what is so. Returns a list of lies."""
    try:
        r = oci("state", ID)
    except subprocess.TimeoutExpired:
        return ["state hangs"]
    if r.returncode:
        if r.returncode < 0 or "does not exist" not in r.stderr:
            return [f"state: exit {r.returncode}: {r.stderr.strip()}"]
        return []
    try:
        s = json.loads(r.stdout)
    except ValueError:
        return ["state prints no JSON: " + r.stdout[:100]]
    reap()
    pid = s.get("pid", 0)
    try:
        alive = pid > 0 and open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        alive = False
    if s["status"] not in ("creating", "created", "running", "paused", "stopped"):
        return ["status " + s["status"]]
    if s["status"] in ("created", "running", "paused") and not alive:
        time.sleep(0.05)
        again = oci("state", ID)
        if again.returncode == 0 and json.loads(again.stdout)["status"] == s["status"]:
            return [f"state says {s['status']}, pid {pid} is not alive"]
    if s["status"] == "stopped" and pid:
        return [f"stopped with pid {pid}"]
    return []


def remove():
    for attempt in range(2):
        try:
            r = oci("delete", "-f", ID)
        except subprocess.TimeoutExpired:
            return ["delete -f hangs"]
        if r.returncode == 0:
            return []
        reap()
    return [f"delete -f: exit {r.returncode}: {r.stderr.strip()}"]


def must(*a):
    r = oci(*a)
    if r.returncode:
        raise RuntimeError(f"{' '.join(a)}: {r.stderr.strip()}")


def wait_stopped():
    for _ in range(500):
        reap()
        r = oci("state", ID)
        if r.returncode or json.loads(r.stdout)["status"] == "stopped":
            return
        time.sleep(0.01)


BEFORE = {
    "create": [], "run": [], "start": [("create",)], "exec": [("create",), ("start",)], "kill": [("create",), ("start",)],
    "delete": [("create",), ("start",), ("kill",)], "delete -f": [("create",), ("start",)], "state": [("create",), ("start",)],
    "pause": [("create",), ("start",)], "update": [("create",), ("start",)],
}
COMMAND = {
    "create": ["create", "--bundle", bundle, ID], "run": ["run", "--bundle", bundle + "-true", ID], "start": ["start", ID],
    "exec": ["exec", ID, "/true"], "kill": ["kill", ID, "KILL"], "delete": ["delete", ID], "delete -f": ["delete", "-f", ID], "state": ["state", ID],
    "pause": ["pause", ID], "update": ["update", "--pids-limit", "50", ID],
}
TARGETS = [(op, False) for op in ("create", "run", "start", "exec", "kill", "delete", "delete -f", "state", "pause", "update")] + \
          [(op, True) for op in ("create", "run", "exec")]


def before(op):
    for step in BEFORE[op]:
        if step[0] == "create":
            must("create", "--bundle", bundle, ID)
        elif step[0] == "kill":
            must("kill", ID, "KILL")
            wait_stopped()
        else:
            must(step[0], ID)


def campaign(op, children, errno_name):
    error = ERRORS.get(errno_name, 0)
    who = "a child" if children else "the program"
    what = f"{op}: {who} " + (f"gets {errno_name} at" if error else "is killed at")
    before(op)
    kind, count, status, text = struck(0, children, 0, *COMMAND[op])
    remove()
    reap()
    if kind != "ended" or (status and not children):
        say(False, what + " its calls", [f"the command alone: {kind} {count} status {status:#x} {text.strip()}"])
        return
    if not count:
        return
    bad, tried, begin = [], 0, time.monotonic()
    step, n = args.step, args.first
    while n <= min(count + 5, args.to):
        try:
            before(op)
        except (RuntimeError, subprocess.TimeoutExpired) as e:
            bad.append(f"call {n - 1} left the next container impossible: {e}")
            break
        kind, nr, status, text = struck(n, children, error, *COMMAND[op])
        tried += 1
        here = f"call {n} (nr {nr})"
        if kind in ("hung", "lost"):
            bad.append(f"{here}: the command {kind}: {text.strip()[-200:]}")
        if error and kind == "struck" and os.WIFSIGNALED(status):
            bad.append(f"{here}: ends by signal {os.WTERMSIG(status)}")
        if error and kind == "struck" and status and not children and not text.strip() and op not in ("run", "exec"):
            bad.append(f"{here}: fails without a word")
        bad += [f"{here}: {x}" for x in truth()]
        if op == "exec" and not error:
            r = oci("state", ID)
            if r.returncode or json.loads(r.stdout)["status"] != "running":
                bad.append(f"{here}: a killed exec took the container along: {r.stdout.strip()[:80]} {r.stderr.strip()[:80]}")
        bad += [f"{here}: {x}" for x in remove()]
        left = leftovers(baseline)
        bad += [f"{here}: left {x}" for x in left]
        if left:
            clean_hard()
        if kind == "ended":
            break
        if time.monotonic() - begin > args.seconds * (n / max(count, 1)) + 1:
            step = step + 1  # behind schedule: take wider steps
        n += step
    say(not bad, f"{what} {tried} of {count} calls", bad)


def clean_hard():
    for l in open("/proc/self/mountinfo"):
        if work in l:
            ctypes.CDLL(None).umount2(l.split()[4].encode(), 2)
    for pid in descendants():
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
    for _ in range(50):
        reap()
        if not descendants():
            break
        time.sleep(0.01)
    for c in sorted(cgroups(), reverse=True):
        try:
            os.rmdir(c)
        except OSError:
            pass
    shutil.rmtree(root, ignore_errors=True)
    for f in set(tree()) - set(baseline):
        try:
            os.unlink(os.path.join(work, f))
        except OSError:
            pass


def make_bundles():
    rootfs = os.path.join(work, "rootfs")
    for d in ("proc", "dev", "sys"):
        os.makedirs(os.path.join(rootfs, d))
    for program in ("true", "pause"):
        shutil.copy(os.path.join(BUILD, "bench", "bench-" + program), os.path.join(rootfs, program))
    os.makedirs(bundle)
    subprocess.run([OCI, "spec"], cwd=bundle, check=True)
    c = json.load(open(bundle + "/config.json"))
    c["process"].update(terminal=False, args=["/pause"])
    c["root"]["path"] = rootfs
    c["linux"]["cgroupsPath"] = "/" + ID
    c["linux"].setdefault("resources", {})["memory"] = {"limit": 64 << 20}
    json.dump(c, open(bundle + "/config.json", "w"))
    os.makedirs(bundle + "-true")
    c["process"]["args"] = ["/true"]
    json.dump(c, open(bundle + "-true/config.json", "w"))


baseline = []
try:
    make_bundles()
    must("create", "--bundle", bundle, ID)
    must("delete", "-f", ID)
    baseline = tree()
    only = [o for o in args.only.split(",") if o]
    for op, children in TARGETS:
        if only and op not in only:
            continue
        for e in (list(ERRORS) if args.errors else [""]):
            campaign(op, children, e)
except RuntimeError as e:
    say(False, "a container without any blow", [e])
finally:
    clean_hard()
    shutil.rmtree(work, ignore_errors=True)
print(f"1..{number}")
sys.exit(1 if failures else 0)
