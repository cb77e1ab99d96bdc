/* Go's templates as far as --format has them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cmd/tierce/gotemplate.h"

static const char doc[] = "{\"Name\":\"web\",\"Size\":12345678,\"On\":true,\"Off\":false,\"Nil\":null,\"Empty\":[],\"Mounts\":[{\"Source\":\"/a\",\"Target\":\"/b\"},{\"Source\":\"/c\",\"Target\":\"/d\"}],"
	"\"Labels\":{\"one\":\"1\",\"two.dots\":\"2\"},\"Names\":[\"x\",\"y\"],\"State\":{\"Pid\":7}}";

static char *run(const char *t, bool list, int want) {
	static char out[4096];
	static const struct template_shown shown[] = { { "Name", "web" }, { "Size", "12.3 MB" } };
	struct arena a = ARENA_INIT;
	struct strbuf b = STRBUF_INIT;
	struct json *j;
	struct err e = ERR_INIT;
	assert_int_equal(json_parse(&a, doc, strlen(doc), &j, NULL), 0);
	int r = go_template(t, j, shown, list ? 2 : 0, &b, &e);
	snprintf(out, sizeof(out), "%s", r < 0 ? err_msg(&e) : strbuf_str(&b));
	assert_int_equal(r < 0 ? -1 : 0, want);
	err_clear(&e);
	strbuf_free(&b);
	arena_free(&a);
	return out;
}

static void test_output(void **state) {
	(void)state;
	static const struct { const char *t, *want; } rows[] = {
		{ "plain\\ttext\\n", "plain\ttext\n" }, { "{{.Name}}", "web" }, { "{{ .State.Pid }}", "7" }, { "{{.name}}", "web" }, { "{{json .Names}}", "[\"x\",\"y\"]" },
		{ "{{.Names}} {{.Labels}}", "[x y] map[one:1 two.dots:2]" }, { "{{index .Labels \"two.dots\"}}", "2" }, { "{{index .Names 1}}", "y" }, { "{{index .Labels \"no\"}}", "<no value>" },
		{ "{{range .Mounts}}{{.Source}}:{{.Target}} {{end}}", "/a:/b /c:/d " }, { "{{range $i, $m := .Mounts}}{{$i}}={{$m.Source}};{{end}}", "0=/a;1=/c;" },
		{ "{{range $k, $v := .Labels}}{{$k}}={{$v}},{{end}}", "one=1,two.dots=2," }, { "{{range .Empty}}x{{else}}none{{end}}", "none" }, { "{{range .Names}}{{$.Name}}-{{.}} {{end}}", "web-x web-y " },
		{ "{{if .On}}on{{else}}off{{end}}", "on" }, { "{{if .Off}}on{{else}}off{{end}}", "off" }, { "{{if .Missing}}a{{else if .On}}b{{else}}c{{end}}", "b" }, { "{{if .Off}}a{{else if .Nil}}b{{else}}c{{end}}", "c" },
		{ "{{with .State}}{{.Pid}}{{end}}", "7" }, { "{{with .Missing}}x{{else}}y{{end}}", "y" }, { "{{if and .On (eq .Name \"web\")}}yes{{end}}", "yes" }, { "{{if or .Off (gt .Size 5)}}yes{{end}}", "yes" },
		{ "{{if not .On}}no{{end}}", "" }, { "{{if ne .Name \"db\" }}ne{{end}}", "ne" }, { "{{eq .Name \"a\" \"web\"}}", "true" }, { "{{lt 3 20}}{{le 3 3}}{{ge 2 3}}", "truetruefalse" },
		{ "{{.Name | upper}} {{ .Name|upper|lower }}", "WEB web" }, { "{{join .Names \", \"}}", "x, y" }, { "{{join \",\" .Names}}", "x,y" }, { "{{len .Names}}{{len .Name}}", "23" }, { "{{range split \"a-b\" \"-\"}}[{{.}}]{{end}}", "[a][b]" },
		{ "{{printf \"%-5s|%3d|%q|%%\" .Name .State.Pid \"a\"}}", "web  |  7|\"a\"|%" }, { "{{truncate .Name 2}}", "we" }, { "{{title \"hello world\"}}", "Hello World" }, { "a {{- \" b \" -}} c", "a b c" },
		{ "{{/* nothing */}}x", "x" }, { "{{$x := .Name}}{{$x}}{{if .Off}}{{$y := 1}}{{$y}}{{end}}", "web" }, { "{{\"}}\"}}", "}}" }, { "{{(index .Mounts 1).Target}}", "/d" }, { "{{println .Name 1}}", "web 1\n" },
		{ "{{range .Mounts}}{{if eq .Source \"/a\"}}{{range $.Names}}{{.}}{{end}}{{end}}{{end}}", "xy" }, { "{{.Nil}}", "<no value>" }, { "{{json .}}", doc },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_string_equal(run(rows[i].t, false, 0), rows[i].want);
	assert_string_equal(run("{{.Size}} {{json .Size}} {{upper .Size}}", true, 0), "12.3 MB 12345678 12.3 MB");
}

static void test_errors(void **state) {
	(void)state;
	static const char *const rows[] = { "{{.Missing}}", "{{.Name", "{{if .On}}x", "{{end}}", "{{else}}", "{{nosuch .Name}}", "{{.Name | nosuch}}", "{{range .Name}}x{{end}}", "{{upper}}", "{{json .Missing}}", "{{$x}}",
		"{{index .Names 9}}", "{{\"a}}", "{{(.Name}}", "{{.Name .Size}}", "{{if .On}}a{{else b}}c{{end}}", "{{eq .Name}}", "{{%}}" };
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		run(rows[i], false, -1);
	char deep[4096] = "";
	for (int i = 0; i < 100; i++)
		strcat(deep, "{{if .On}}");
	run(deep, false, -1);
	assert_non_null(strstr(run("{{.Colour}}", true, -1), "there are Name, Size"));
}

int main(void) {
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_output), cmocka_unit_test(test_errors) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
