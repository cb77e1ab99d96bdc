#!/usr/bin/env python3
"""Runs a command on a terminal of its own and types at it. Usage: inpty.py ROWS COLUMNS [STEP...] -- COMMAND...
Steps: TEXT (typed with a return, once output has come and paused), RESIZE:ROWS:COLUMNS, KEY:NUMBER, WAIT:TEXT. Prints the output, exits like the command."""
import fcntl, os, pty, select, signal, struct, sys, termios, time

rows, cols = int(sys.argv[1]), int(sys.argv[2])
cut = sys.argv.index("--")
steps, command = sys.argv[3:cut], sys.argv[cut + 1:]
pid, master = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
    os.execvp(command[0], command)
seen = b""
end = time.time() + 60

def pump(quiet):
    """Read until nothing came for that long; False at the end of output."""
    global seen
    while time.time() < end:
        r, _, _ = select.select([master], [], [], quiet)
        if not r:
            return True
        try:
            data = os.read(master, 65536)
        except OSError:
            data = b""
        if not data:
            return False
        seen += data
    return False

def wait_for(text):
    while text not in seen[mark:] and pump(0.05) and time.time() < end:
        pass

mark = 0
time.sleep(0.05)
for step in steps:
    before = len(seen)
    if step.startswith("WAIT:"):
        wait_for(step[5:].encode())
        continue
    while len(seen) == mark and time.time() < end and pump(0.05):
        pass
    pump(0.4)
    mark = len(seen)
    if step.startswith("RESIZE:"):
        _, r, c = step.split(":")
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", int(r), int(c), 0, 0))
    elif step.startswith("KEY:"):
        os.write(master, bytes([int(step[4:])]))
    else:
        os.write(master, step.encode() + b"\r")
while pump(1):
    if time.time() > end:
        os.kill(pid, signal.SIGKILL)
        break
sys.stdout.write(seen.decode(errors="replace").replace("\r\n", "\n"))
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
