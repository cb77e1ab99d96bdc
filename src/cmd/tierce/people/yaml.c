/* YAML to a JSON tree: see yaml.h. */
#include "cmd/tierce/people/yaml.h"

#include <errno.h>
#include <yaml.h>

struct conv { struct arena *a; struct err *e; yaml_document_t *doc; size_t nodes; unsigned depth; };

static int fail(struct conv *c, const yaml_node_t *n, const char *what) {
	return err_set(c->e, -EINVAL, "invalid YAML: line %zu, column %zu: %s", n->start_mark.line + 1, n->start_mark.column + 1, what);
}

static bool is_number(const char *s) {
	struct json *j;
	_cleanup_arena_ struct arena a = ARENA_INIT;
	return (*s == '-' || (*s >= '0' && *s <= '9')) && json_parse(&a, s, strlen(s), &j, NULL) == 0 && j->type == JSON_NUMBER;
}

static void scalar(const yaml_node_t *n, struct json *j) {
	static const char *const nulls[] = { "", "~", "null", "Null", "NULL" }, *const yes[] = { "true", "True", "TRUE" }, *const no[] = { "false", "False", "FALSE" };
	bool plain = n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	j->type = JSON_STRING;
	for (size_t i = 0; plain && i < ARRAY_SIZE(nulls); i++)
		if (streq(j->text, nulls[i])) {
			j->type = JSON_NULL;
			return;
		}
	for (size_t i = 0; plain && i < 3; i++)
		if (streq(j->text, yes[i]) || streq(j->text, no[i])) {
			j->type = JSON_BOOL;
			j->boolean = streq(j->text, yes[i]);
			return;
		}
	if (plain && is_number(j->text))
		j->type = JSON_NUMBER;
}

static int convert(struct conv *c, yaml_node_t *n, struct json **ret) {
	struct json *j = arena_new(c->a, struct json), **tail;
	if (!j)
		return err_sys(c->e, -ENOMEM, "read YAML");
	if (++c->nodes > YAML_NODES_MAX)
		return fail(c, n, "too many nodes");
	if (++c->depth > JSON_MAX_DEPTH)
		return fail(c, n, "nested too deep");
	*ret = j;
	tail = &j->first;
	int r = 0;
	switch (n->type) {
	case YAML_SCALAR_NODE:
		j->text = arena_strndup(c->a, (const char *)n->data.scalar.value, n->data.scalar.length);
		j->len = (uint32_t)n->data.scalar.length;
		if (!j->text)
			r = err_sys(c->e, -ENOMEM, "read YAML");
		else if (strlen(j->text) != n->data.scalar.length)
			r = fail(c, n, "NUL character in a scalar");
		else
			scalar(n, j);
		break;
	case YAML_SEQUENCE_NODE:
		j->type = JSON_ARRAY;
		for (yaml_node_item_t *i = n->data.sequence.items.start; r == 0 && i < n->data.sequence.items.top; i++) {
			r = convert(c, yaml_document_get_node(c->doc, *i), tail);
			tail = r == 0 ? &(*tail)->next : tail;
			j->len++;
		}
		break;
	case YAML_MAPPING_NODE:
		j->type = JSON_OBJECT;
		for (yaml_node_pair_t *i = n->data.mapping.pairs.start; r == 0 && i < n->data.mapping.pairs.top; i++) {
			yaml_node_t *key = yaml_document_get_node(c->doc, i->key);
			if (key->type != YAML_SCALAR_NODE)
				return fail(c, key, "a key must be a scalar");
			const char *name = arena_strndup(c->a, (const char *)key->data.scalar.value, key->data.scalar.length);
			if (!name)
				return err_sys(c->e, -ENOMEM, "read YAML");
			if (json_get(j, name))
				return fail(c, key, "the key stands twice");
			r = convert(c, yaml_document_get_node(c->doc, i->value), tail);
			if (r == 0) {
				(*tail)->key = name;
				tail = &(*tail)->next;
				j->len++;
			}
		}
		break;
	default:
		r = fail(c, n, "unknown node");
	}
	c->depth--;
	return r;
}

int yaml_parse(struct arena *a, const char *text, size_t n, struct json **ret, struct err *e) {
	yaml_parser_t parser;
	struct json *all = arena_new(a, struct json), **tail;
	int r = 0;
	if (!all || !yaml_parser_initialize(&parser))
		return err_sys(e, -ENOMEM, "read YAML");
	all->type = JSON_ARRAY;
	tail = &all->first;
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, n);
	struct conv c = { .a = a, .e = e };
	while (r == 0) {
		yaml_document_t doc;
		if (!yaml_parser_load(&parser, &doc)) {
			r = err_set(e, -EINVAL, "invalid YAML: line %zu, column %zu: %s", parser.problem_mark.line + 1, parser.problem_mark.column + 1, parser.problem ? parser.problem : "cannot be read");
			break;
		}
		yaml_node_t *root = yaml_document_get_root_node(&doc);
		if (!root) {
			yaml_document_delete(&doc);
			break;
		}
		c.doc = &doc;
		r = convert(&c, root, tail);
		if (r == 0) {
			tail = &(*tail)->next;
			all->len++;
		}
		yaml_document_delete(&doc);
	}
	yaml_parser_delete(&parser);
	if (r == 0)
		*ret = all;
	return r;
}
