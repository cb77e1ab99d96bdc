/* Man pages and completions of tierce-oci, at build time. */
#include "cmd/oci/cli.h"
#include "cmd/oci/docgen.h"
#include "version.h"

int main(int argc, char **argv)
{
	static const struct docgen_names names[] = { { NULL, "<container-id>", "list -q", 'c' }, { NULL, "add|remove", "list -q", 's' } };
	const struct docgen d = {
		.prog = "tierce-oci", .also = "tierce-oci-sentry tierce-oci-vm", .one_line = "Open Container Initiative runtime", .version = TIERCE_VERSION,
		.description = "tierce-oci runs containers that an OCI bundle describes. It takes the command lines of runc and of crun, so that container engines use it in their "
			"place. The wall around each container is chosen by --isolation, by the annotation dev.tierce.isolation, by the name the program is called by "
			"(tierce-oci-sentry, tierce-oci-vm), or by the configuration file.\n",
		.files = ".TP\n.I /run/tierce\nstate of the containers of root.\n.TP\n.I /etc/tierce/tierce.conf\nlines \\fIkey\\fR = \\fIvalue\\fR; keys are isolation, "
			"cgroup\\-manager and criu.\n",
		.exit_status = "run and exec exit with the status of the container's process, 128+n when signal n ended it. An error of the runtime itself is 1, for exec 255.",
		.commands = commands, .global_opts = global_opts, .n_global_opts = n_global_opts, .names = names, .n_names = ARRAY_SIZE(names),
	};
	return docgen_main(&d, argc, argv);
}
