/* Frames of a recording come one after another out of what is in it, and nothing twice. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "validate/recording.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct recording r;
	struct span frame;
	char path[64];
	size_t sum = 0;
	int result, fd = memfd_create("recording", MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (recording_open(&r, path) < 0)
		abort();
	while ((result = recording_next(&r, &frame)) == 1) {
		assert(frame.len <= size - sum);
		sum += frame.len;
	}
	assert(result == 0 || recording_next(&r, &frame) == result);
	recording_close(&r);
	close(fd);
	return 0;
}
