/* What validate says of a log's events, when a lost state is made anew from them. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cbor.h"
#include "common/exchange.h"
#include "common/limits.h"
#include "common/message.h"
#include "tests/lib/edit.h"
#include "tests/lib/frame.h"
#include "tests/test.h"

#define USEC UINT64_C(1767323045678000)

/* One question to a process of its own. Whether it has facts; ret borrows from out. */
static bool ask(struct span frame, struct buf *out, struct verified *ret)
{
	const struct event e = {.ticket = 7,
				.host_id = 9,
				.host_epoch = 2,
				.host_seq = 5,
				.received_usec = USEC,
				.frame = frame};
	char path[4096], command[9000];
	struct buf question;
	struct reader r;
	FILE *f;
	int fd, status;

	snprintf(path, sizeof(path), "%s/question", test_folder());
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	buf_init(&question, LIMIT_MESSAGE);
	event_encode(&question, &e);
	CHECK_INT(exchange_write(fd, buf_span(&question)), 0);
	close(fd);
	buf_release(&question);
	snprintf(command, sizeof(command), "%s/standpipe-validate --facts <%s", test_programs(),
		 path);
	f = popen(command, "re");
	CHECK_INT(exchange_read(fileno(f), out), 1);
	status = pclose(f);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	r = reader_of(buf_span(out));
	return out->len > 0 && verified_decode(&r, ret) == 0;
}

/* The ops, and one of them once more. */
static void double_op(struct span ops, size_t place, struct buf *ret)
{
	struct reader r = reader_of(ops);
	struct span op = SPAN_EMPTY;
	size_t count;

	CHECK_INT(cbor_array_open(&r, &count), 0);
	buf_clear(ret);
	cbor_put_array(ret, count + 1);
	buf_append(ret, span_of(r.ptr, r.left));
	for (size_t i = 0; i <= place; i++)
		CHECK_INT(cbor_skip(&r, &op), 0);
	buf_append(ret, op);
}

TEST(facts_are_told_of_what_keeps_the_rules_only)
{
	struct buf frame, changed, ops, answer;
	struct repo_commit c;
	struct verified v;
	struct repo repo;

	buf_init(&frame, MIB(1));
	buf_init(&changed, MIB(1));
	buf_init(&ops, MIB(1));
	buf_init(&answer, LIMIT_MESSAGE);
	repo_init(&repo, CURVE_K256, "facts");
	repo_put_number(&repo, "com.example.record/a", 1);
	repo_commit(&repo, USEC, &c);
	repo_commit_release(&c);
	repo_delete(&repo, "com.example.record/a");
	repo_put_number(&repo, "com.example.record/b", 2);
	repo_commit(&repo, USEC + 1, &c);
	frame_put_commit(&frame, 5, &c);
	CHECK(ask(buf_span(&frame), &answer, &v));
	CHECK_INT(v.ticket, 7);
	CHECK_INT(v.host_id, 9);
	CHECK(!v.is_legacy && v.has_prev_data);
	CHECK_INT(memcmp(v.data, c.data.digest, SHA256_SIZE), 0);
	/* Its host may have been tolerated when it came. */
	edit_frame(buf_span(&frame), "prevData", SPAN_EMPTY, &changed);
	CHECK(ask(buf_span(&changed), &answer, &v));
	CHECK(v.is_legacy);
	/* There are no two ops for one path. */
	for (size_t i = 0; i < c.op_count; i++) {
		double_op(edit_get(edit_body(buf_span(&frame)), "ops"), i, &ops);
		buf_clear(&changed);
		edit_frame(buf_span(&frame), "ops", buf_span(&ops), &changed);
		CHECK(!ask(buf_span(&changed), &answer, &v));
	}
	repo_commit_release(&c);
	repo_release(&repo);
	buf_release(&frame);
	buf_release(&changed);
	buf_release(&ops);
	buf_release(&answer);
}
