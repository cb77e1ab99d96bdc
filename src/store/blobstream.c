/*
 * A blob as an ordered stream, fetched in pieces by a few connections, each with a thread of its own. Memory is bounded by pages: the piece that
 * is read now may always take one of its own stream's reserve, later pieces only what the common pool has left, so that no stream can
 * starve another. A thread that finds no page waits in its write callback, which stops its connection (TCP's own back pressure).
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "store/registry.h"

enum {
	PAGE = 256 * 1024,
	POOL_PAGES = 40,      /* 10 MiB for all streams of the process */
	RESERVE_PAGES = 4,
	PIECE = 4 * 1024 * 1024,
	LARGE = 24 * 1024 * 1024, /* smaller blobs come over one connection */
	CONNECTIONS = 3,
	STALLS_MAX = 8,       /* attempts in a row that bring nothing */
};

struct page {
	struct page *next;
	size_t len;
	bool reserve;
	uint8_t data[PAGE];
};

struct piece {
	uint64_t off, len, got; /* got: bytes received */
	uint64_t index;
	struct page *first, *last;
	bool done, busy;
};

struct blob_stream {
	struct registry *r;
	char path[REF_PATH_MAX + 1], digest[DIGEST_MAX], scope[400], url[1024];
	uint64_t size, piece_len;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	pthread_t threads[16];
	unsigned n_threads, max_threads;
	struct piece slots[16]; /* window: piece i lives in slot i % n_slots */
	unsigned n_slots;
	uint64_t next_piece, n_pieces, head; /* next to hand out; number; being read */
	uint64_t read_off;      /* bytes consumed, for the single connection */
	struct page *lent;
	struct page *reserve;
	unsigned reserve_left;
	volatile bool stop; /* written under the lock; curl's callback looks without it */
	bool whole;       /* whole: ranges are not honoured, one connection brings all */
	bool ranges_known;
	int failed;
	struct err err;
};

static atomic_int pool_left = POOL_PAGES;

/* Waits for memory. Called with the lock held. NULL when the stream is being closed. */
static struct page *page_get(struct blob_stream *s, const struct piece *p) {
	while (!s->stop) {
		bool reserve = p->index == s->head && s->reserve_left > 0;
		if (!reserve && atomic_fetch_sub(&pool_left, 1) <= 0) {
			atomic_fetch_add(&pool_left, 1);
			/* Another stream may free pool pages without our lock: look again now and then. */
			struct timespec ts;
			clock_gettime(CLOCK_REALTIME, &ts);
			ts.tv_nsec += 20 * 1000000;
			if (ts.tv_nsec >= 1000000000) {
				ts.tv_sec++;
				ts.tv_nsec -= 1000000000;
			}
			pthread_cond_timedwait(&s->changed, &s->lock, &ts);
			continue;
		}
		struct page *g = malloc(sizeof(*g));
		if (!g) {
			if (!reserve)
				atomic_fetch_add(&pool_left, 1);
			return NULL;
		}
		if (reserve)
			s->reserve_left--;
		*g = (struct page){ .reserve = reserve };
		return g;
	}
	return NULL;
}

static void page_put(struct blob_stream *s, struct page *g) {
	if (!g)
		return;
	if (g->reserve)
		s->reserve_left++;
	else
		atomic_fetch_add(&pool_left, 1);
	free(g);
}

struct fetch {
	struct blob_stream *s;
	struct piece *p;
	uint64_t skip;  /* bytes to drop: the server began at 0 */
	bool ignored;   /* the server sent all instead of a range, and this is not the first piece */
	bool checked;
	bool progress;
	bool overlong;  /* the whole blob comes where a piece was asked for: cut when the piece is there */
};

/* The first bytes of a response decide whether ranges work. */
static int check_response(struct fetch *f, const struct http_resp *resp) {
	struct blob_stream *s = f->s;
	f->checked = true;
	if (resp->status == 206) {
		s->ranges_known = true;
		pthread_cond_broadcast(&s->changed);
		unsigned long long from;
		if (!resp->content_range || sscanf(resp->content_range, "bytes %llu-", &from) != 1 || from != f->p->off + f->p->got)
			return -EBADMSG;
		return 0;
	}
	if (f->p->index == 0) { /* all of it comes here: the other pieces are not needed */
		if (!s->whole) {
			s->whole = true;
			f->p->len = s->size;
			pthread_cond_broadcast(&s->changed);
		}
		f->skip = f->p->got;
		return 0;
	}
	if (s->ranges_known) { /* honoured before, not now: what comes before the piece is dropped */
		f->skip = f->p->off + f->p->got;
		f->overlong = true;
		return 0;
	}
	f->ignored = true;
	return -ECANCELED;
}

