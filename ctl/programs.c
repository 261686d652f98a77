#include "ctl/programs.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

int programs_find(char ret[static PROGRAMS_DIR_SIZE])
{
	static const char *const places[] = {"", "/../libexec/standpipe"};
	char self[PATH_MAX], program[2 * PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (n < 0)
		return -errno;
	self[n] = '\0';
	slash = strrchr(self, '/');
	*slash = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		snprintf(program, sizeof(program), "%s%s/standpipe-ingest", self, places[i]);
		if (access(program, X_OK) == 0) {
			snprintf(ret, PROGRAMS_DIR_SIZE, "%s%s", self, places[i]);
			return 0;
		}
	}
	return -ENOENT;
}
