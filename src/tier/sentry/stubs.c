/* Families that are not here yet: each function moves to its own file when the family is built. */
#include <errno.h>

#include "tier/sentry/fs/hosttty.h"
#include "tier/sentry/fs/tty.h"
#include "tier/sentry/task/exit.h"
#include "tier/sentry/vfs/vfs.h"

#include "tier/sentry/confine.h"
