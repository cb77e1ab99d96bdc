/* Templates of --format. Input: a template; the document is fixed, with lists in lists. */
#include <stdlib.h>
#include <string.h>

#include "cmd/tierce/gotemplate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	static const char doc[] = "{\"A\":\"text\",\"N\":12,\"L\":[1,2,[3,4]],\"M\":{\"k\":\"v\",\"o\":{\"p\":null}},\"T\":true,\"E\":[]}";
	static const struct template_shown shown[] = { { "A", "shown" }, { "N", "a dozen" } };
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct json *j;
	char *text = strndup((const char *)data, size);
	if (text && json_parse(&a, doc, strlen(doc), &j, NULL) == 0)
		for (size_t n = 0; n <= 2; n += 2) {
			_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
			_cleanup_err_ struct err e = ERR_INIT;
			if (go_template(text, j, shown, n, &out, &e) < 0 && !*err_msg(&e))
				__builtin_trap();
		}
	free(text);
	return 0;
}
