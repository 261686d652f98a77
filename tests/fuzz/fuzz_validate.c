/* A whole event, as the stage checks it: any frame, and the keys that signed those of the corpus.
 */
#include <assert.h>
#include <stdlib.h>

#include "common/multikey.h"
#include "validate/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RECEIVED  UINT64_C(1767323045678000)
#define REV_DRIFT UINT64_C(300000000)

static void check(struct checker *c, const struct signature_key *key, const struct frame *f,
		  bool is_legacy)
{
	const struct check_rules rules = {
		.received_usec = RECEIVED,
		.rev_drift_usec = REV_DRIFT,
		.is_legacy = is_legacy,
	};
	struct verified facts = {0};
	enum verdict v;

	if (check_fields(f, &rules) != VERDICT_ACCEPTED ||
	    (f->kind != EVENT_COMMIT && f->kind != EVENT_SYNC))
		return;
	v = check_blocks(c, f, key, &rules, &facts);
	if (v == VERDICT_ACCEPTED)
		assert(tid_is_valid(span_of(facts.rev, TID_SIZE)));
	/* The signature is all that the other lacks. */
	assert(v == VERDICT_BAD_SIGNATURE || check_unsigned_blocks(c, f, &rules, &facts) == v);
	assert(checker_memory_bytes(c) < (int64_t)MIB(64));
}

static void parse_key(struct checker *c, const char *multikey, struct signature_key *ret)
{
	struct public_key key;

	if (multikey_parse(span_str(multikey), &key) < 0 ||
	    signatures_parse_key(checker_signatures(c), &key, ret) < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct checker *checker;
	static struct signature_key keys[2];
	static struct frame f;

	if (!checker) {
		checker = checker_new();
		parse_key(checker, "zQ3shV8Zzvd2JSJFoHs1bM9hp5b2VJdYXoUDgQYbzWpL9V2qf", &keys[0]);
		parse_key(checker, "zDnaefBMY7tvk7cXkYjPLw6Wu8NparwENCzMpwyfkqgmtmMMi", &keys[1]);
	}
	if (frame_decode(span_of(data, size), &f) != VERDICT_ACCEPTED)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		check(checker, &keys[i], &f, false);
		check(checker, &keys[i], &f, true);
	}
	return 0;
}
