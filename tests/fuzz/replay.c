/*
 * A main for one fuzz target: runs it over every file of a corpus, so that what was found once is
 * tested for ever without a fuzzer. The corpus is the folder given as argument, or
 * tests/corpus/NAME for a program called fuzz_NAME, from the project's root. A crash ends it.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PROGRAM_PREFIX "fuzz_"
/* Corpora hold small inputs; a pipe message, the largest thing that is decoded, has at most this
 * size. */
#define INPUT_MAX      MIB(8)

static int is_input(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* -EFBIG for what no decoder is given in one piece. */
static int read_input(const char *path, struct buf *out)
{
	FILE *f = fopen(path, "re");
	size_t n;

	if (!f)
		return -errno;
	do {
		uint8_t block[4096];

		n = fread(block, 1, sizeof(block), f);
		if (n > out->max - out->len)
			break;
		buf_append(out, span_of(block, n));
	} while (n > 0);
	fclose(f);
	return n > 0 ? -EFBIG : 0;
}

/* From memory of just the input's size, so that reading past it shows. */
static int replay(const char *path)
{
	struct buf input;
	uint8_t *copy;
	int error;

	buf_init(&input, INPUT_MAX);
	error = read_input(path, &input);
	if (!error) {
		copy = xmalloc(input.len);
		if (input.len > 0)
			memcpy(copy, input.ptr, input.len);
		LLVMFuzzerTestOneInput(copy, input.len);
		free(copy);
	}
	buf_release(&input);
	return error;
}

/* How many inputs were replayed, or what kept one from being read. */
static int replay_all(const char *folder, struct dirent **entries, int count)
{
	for (int i = 0; i < count; i++) {
		char path[4096];
		int error;

		snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
		error = replay(path);
		if (error)
			return error;
	}
	return count;
}

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/'), *program = slash ? slash + 1 : argv[0];
	const char *at = strstr(program, PROGRAM_PREFIX);
	const char *name = at ? at + strlen(PROGRAM_PREFIX) : program;
	struct dirent **entries;
	char folder[2048];
	int count, done;

	snprintf(folder, sizeof(folder), "tests/corpus/%s", name);
	if (argc > 1)
		snprintf(folder, sizeof(folder), "%s", argv[1]);
	count = scandir(folder, &entries, is_input, alphasort);
	if (count <= 0) {
		printf("not ok fuzz_%s: no corpus in %s\n", name, folder);
		return 1;
	}
	done = replay_all(folder, entries, count);
	for (int i = 0; i < count; i++)
		free(entries[i]);
	free(entries);
	if (done < 0) {
		printf("not ok fuzz_%s: %s: %s\n", name, folder, strerror(-done));
		return 1;
	}
	printf("ok fuzz_%s: replayed %d inputs\n", name, done);
	return 0;
}
