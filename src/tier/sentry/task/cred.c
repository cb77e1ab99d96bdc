/* Credentials: copy on write. */
#include "tier/sentry/task/cred.h"

#include <stdlib.h>
#include <string.h>

#include "tier/sentry/task/ns.h"
#include "tier/sentry/task/task.h"

struct cred *cred_new_root(void)
{
	struct cred *c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->refs = 1;
	c->user = userns_get(&init_userns);
	c->cap_permitted = c->cap_effective = c->cap_bounding = CAP_ALL_;
	return c;
}

struct cred *cred_get(struct cred *c)
{
	c->refs++;
	return c;
}

void cred_put(struct cred *c)
{
	if (c && --c->refs == 0) {
		free(c->groups);
		userns_put(c->user);
		free(c);
	}
}

struct cred *cred_dup(const struct cred *c)
{
	struct cred *n = malloc(sizeof(*n));
	if (!n)
		return NULL;
	*n = *c;
	n->refs = 1;
	n->groups = NULL; /* an empty list may have memory of its own too */
	userns_get(n->user);
	if (c->n_groups) {
		n->groups = malloc(c->n_groups * sizeof(*n->groups));
		if (!n->groups) {
			userns_put(n->user);
			free(n);
			return NULL;
		}
		memcpy(n->groups, c->groups, c->n_groups * sizeof(*n->groups));
	}
	return n;
}

void cred_install(struct task *t, struct cred *c)
{
	struct cred *old = t->cred;
	t->cred = c;
	cred_put(old);
}

bool cred_in_group(const struct cred *c, uint32_t gid)
{
	if (c->fsgid == gid)
		return true;
	for (uint32_t i = 0; i < c->n_groups; i++)
		if (c->groups[i] == gid)
			return true;
	return false;
}

bool capable(const struct task *t, unsigned cap)
{
	return t->cred->user == &init_userns && cred_cap(t->cred, cap);
}
