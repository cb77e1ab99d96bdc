/* Intrusive doubly linked lists. A head is a node that is linked to itself. */
#ifndef TIERCE_SENTRY_LIST_H
#define TIERCE_SENTRY_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct list {
	struct list *next, *prev;
};

#define LIST_INIT(h) { &(h), &(h) }

static inline void list_init(struct list *h) { h->next = h->prev = h; }
static inline bool list_empty(const struct list *h) { return h->next == h; }
static inline void list_insert(struct list *n, struct list *prev, struct list *next)
{
	n->next = next;
	n->prev = prev;
	prev->next = n;
	next->prev = n;
}
static inline void list_add(struct list *h, struct list *n) { list_insert(n, h, h->next); }
static inline void list_add_tail(struct list *h, struct list *n) { list_insert(n, h->prev, h); }
/* Leaves the node linked to itself, so that removing twice and list_empty(node) are well defined. */
static inline void list_del(struct list *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
	list_init(n);
}

#define container_of(p, type, member) ((type *)((uintptr_t)(p) - offsetof(type, member)))
#define list_entry(p, type, member) container_of(p, type, member)
#define list_first(h, type, member) list_entry((h)->next, type, member)
#define list_for_each(v, h, member) \
	for (v = list_entry((h)->next, __typeof__(*v), member); &v->member != (h); v = list_entry(v->member.next, __typeof__(*v), member))
#define list_for_each_safe(v, n, h, member) \
	for (v = list_entry((h)->next, __typeof__(*v), member), n = list_entry(v->member.next, __typeof__(*v), member); \
	     &v->member != (h); v = n, n = list_entry(n->member.next, __typeof__(*n), member))

#endif