static int on_bytes(void *ctx, const void *data, size_t n, const struct http_resp *resp) {
	struct fetch *f = ctx;
	struct blob_stream *s = f->s;
	const uint8_t *d = data;
	int r = 0;
	pthread_mutex_lock(&s->lock);
	if (!f->checked)
		r = check_response(f, resp);
	if (r >= 0 && f->skip) {
		size_t k = (size_t)MIN(f->skip, (uint64_t)n);
		f->skip -= k;
		d += k;
		n -= k;
	}
	bool cut = r >= 0 && f->overlong && n >= f->p->len - f->p->got;
	if (cut)
		n = (size_t)(f->p->len - f->p->got);
	if (r >= 0 && n > f->p->len - f->p->got)
		r = -EMSGSIZE; /* more than the manifest says */
	while (r >= 0 && n) {
		struct page *g = f->p->last;
		if (!g || g->len == PAGE) {
			g = page_get(s, f->p);
			if (!g) {
				r = s->stop ? -ECANCELED : -ENOMEM;
				break;
			}
			if (f->p->last)
				f->p->last->next = g;
			else
				f->p->first = g;
			f->p->last = g;
		}
		size_t k = MIN(n, (size_t)PAGE - g->len);
		/* Copy without the lock: the reader never touches the last page of a piece that is not done, beyond its length. */
		memcpy(g->data + g->len, d, k);
		g->len += k;
		f->p->got += k;
		f->progress = true;
		d += k;
		n -= k;
		if (g->len == PAGE || f->p->got == f->p->len)
			pthread_cond_broadcast(&s->changed);
	}
	if ((s->stop || cut) && r >= 0)
		r = -ECANCELED;
	pthread_mutex_unlock(&s->lock);
	return r;
}

static void fail(struct blob_stream *s, int code, struct err *e) {
	if (!s->failed) {
		s->failed = code;
		err_move(&s->err, e);
	}
	s->stop = true;
	pthread_cond_broadcast(&s->changed);
}

/* One request for what is missing of a piece. 0: look again; negative: given up. Lock held on entry and exit. */
static int fetch_once(struct blob_stream *s, struct http *h, struct piece *p, unsigned *stalls) {
	_cleanup_http_resp_ struct http_resp resp = HTTP_RESP_INIT;
	_cleanup_err_ struct err e = ERR_INIT;
	struct fetch f = { .s = s, .p = p };
	char range[64];
	bool all = s->whole || (p->got == 0 && p->len == s->size);
	snprintf(range, sizeof(range), "%llu-%llu", (unsigned long long)(p->off + p->got), (unsigned long long)(p->off + p->len - 1));
	struct http_req req = { .range = all && p->got == 0 ? NULL : range, .sink = on_bytes, .ctx = &f, .cancel = &s->stop };
	pthread_mutex_unlock(&s->lock);
	int k = registry_request(s->r, h, HOST_PULL, s->scope, s->url, &req, &resp, &e);
	pthread_mutex_lock(&s->lock);
	if (s->stop)
		return -ECANCELED;
	if (f.ignored) { /* the first piece tells what this server does */
		while (!s->stop && !s->whole && !s->ranges_known)
			pthread_cond_wait(&s->changed, &s->lock);
		return s->whole || s->stop ? -ECANCELED : 0;
	}
	if (k >= 0 && resp.status != 200 && resp.status != 206) {
		k = registry_error(s->r, &resp, s->digest, &e);
		fail(s, k, &e);
		return k;
	}
	if (k == -EMSGSIZE) {
		k = err_set(&e, EBADMSG, "%s: %s sends more than the %llu bytes of the manifest", s->digest, s->r->host, (unsigned long long)s->size);
		fail(s, k, &e);
		return k;
	}
	if (p->got == p->len)
		return 0;
	if (f.progress)
		*stalls = 0;
	/* Cut, or ended early: the rest is asked for from where it stopped. */
	if (++*stalls > STALLS_MAX || k == -EACCES || k == -EPROTONOSUPPORT || (resp.refused && *stalls > 3)) {
		if (k >= 0)
			k = err_set(&e, EIO, "%s: %s sent %llu of %llu bytes", s->digest, s->r->host, (unsigned long long)(p->off + p->got),
				    (unsigned long long)s->size);
		fail(s, k, &e);
		return k;
	}
	if (!f.progress) {
		unsigned ms = 100u << MIN(*stalls, 6u);
		struct timespec ts = { ms / 1000, (long)(ms % 1000) * 1000000 };
		pthread_mutex_unlock(&s->lock);
		nanosleep(&ts, NULL);
		pthread_mutex_lock(&s->lock);
	}
	return 0;
}

