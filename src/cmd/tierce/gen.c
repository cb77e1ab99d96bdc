/* Man pages and completions of tierce, at build time. */
#include "cmd/oci/docgen.h"
#include "cmd/tierce/cli.h"

int main(int argc, char **argv)
{
	static const struct docgen_names names[] = {
		{ "volume", "VOLUME", "volume ls -q", 0 }, { "network", "NETWORK", "network ls -q", 0 }, { "secret", "SECRET", "secret ls -q", 0 }, { "pod", "POD", "pod ps -q", 0 }, { NULL, "CONTAINER", "ps -a --format \"{{.Names}}\"", 0 },
		{ NULL, "IMAGE", "images --format \"{{.Repository}}:{{.Tag}}\"", 0 }, { NULL, "NAME...", "ps -a --format \"{{.Names}}\"", 0 },
	};
	const struct docgen d = {
		.prog = "tierce", .also = "", .one_line = "containers, pods and images, without a daemon", .version = TIERCE_VERSION_TEXT,
		.description = "tierce pulls images, runs containers and pods from them, and manages what they leave. Its words are those of podman and docker. The wall around each "
			"container is chosen by --isolation: ns (namespaces on the shared kernel), sentry (a kernel in user space) or vm (a machine with a kernel of its own).\n",
		.files = ".TP\n.I /var/lib/tierce\nimages, layers, volumes and containers of root; below \\fI$XDG_DATA_HOME/tierce\\fR for other users.\n"
			".TP\n.I /run/tierce\\-people\nstate of running containers.\n",
		.exit_status = "run and exec exit with the status of the container's process, 128+n when signal n ended it; 125 is an error of tierce itself, 126 a program that cannot be "
			"executed, 127 one that is not found.",
		.commands = commands, .global_opts = global_opts, .n_global_opts = n_global_opts, .names = names, .n_names = ARRAY_SIZE(names),
	};
	return docgen_main(&d, argc, argv);
}
