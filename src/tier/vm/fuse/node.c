/* Tables of nodes and open files. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "tier/vm/fuse/internal.h"

static uint32_t bucket(dev_t dev, ino_t ino, bool readonly)
{
	uint64_t v = (uint64_t)ino * 0x9e3779b97f4a7c15u ^ (uint64_t)dev * 0xc2b2ae3d27d4eb4fu ^ readonly;
	return (uint32_t)(v >> 32) % HASH;
}

struct node *node_get(struct fuse_server *s, uint64_t id)
{
	return id >= 2 && id - 2 < s->n_nodes && s->nodes[id - 2].nlookup ? &s->nodes[id - 2] : NULL;
}

static struct node *slot(struct fuse_server *s)
{
	if (s->free_node) {
		struct node *n = &s->nodes[s->free_node - 1];
		s->free_node = n->hash_next;
		return n;
	}
	if (s->n_nodes == s->cap_nodes) {
		size_t cap = s->cap_nodes ? s->cap_nodes * 2 : 64;
		struct node *v = realloc(s->nodes, cap * sizeof *v);
		if (!v)
			return NULL;
		s->nodes = v;
		s->cap_nodes = cap;
	}
	return &s->nodes[s->n_nodes++];
}

int node_ref(struct fuse_server *s, int fd, bool readonly, struct node **ret, struct stat *ret_st)
{
	if (fstatat(fd, "", ret_st, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0) {
		int r = -errno;
		close(fd);
		return r;
	}
	uint32_t b = bucket(ret_st->st_dev, ret_st->st_ino, readonly);
	for (uint32_t i = s->hash[b]; i; i = s->nodes[i - 1].hash_next) {
		struct node *n = &s->nodes[i - 1];
		/* our descriptor keeps the inode, so its number cannot have been given to another file meanwhile */
		if (n->dev == ret_st->st_dev && n->ino == ret_st->st_ino && n->readonly == readonly) {
			close(fd);
			n->nlookup++;
			*ret = n;
			return 0;
		}
	}
	struct node *n = s->live < FUSE_NODES_MAX ? slot(s) : NULL;
	if (!n) {
		close(fd);
		return -ENFILE;
	}
	*n = (struct node){ .id = (uint64_t)(n - s->nodes) + 2, .nlookup = 1, .fd = fd, .dev = ret_st->st_dev, .ino = ret_st->st_ino, .type = ret_st->st_mode & S_IFMT,
		.readonly = readonly, .hash_next = s->hash[b] };
	s->hash[b] = (uint32_t)(n - s->nodes) + 1;
	s->live++;
	*ret = n;
	return 0;
}

void node_forget(struct fuse_server *s, uint64_t id, uint64_t count)
{
	struct node *n = node_get(s, id);
	if (!n)
		return;
	n->nlookup -= count < n->nlookup ? count : n->nlookup;
	if (n->nlookup)
		return;
	if (n->pins) {
		n->nlookup = 1;
		return;
	}
	uint32_t self = (uint32_t)(n - s->nodes) + 1, *at = &s->hash[bucket(n->dev, n->ino, n->readonly)];
	while (*at != self)
		at = &s->nodes[*at - 1].hash_next;
	*at = n->hash_next;
	close(n->fd);
	n->fd = -EBADF;
	n->hash_next = s->free_node;
	s->free_node = self;
	s->live--;
}

int handle_new(struct fuse_server *s, int fd, bool dir, uint64_t *ret)
{
	size_t i = 0;
	while (i < s->n_handles && s->handles[i].used)
		i++;
	if (i == s->n_handles) {
		struct handle *v = i < FUSE_HANDLES_MAX ? realloc(s->handles, (i + 16) * sizeof *v) : NULL;
		if (!v) {
			close(fd);
			return -ENFILE;
		}
		memset(v + i, 0, 16 * sizeof *v);
		s->handles = v;
		s->n_handles = i + 16;
	}
	s->handles[i] = (struct handle){ fd, true, dir };
	*ret = i;
	return 0;
}

struct handle *handle_get(struct fuse_server *s, uint64_t fh, bool dir)
{
	return fh < s->n_handles && s->handles[fh].used && s->handles[fh].dir == dir ? &s->handles[fh] : NULL;
}

void handle_drop(struct fuse_server *s, uint64_t fh)
{
	if (fh < s->n_handles && s->handles[fh].used) {
		if (s->handles[fh].fd >= 0)
			close(s->handles[fh].fd);
		s->handles[fh].used = false;
	}
}