static void *fetcher(void *ctx) {
	struct blob_stream *s = ctx;
	struct http *h = http_new();
	pthread_mutex_lock(&s->lock);
	if (!h) {
		struct err e = ERR_INIT;
		fail(s, err_set(&e, ENOMEM, "out of memory"), &e);
	}
	while (!s->stop && !s->whole) {
		if (s->next_piece >= s->n_pieces)
			break;
		if (s->next_piece - s->head >= s->n_slots) { /* the window is full */
			pthread_cond_wait(&s->changed, &s->lock);
			continue;
		}
		uint64_t i = s->next_piece++;
		struct piece *p = &s->slots[i % s->n_slots];
		*p = (struct piece){ .off = i * s->piece_len, .len = MIN(s->piece_len, s->size - i * s->piece_len), .index = i, .busy = true };
		unsigned stalls = 0;
		int k = 0;
		while (k >= 0 && p->got < p->len && !s->stop && (!s->whole || i == 0))
			k = fetch_once(s, h, p, &stalls);
		p->busy = false;
		p->done = p->got == p->len;
		pthread_cond_broadcast(&s->changed);
	}
	pthread_mutex_unlock(&s->lock);
	http_free(h);
	return NULL;
}

int blob_stream_open(struct registry *r, const char *path, const char *digest, uint64_t size, const struct blob_stream_opts *o,
		     struct blob_stream **ret, struct err *e) {
	struct blob_stream *s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(e, ENOMEM, "out of memory");
	s->r = r;
	s->size = size;
	snprintf(s->path, sizeof(s->path), "%s", path);
	snprintf(s->digest, sizeof(s->digest), "%s", digest);
	snprintf(s->scope, sizeof(s->scope), "repository:%s:pull", path);
	snprintf(s->url, sizeof(s->url), "/%s/blobs/%s", path, digest);
	unsigned conns = o && o->connections ? MIN(o->connections, 8u) : CONNECTIONS;
	s->piece_len = o && o->piece ? o->piece : PIECE;
	if (size <= (o && o->piece ? o->piece : (uint64_t)LARGE) || conns == 1) {
		s->piece_len = MAX(size, (uint64_t)1);
		conns = 1;
	}
	s->n_pieces = (size + s->piece_len - 1) / s->piece_len;
	s->n_slots = conns == 1 ? 1 : conns + 1;
	s->max_threads = conns;
	s->reserve_left = RESERVE_PAGES;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->changed, NULL);
	for (unsigned i = 0; i < conns && size; i++) {
		if (pthread_create(&s->threads[i], NULL, fetcher, s) != 0) {
			if (i)
				break;
			blob_stream_close(s);
			return err_set(e, EAGAIN, "no thread for a download");
		}
		s->n_threads++;
	}
	*ret = s;
	return 0;
}

ssize_t blob_stream_next(struct blob_stream *s, const uint8_t **ret, struct err *e) {
	ssize_t r = 0;
	pthread_mutex_lock(&s->lock);
	if (s->lent) {
		page_put(s, s->lent);
		s->lent = NULL;
		pthread_cond_broadcast(&s->changed);
	}
	while (s->read_off < s->size) {
		struct piece *p = &s->slots[s->head % s->n_slots];
		bool current = s->next_piece > s->head && p->index == s->head;
		/* A page is ready when it is full or the last of a piece that is complete. */
		if (current && p->first && (p->first->len == PAGE || p->got == p->len)) {
			struct page *g = p->first;
			p->first = g->next;
			if (!p->first)
				p->last = NULL;
			s->lent = g;
			s->read_off += g->len;
			*ret = g->data;
			r = (ssize_t)g->len;
			break;
		}
		if (current && !p->first && p->got == p->len && s->head + 1 < s->n_pieces && !s->whole) {
			s->head++;
			pthread_cond_broadcast(&s->changed);
			continue;
		}
		if (s->failed) {
			r = s->failed;
			if (e)
				err_set(e, s->failed, "%s", err_msg(&s->err));
			break;
		}
		pthread_cond_wait(&s->changed, &s->lock);
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

void blob_stream_close(struct blob_stream *s) {
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	for (unsigned i = 0; i < s->n_threads; i++)
		pthread_join(s->threads[i], NULL);
	page_put(s, s->lent);
	for (unsigned i = 0; i < s->n_slots; i++)
		for (struct page *g = s->slots[i].first, *next; g; g = next) {
			next = g->next;
			page_put(s, g);
		}
	err_clear(&s->err);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->changed);
	free(s);
}
