#include "common/verdict.h"
#include "tests/test.h"

static bool is_metric_label(const char *name)
{
	return *name && strspn(name, "abcdefghijklmnopqrstuvwxyz_") == strlen(name);
}

TEST(names_are_labels_and_unique)
{
	unsigned known = 0;

	for (unsigned i = 0; i < VERDICT_MAX; i++) {
		const struct verdict_info *info = verdict_info((enum verdict)i);

		CHECK(is_metric_label(info->name));
		if (strcmp(info->name, "unknown") == 0)
			continue;
		known++;
		CHECK(*info->section && *info->text);
		for (unsigned k = 0; k < i; k++)
			CHECK(strcmp(verdict_info((enum verdict)k)->name, info->name) != 0);
	}
	/* As many as the header has. */
	CHECK_INT(known, 30);
}

TEST(unused_numbers_are_unknown)
{
	static const int numbers[] = {9, 15, 23, 38, 53, 67, 95, VERDICT_MAX, 255, 1 << 30};

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		CHECK_STR(verdict_info((enum verdict)numbers[i])->name, "unknown");
}

TEST(numbers_keep_their_meaning)
{
	CHECK_STR(verdict_info(0)->name, "accepted");
	CHECK_STR(verdict_info(2)->name, "frame_bad_cbor");
	CHECK_STR(verdict_info(21)->name, "wrong_host");
	CHECK_STR(verdict_info(37)->name, "bad_signature");
	CHECK_STR(verdict_info(51)->name, "inversion_failed");
	CHECK_STR(verdict_info(65)->name, "stale_rev");
}

TEST(only_replays_are_replays)
{
	for (unsigned i = 0; i < VERDICT_MAX; i++)
		CHECK_INT(verdict_is_replay((enum verdict)i),
			  i == VERDICT_DUPLICATE || i == VERDICT_STALE_REV);
}
