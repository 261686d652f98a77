/*
 * The unit tests' harness. A test file is a list of TEST(name) { ... } and links with tests/test.c,
 * which has main: it runs every test and prints one line for each, "ok FILE: NAME", "not ok FILE:
 * NAME" or "skip FILE: NAME: REASON". tests/summary adds up such lines. A failed CHECK says where
 * and what, and the test goes on to its end. One that crashes is "not ok" as well, and the last.
 *
 * tests that need ../shared/vectors ask test_vectors() and SKIP when it is NULL.
 * Randomised tests use test_random, whose seed is printed and can be given as TEST_SEED.
 */
#pragma once

#include <inttypes.h>
#include <stdio.h>

#include "common/bytes.h"

struct test {
	const char *name;
	void (*run)(void);
	struct test *next;
};

void test_register(struct test *t);
void test_fail(const char *file, int line, const char *format, ...) PRINTF(3, 4);
/* Of the test that runs: one function may be many tests. */
const char *test_name(void);
/* Whether a check of the test that runs has failed so far. */
bool test_has_failed(void);
void test_skip(const char *format, ...) PRINTF(1, 2);
/* The folder of the interop test files, or NULL. */
const char *test_vectors(void);
/* Reads a whole file, or ends the process. Free buf with buf_release. */
void test_read_file(const char *path, struct buf *ret);
/* A fresh empty folder, removed at the end of the process. Valid until then. */
const char *test_folder(void);
/* The folder of the programs: $STANDPIPE_BUILD, or the one that the test's own is in. */
const char *test_programs(void);
uint64_t test_random(void);
/* Whether the text stands in s, which may be empty. */
bool test_contains(struct span s, const char *text);
/* Hex digits, spaces ignored, to bytes. Appends. */
void test_hex(const char *hex, struct buf *out);

#define TEST(fn)                                                                                   \
	static void fn(void);                                                                      \
	__attribute__((constructor)) static void fn##_register(void)                               \
	{                                                                                          \
		static struct test t = {#fn, fn, NULL};                                            \
		test_register(&t);                                                                 \
	}                                                                                          \
	static void fn(void)

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond))                                                                       \
			test_fail(__FILE__, __LINE__, "%s", #cond);                                \
	} while (0)
#define CHECK_INT(got, want)                                                                       \
	do {                                                                                       \
		intmax_t got_ = (intmax_t)(got), want_ = (intmax_t)(want);                         \
		if (got_ != want_)                                                                 \
			test_fail(__FILE__, __LINE__, "%s is %jd, not %jd", #got, got_, want_);    \
	} while (0)
#define CHECK_STR(got, want)                                                                       \
	do {                                                                                       \
		const char *got_ = (got), *want_ = (want);                                         \
		if (strcmp(got_, want_) != 0)                                                      \
			test_fail(__FILE__, __LINE__, "%s is \"%s\", not \"%s\"", #got, got_,      \
				  want_);                                                          \
	} while (0)
#define CHECK_SPAN(got, want)                                                                      \
	do {                                                                                       \
		if (!span_equal((got), (want)))                                                    \
			test_fail(__FILE__, __LINE__, "%s differs from %s", #got, #want);          \
	} while (0)
#define SKIP(...)                                                                                  \
	do {                                                                                       \
		test_skip(__VA_ARGS__);                                                            \
		return;                                                                            \
	} while (0)
