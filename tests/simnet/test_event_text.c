#include "tests/simnet/event_text.h"

#include "tests/lib/frame.h"
#include "tests/test.h"

#define DID "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"

static void check(const struct buf *frame, const char *want)
{
	struct buf line;

	buf_init(&line, KIB(4));
	event_put_text(buf_span(frame), &line);
	buf_put_u8(&line, '\0');
	CHECK_STR((const char *)line.ptr, want);
	buf_release(&line);
}

TEST(a_commit)
{
	struct repo_commit commit;
	struct repo repo;
	struct buf frame;
	char want[512];

	buf_init(&frame, LIMIT_FRAME);
	repo_init(&repo, CURVE_K256, "an account");
	repo_put_number(&repo, "com.example.record/1", 1);
	repo_put_number(&repo, "com.example.record/2", 1);
	repo_commit(&repo, 1700000000000000, &commit);
	repo_commit_release(&commit);
	repo_delete(&repo, "com.example.record/1");
	repo_put_number(&repo, "com.example.record/2", 2);
	for (unsigned i = 3; i < 6; i++) {
		snprintf(want, sizeof(want), "com.example.record/%u", i);
		repo_put_number(&repo, want, i);
	}
	repo_commit(&repo, 1700000000000000, &commit);
	frame_put_commit(&frame, 123456, &commit);
	snprintf(want, sizeof(want),
		 "  123456  #commit    %s  delete com.example.record/1, update "
		 "com.example.record/2, create com.example.record/3 and 2 more",
		 repo.did);
	check(&frame, want);
	repo_commit_release(&commit);
	repo_release(&repo);
	buf_release(&frame);
}

TEST(other_events)
{
	struct buf frame;

	buf_init(&frame, KIB(4));
	frame_put_identity(&frame, 1, DID, "alice.test");
	check(&frame, "       1  #identity  " DID "  alice.test");
	buf_clear(&frame);
	frame_put_identity(&frame, 2, DID, NULL);
	check(&frame, "       2  #identity  " DID);
	buf_clear(&frame);
	frame_put_account(&frame, 3, DID, true, NULL);
	check(&frame, "       3  #account   " DID "  active");
	buf_clear(&frame);
	frame_put_account(&frame, 4, DID, false, "takendown");
	check(&frame, "       4  #account   " DID "  inactive  takendown");
	buf_release(&frame);
}

TEST(messages_that_are_no_events)
{
	struct buf frame;

	buf_init(&frame, KIB(4));
	check(&frame, "no event: 0 bytes");
	frame_put_info(&frame, "OutdatedCursor", "too old");
	check(&frame, "#info OutdatedCursor: too old");
	buf_clear(&frame);
	frame_put_error(&frame, "FutureCursor", NULL);
	check(&frame, "error FutureCursor");
	buf_clear(&frame);
	test_hex("a0 01", &frame);
	check(&frame, "no event: 2 bytes");
	buf_release(&frame);
}
