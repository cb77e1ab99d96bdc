/* port, top. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmd/tierce/people/commands.h"

static int c_port(struct cli *t, const void *opts UNUSED, int argc, char **argv, struct err *e) {
	struct people p;
	struct pctr *c;
	int r = tierce_people(t, &p, e);
	bool found = false;
	if (r == 0)
		r = pctr_find(&p, argv[0], &c, e);
	for (const struct json *m = r == 0 ? json_first(json_get(net_state(c), "ports")) : NULL; m; m = m->next) {
		uint64_t inside = 0, outside = 0;
		char name[32];
		const char *ip = json_str(m, "hostIP", "");
		(void)!json_u64(json_get(m, "container"), &inside);
		(void)!json_u64(json_get(m, "host"), &outside);
		snprintf(name, sizeof(name), "%u/%s", (unsigned)inside, json_str(m, "protocol", "tcp"));
		if (argc > 1 && !streq(argv[1], name) && !(streq(json_str(m, "protocol", ""), "tcp") && (uint64_t)atoll(argv[1]) == inside && !strchr(argv[1], '/')))
			continue;
		found = true;
		if (argc > 1)
			printf("%s:%u\n", *ip ? ip : "0.0.0.0", (unsigned)outside);
		else
			printf("%s -> %s:%u\n", name, *ip ? ip : "0.0.0.0", (unsigned)outside);
	}
	if (r == 0 && argc > 1 && !found)
		r = err_set(e, -ENOENT, "failed to find published port \"%s\"", argv[1]);
	people_close(&p);
	return r;
}

static int c_top(struct cli *t, const void *opts UNUSED, int argc, char **argv, struct err *e) {
	struct people p;
	struct pctr *c;
	struct ctr *k = NULL;
	pid_t *pids = NULL;
	size_t n = 0, shown = 0;
	_cleanup_strbuf_ struct strbuf cmd = STRBUF_INIT;
	int r = tierce_people(t, &p, e);
	if (r == 0)
		r = pctr_find(&p, argv[0], &c, e);
	if (r == 0 && !c->pid)
		r = err_set(e, -EINVAL, "top can only be used on running containers");
	if (r == 0)
		r = engine_open(c, false, &k, e);
	if (r == 0)
		r = ctr_load_cgroup(k, e);
	if (r == 0)
		r = cgroup_pids(k->cgroup, &pids, &n, e);
	if (r < 0)
		goto out;
	/* ps of the host does the columns; only the container's lines are kept, by the PID column. */
	strbuf_puts(&cmd, "ps");
	if (argc > 1)
		for (int i = 1; i < argc; i++) {
			if (strpbrk(argv[i], "'\\;&|<>$`\"\n"))
				r = err_set(e, -EINVAL, "top: \"%s\" is no option of ps(1)", argv[i]);
			strbuf_printf(&cmd, " %s", argv[i]);
		}
	else
		strbuf_puts(&cmd, " -o user,pid,ppid,pcpu,etime,tty,time,args");
	if (r == 0 && argc == 1)
		for (size_t i = 0; i < n; i++)
			strbuf_printf(&cmd, " -p %d", (int)pids[i]);
	FILE *f = r == 0 ? popen(strbuf_str(&cmd), "re") : NULL;
	char line[8192];
	int column = -1;
	while (f && fgets(line, sizeof(line), f)) {
		char copy[8192], *save = NULL;
		int field = 0;
		bool keep = column < 0 || argc == 1;
		strcpy(copy, line);
		for (char *w = strtok_r(copy, " \n", &save); w; w = strtok_r(NULL, " \n", &save), field++) {
			if (column < 0 && streq(w, "PID")) {
				column = field;
				break;
			}
			for (size_t i = 0; column >= 0 && field == column && i < n; i++)
				keep |= atoi(w) == (int)pids[i];
		}
		if (keep) {
			fputs(line, stdout);
			shown++;
		}
	}
	if (f && pclose(f) != 0 && !shown)
		r = err_set(e, -EIO, "ps failed (Debian: apt-get install procps)");
out:
	free(pids);
	if (k)
		ctr_free(k);
	people_close(&p);
	return r;
}

const struct command cmd_port = { .name = "port", .operands = "CONTAINER [PORT[/PROTO]]", .summary = "Show published ports", .min_args = 1, .max_args = 2, .operand_kind = 'c', .run = c_port };
const struct command cmd_top = { .name = "top", .operands = "CONTAINER [PS-OPTION...]", .summary = "Show the processes of a container", .min_args = 1, .max_args = -1, .operand_kind = 'c',
	.flags = CMD_STOP_AT_OPERAND, .run = c_top };
