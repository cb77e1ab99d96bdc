/* Extended regular expressions for --regex: literals, . [] * + ? | () ^ $ and backslash. The C library's engine is a quarter of this program's
 * size with what it pulls in, for one option. */
#include "cmd/oci/match.h"

#include <errno.h>
#include <string.h>

enum {
	STEPS_MAX = 100000, /* a pattern like (a*)*b backtracks without end */
	PATTERN_MAX = 1024, /* groups in groups: bounds the recursion of the checker */
	DEPTH_MAX = 1000,   /* recursion: one frame per matched piece */
};

struct matcher { const char *end; unsigned *steps, depth; bool full; };
/* What follows a piece: the rest of the pattern, then what follows that. */
struct next { const char *p, *end; const struct next *up; };

static bool match_alt(struct matcher *m, const char *p, const char *end, const char *s, const char *start, const struct next *up);

/* End of the bracket expression that begins at p, or NULL. */
static const char *bracket_end(const char *p, const char *end) {
	p++;
	if (p < end && *p == '^')
		p++;
	if (p < end && *p == ']')
		p++;
	while (p < end && *p != ']')
		p++;
	return p < end ? p + 1 : NULL;
}

static bool in_bracket(const char *p, const char *end, unsigned char c) {
	bool negate = p[1] == '^', hit = false;
	p += 1 + negate;
	for (bool first = true; p < end - 1 || first; first = false) {
		unsigned char lo = (unsigned char)p[0], hi = lo;
		if (p + 2 < end - 1 && p[1] == '-') {
			hi = (unsigned char)p[2];
			p += 2;
		}
		p++;
		hit |= c >= lo && c <= hi;
	}
	return hit != negate;
}

/* End of the atom at p (a character, an escape, a bracket expression, a group); NULL when it is malformed. */
static const char *atom_end(const char *p, const char *end) {
	if (*p == '\\')
		return p + 1 < end ? p + 2 : NULL;
	if (*p == '[')
		return bracket_end(p, end);
	if (*p != '(')
		return *p == ')' || *p == '*' || *p == '+' || *p == '?' ? NULL : p + 1;
	bool atom = false; /* what an operator could apply to */
	for (p++; p < end && *p != ')';) {
		bool op = *p == '*' || *p == '+' || *p == '?';
		if (op && !atom)
			return NULL;
		atom = !op && *p != '|' && *p != '^';
		p = op || *p == '|' ? p + 1 : atom_end(p, end);
		if (!p)
			return NULL;
	}
	return p < end ? p + 1 : NULL;
}

static bool one(const char *p, const char *end, char c) {
	if (*p == '.')
		return true;
	if (*p == '[')
		return in_bracket(p, end, (unsigned char)c);
	return *p == '\\' ? p[1] == c : *p == c;
}

static bool match_seq(struct matcher *m, const char *p, const char *end, const char *s, const char *start, const struct next *up);

/* count: how often the atom has matched already. */
static bool match_repeat(struct matcher *m, const char *atom, const char *after, char op, const char *rest, const char *end, const char *s, const char *start,
	const struct next *up, unsigned count) {
	unsigned min = op == '+' ? 1 : 0, max = op == '?' ? 1 : ~0U;
	if (++*m->steps > STEPS_MAX || m->depth > DEPTH_MAX)
		return false;
	if (count < max) {
		m->depth++;
		bool hit = false;
		if (*atom == '(') {
			/* the group once, then the same again: written as a pattern of its own behind it only for the greedy case of one more */
			for (const char *e = m->end; !hit && e > s; e--) {
				struct matcher part = { e, m->steps, m->depth, true };
				hit = match_alt(&part, atom + 1, after - 1, s, start, NULL) && match_repeat(m, atom, after, op, rest, end, e, start, up, count + 1);
			}
		} else if (s < m->end && one(atom, after, *s))
			hit = match_repeat(m, atom, after, op, rest, end, s + 1, start, up, count + 1);
		m->depth--;
		if (hit)
			return true;
	}
	return count >= min && match_seq(m, rest, end, s, start, up);
}

static bool match_seq(struct matcher *m, const char *p, const char *end, const char *s, const char *start, const struct next *up) {
	while (p < end) {
		if (++*m->steps > STEPS_MAX || m->depth > DEPTH_MAX)
			return false;
		if (*p == '^' || *p == '$') {
			if (*p == '^' ? s != start : s != m->end)
				return false;
			p++;
			continue;
		}
		const char *after = atom_end(p, end);
		char op = after && after < end ? *after : 0;
		if (op == '*' || op == '+' || op == '?')
			return match_repeat(m, p, after, op, after + 1, end, s, start, up, 0);
		if (*p == '(') {
			struct next n = { after, end, up };
			m->depth++;
			bool hit = match_alt(m, p + 1, after - 1, s, start, &n);
			m->depth--;
			return hit;
		}
		if (s >= m->end || !one(p, after, *s))
			return false;
		s++;
		p = after;
	}
	if (up)
		return match_seq(m, up->p, up->end, s, start, up->up);
	return !m->full || s == m->end;
}

static bool match_alt(struct matcher *m, const char *p, const char *end, const char *s, const char *start, const struct next *up) {
	const char *from = p;
	while (p <= end) {
		if (p == end || *p == '|') {
			if (match_seq(m, from, p, s, start, up))
				return true;
			from = p + 1;
			p++;
			continue;
		}
		const char *q = *p == '*' || *p == '+' || *p == '?' ? p + 1 : atom_end(p, end);
		p = q ? q : end;
	}
	return false;
}

int match_check(const char *pattern) {
	const char *end = pattern + strlen(pattern);
	bool atom = false;
	if (end - pattern > PATTERN_MAX)
		return -EINVAL;
	for (const char *p = pattern; p < end;) {
		bool op = *p == '*' || *p == '+' || *p == '?';
		if (op && !atom)
			return -EINVAL;
		atom = !op && *p != '|' && *p != '^';
		const char *q = op || *p == '|' ? p + 1 : atom_end(p, end);
		if (!q)
			return -EINVAL;
		p = q;
	}
	return 0;
}

bool match(const char *pattern, const char *text) {
	size_t n = strlen(text);
	unsigned steps = 0;
	for (size_t i = 0; i <= n; i++) {
		struct matcher m = { text + n, &steps, 0, false };
		if (match_alt(&m, pattern, pattern + strlen(pattern), text + i, text, NULL))
			return true;
	}
	return false;
}
