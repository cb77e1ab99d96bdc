/* One container's directory: opening, locking, saving, and what is true of it. */
#include "engine/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <time.h>

#include "spec/state.h"
#include "sys/fd.h"

int proc_start_time(pid_t pid, uint64_t *ret_start, char *ret_state, pid_t *ret_ppid) {
	char path[32], buf[1024];
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -ESRCH;
	ssize_t n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	if (n <= 0)
		return -ESRCH;
	buf[n] = 0;
	/* The name in field 2 may hold spaces and brackets: fields are counted from its last bracket (proc_pid_stat(5)). */
	char *p = strrchr(buf, ')');
	unsigned long long start;
	char state;
	int ppid;
	if (!p || sscanf(p + 1, " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &state, &ppid, &start) != 3)
		return -ESRCH;
	if (ret_start)
		*ret_start = start;
	if (ret_state)
		*ret_state = state;
	if (ret_ppid)
		*ret_ppid = ppid;
	return 0;
}

pid_t ctr_live_pid(struct ctr *c) {
	uint64_t start;
	char state;
	if (c->rec.init_pid <= 0 || proc_start_time(c->rec.init_pid, &start, &state, NULL) < 0)
		return 0;
	if (state == 'Z' || state == 'X' || (c->rec.start_time && start != c->rec.start_time))
		return 0;
	return c->rec.init_pid;
}

int ctr_open_pidfd(struct ctr *c, struct err *e) {
	if (c->pidfd >= 0)
		return 0;
	if (c->rec.init_pid <= 0)
		return err_set(e, ESRCH, "container not running");
	int fd = pidfd_open(c->rec.init_pid, 0);
	if (fd < 0)
		return err_set(e, errno, errno == ESRCH ? "container not running" : "pidfd_open");
	/* The pid is checked after the descriptor is held: from here on it cannot be reused. */
	if (!ctr_live_pid(c)) {
		close(fd);
		return err_set(e, ESRCH, "container not running");
	}
	c->pidfd = c->tc.init_pidfd = fd;
	return 0;
}

/* Has init gone beyond the program that waits for start? Only asked of the ns tier, whose init becomes the user's program. */
static bool has_started(struct ctr *c) {
	char path[32];
	struct stat st;
	if (!c->rec.exe_ino)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/exe", c->rec.init_pid);
	return stat(path, &st) == 0 && (st.st_dev != c->rec.exe_dev || st.st_ino != c->rec.exe_ino);
}

static bool is_frozen(struct ctr *c) {
	return ctr_load_cgroup(c, NULL) == 0 && cgroup_active(c->cgroup) && cgroup_frozen(c->cgroup) == 1;
}

enum ctr_status ctr_status(struct ctr *c) {
	if (!c->has_record || c->rec.status == CTR_CREATING) {
		if (c->has_record && ctr_live_pid(c))
			return CTR_CREATING;
		if (c->locked)
			return CTR_STOPPED;
		/* Held by its creator, or left behind by one that died? */
		if (flock(c->dir_fd, LOCK_SH | LOCK_NB) < 0)
			return CTR_CREATING;
		(void)flock(c->dir_fd, LOCK_UN);
		return CTR_STOPPED;
	}
	if (c->rec.status == CTR_STOPPED || !ctr_live_pid(c))
		return CTR_STOPPED;
	if (is_frozen(c))
		return CTR_PAUSED;
	if (c->rec.status == CTR_PAUSED) /* thawed behind our back, or a tier that pauses without a freezer */
		return streq(c->rec.tier, "ns") ? CTR_RUNNING : CTR_PAUSED;
	if (c->rec.status == CTR_CREATED && has_started(c))
		return CTR_RUNNING;
	return c->rec.status;
}

static int lock_dir(struct ctr *c, const char *id, struct err *e) {
	/* A holder either finishes or dies, and the kernel lets go of a dead one's lock; the bound is for a hook that hangs. */
	for (unsigned waited = 0, step = 1; flock(c->dir_fd, LOCK_EX | LOCK_NB) < 0; waited += step, step = MIN(step * 2, 20U)) {
		if (errno == EINTR)
			continue;
		if (errno != EWOULDBLOCK)
			return err_sys(e, errno, "lock %s", c->dir);
		if (waited > 60000)
			return err_set(e, EBUSY, "container \"%s\" is busy: another command holds its lock", id);
		nanosleep(&(struct timespec){ .tv_nsec = step * 1000000L }, NULL);
	}
	c->locked = true;
	/* Deleted (and perhaps made again) while we waited? */
	struct stat mine, now;
	if (fstat(c->dir_fd, &mine) < 0 || lstat(c->dir, &now) < 0 || mine.st_ino != now.st_ino || mine.st_dev != now.st_dev)
		return err_set(e, ENOENT, "container does not exist");
	return 0;
}

/* A reader without the lock may see the record half overwritten: then its checksum is wrong, for a moment. */
enum { TORN_READS_MAX = 10 };

static int read_record(struct ctr *c, struct err *e) {
	int r = -EBADMSG;
	for (int i = 0; i < TORN_READS_MAX && r == -EBADMSG; i++) {
		_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
		if (i)
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
		r = file_read_at(c->dir_fd, "state", &b, CTR_RECORD_MAX);
		if (r == -ENOENT) {
			c->has_record = false;
			return 0;
		}
		if (r < 0)
			return err_sys(e, r, "read %s/state", c->dir);
		err_clear(e);
		r = ctr_record_decode(&c->arena, b.s, b.len, &c->rec, e);
	}
	if (r < 0)
		return err_wrap(e, r, "%s/state", c->dir);
	c->has_record = true;
	return 0;
}

int ctr_open(struct engine *eng, const char *id, unsigned flags, struct ctr **ret, struct err *e) {
	int r = ctr_id_valid(id, e);
	if (r < 0)
		return r;
	_cleanup_ctr_ struct ctr *c = calloc(1, sizeof(*c));
	if (!c)
		return err_set(e, ENOMEM, "out of memory");
	c->eng = eng;
	c->pidfd = c->tc.init_pidfd = c->tc.bundle_fd = c->tc.start_fd = -EBADF;
	c->dir_fd = -EBADF;
	c->rec.id = arena_strdup(&c->arena, id);
	c->rec.bundle = c->rec.rootfs = c->rec.oci_version = c->rec.owner = "";
	c->rec.cgroup = (struct cgroup_saved){ "disabled", "", "", "" };
	c->rec.tier = "ns";
	c->dir = arena_printf(&c->arena, "%s/%s", eng->root, id);
	if (!c->dir || !c->rec.id)
		return err_set(e, ENOMEM, "out of memory");
	c->dir_fd = open(c->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (c->dir_fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? err_set(e, ENOENT, "container does not exist") : err_sys(e, errno, "open %s", c->dir);
	if (flags & CTR_LOCK) {
		r = lock_dir(c, id, e);
		if (r < 0)
			return r;
	}
	r = read_record(c, e);
	if (r == -EBADMSG && (flags & CTR_DAMAGED))
		c->has_record = false;
	else if (r < 0)
		return r;
	*ret = TAKE(c);
	return 0;
}

void ctr_free(struct ctr *c) {
	if (!c)
		return;
	if (c->locked)
		(void)flock(c->dir_fd, LOCK_UN); /* a first process that has not gone on yet shares the description: closing alone would not unlock */
	cleanup_close(&c->dir_fd);
	cleanup_close(&c->pidfd);
	cleanup_close(&c->tc.bundle_fd);
	cleanup_close(&c->tc.start_fd);
	cgroup_free(c->cgroup);
	arena_free(&c->arena);
	free(c);
}

void ctr_unlock(struct ctr *c) {
	if (c->locked)
		(void)flock(c->dir_fd, LOCK_UN);
	c->locked = false;
}

int ctr_save(struct ctr *c, struct err *e) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	int r = ctr_record_encode(&c->rec, &b);
	if (r == 0)
		r = file_overwrite_at(c->dir_fd, "state", b.s, b.len, 0600); /* not synced: nothing outlives a crash of the machine */
	if (r < 0)
		return err_sys(e, r, "write %s/state", c->dir);
	c->has_record = true;
	return 0;
}

int ctr_set_status(struct ctr *c, enum ctr_status to, struct err *e) {
	/* Legal moves, bit = target. creating -> running is `run`, which skips the "created" record. */
	static const uint8_t moves[CTR_STATUSES] = {
		[CTR_CREATING] = 1 << CTR_CREATED | 1 << CTR_RUNNING | 1 << CTR_STOPPED,
		[CTR_CREATED] = 1 << CTR_RUNNING | 1 << CTR_PAUSED | 1 << CTR_STOPPED,
		[CTR_RUNNING] = 1 << CTR_PAUSED | 1 << CTR_STOPPED,
		[CTR_PAUSED] = 1 << CTR_RUNNING | 1 << CTR_CREATED | 1 << CTR_STOPPED,
		[CTR_STOPPED] = 0,
	};
	enum ctr_status from = c->rec.status;
	if (!(moves[from] & 1 << to))
		return err_set(e, EPROTO, "container cannot go from %s to %s", ctr_status_names[from], ctr_status_names[to]);
	c->rec.status = to;
	int r = ctr_save(c, e);
	if (r < 0)
		c->rec.status = from;
	return r;
}

int ctr_load_spec(struct ctr *c, struct err *e) {
	if (c->spec)
		return 0;
	int r = oci_spec_load(&c->arena, c->dir_fd, "config.json", &c->spec, e);
	if (r == 0)
		c->tc.spec = c->spec;
	return r;
}

int ctr_load_cgroup(struct ctr *c, struct err *e) {
	if (c->cgroup)
		return 0;
	int r = cgroup_load(&c->rec.cgroup, &c->cgroup, e);
	if (r == 0)
		c->tc.cgroup = c->cgroup;
	return r;
}

static int state_json(const struct tier_container *tc, const char *status, struct strbuf *out) {
	const struct ctr *c = tc->engine;
	return oci_state_write(out, &(struct oci_state){ .version = c->rec.oci_version, .id = c->rec.id, .status = status, .bundle = c->rec.bundle,
		.pid = c->rec.init_pid, .annotations = &c->rec.annotations });
}

void ctr_fill_callbacks(struct ctr *c) {
	c->tc.engine = c;
	c->tc.state_json = state_json;
}

int ctr_load_tier(struct ctr *c, bool want_spec, struct err *e) {
	int r = ctr_load_cgroup(c, e);
	if (r == 0 && want_spec)
		r = ctr_load_spec(c, e);
	if (r < 0)
		return r;
	c->tier = engine_tier(c->eng, c->rec.tier);
	if (!c->tier)
		return err_set(e, ENOTSUP, "container runs under tier \"%s\", which this program was built without", c->rec.tier);
	ctr_fill_callbacks(c);
	c->tc.id = c->rec.id;
	c->tc.bundle = c->rec.bundle;
	if (c->tc.bundle_fd < 0 && want_spec)
		c->tc.bundle_fd = open(c->rec.bundle, O_PATH | O_DIRECTORY | O_CLOEXEC); /* may be gone by now: the tier sees -1 */
	c->tc.rootfs = c->rec.rootfs;
	c->tc.state_fd = c->dir_fd;
	c->tc.state_dir = c->dir;
	c->tc.init_pid = c->rec.init_pid;
	c->tc.init_pidfd = c->pidfd;
	c->tc.init_start_time = c->rec.start_time;
	return 0;
}
