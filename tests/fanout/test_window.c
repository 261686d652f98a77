#include "fanout/window.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/lib/log_maker.h"
#include "tests/test.h"

static void tell(struct window *w, const struct log_maker *m)
{
	struct head head = log_maker_head(m);
	enum window_change change;
	struct buf b;

	buf_init(&b, 256);
	message_put_type(&b, MESSAGE_HEAD);
	head_encode(&b, &head);
	CHECK_INT(window_take(w, buf_span(&b), 5, &change), 0);
	buf_release(&b);
}

/* Takes all ranges there are from seq on, and checks that each is whole messages in order. Returns
 * the number after the last. */
static uint64_t read_on(struct window *w, struct place *p)
{
	uint64_t seq = p->seq;
	struct range r;
	int found;

	while ((found = place_next(p, w, &r)) > 0) {
		uint8_t *bytes = xmalloc((size_t)(r.end - r.start));
		ssize_t n = pread(p->file->messages_fd, bytes, (size_t)(r.end - r.start),
				  (off_t)r.start);
		struct reader reader = reader_of(span_of(bytes, n > 0 ? (size_t)n : 0));

		CHECK_INT(n, r.end - r.start);
		for (uint64_t i = 0; i < r.events; i++) {
			uint32_t len = 0;
			struct span payload = SPAN_EMPTY;

			CHECK_INT(log_message_header_decode(&reader, &len), 0);
			CHECK_INT(reader_get_span(&reader, len, &payload), 0);
			CHECK_INT(log_maker_seq(payload), seq++);
		}
		CHECK_INT(reader.left, 0);
		free(bytes);
		place_advance(p, &r);
		CHECK_INT(p->seq, seq);
	}
	CHECK_INT(found, 0);
	return seq;
}

static void check_all_places(size_t file_events, bool eager, size_t payload_bytes)
{
	struct log_maker m;
	struct window w;

	log_maker_init(&m, test_folder(), 101, file_events, eager);
	log_maker_add(&m, 40, payload_bytes);
	window_init(&w, m.folder, 0);
	tell(&w, &m);
	for (uint64_t seq = 101; seq <= 141; seq++) {
		struct place p;

		place_init(&p, seq);
		CHECK_INT(read_on(&w, &p), 141);
		place_release(&p, &w);
	}
	CHECK_INT(w.files.open_count, 0);
	window_release(&w);
	log_maker_release(&m);
}

TEST(a_place_reads_on_contiguously_from_any_number)
{
	check_all_places(1, false, 100);
	check_all_places(1, true, 100);
	check_all_places(7, false, 100);
	check_all_places(10, false, 100);
	check_all_places(10, true, 100);
	check_all_places(7, false, 100000);
	check_all_places(1000, false, 100);
	check_all_places(1000, false, 300000);
}

TEST(a_place_at_the_end_goes_on_when_there_is_more)
{
	struct log_maker m;
	struct window w;
	struct place p;

	log_maker_init(&m, test_folder(), 1, 5, true);
	window_init(&w, m.folder, 0);
	tell(&w, &m);
	place_init(&p, 1);
	for (uint64_t n = 0; n < 100; n += n % 7) {
		CHECK_INT(read_on(&w, &p), m.next_seq);
		log_maker_add(&m, n % 7 + 1, 50);
		/* What the notice does not cover is not there yet. */
		CHECK_INT(place_next(&p, &w, &(struct range){0}), 0);
		tell(&w, &m);
		n++;
	}
	CHECK_INT(read_on(&w, &p), m.next_seq);
	CHECK_INT(w.files.open_count, 1);
	place_release(&p, &w);
	window_release(&w);
	log_maker_release(&m);
}

TEST(events_beyond_the_notice_are_not_given_out)
{
	struct log_maker m;
	struct window w;
	struct place p;

	log_maker_init(&m, test_folder(), 1, 100, false);
	window_init(&w, m.folder, 0);
	log_maker_add(&m, 10, 1000);
	tell(&w, &m);
	log_maker_add(&m, 10, 1000);
	for (uint64_t seq = 1; seq <= 11; seq++) {
		place_init(&p, seq);
		CHECK_INT(read_on(&w, &p), 11);
		place_release(&p, &w);
	}
	window_release(&w);
	log_maker_release(&m);
}

TEST(an_unlinked_file_is_read_to_its_end)
{
	struct log_maker m;
	struct window w;
	struct place p, late;
	struct range r;

	log_maker_init(&m, test_folder(), 1, 10, false);
	window_init(&w, m.folder, 0);
	log_maker_add(&m, 40, 100000);
	tell(&w, &m);
	place_init(&p, 1);
	CHECK_INT(place_next(&p, &w, &r), 1);
	place_advance(&p, &r);
	log_maker_drop(&m);
	while (p.seq < 11) {
		CHECK_INT(place_next(&p, &w, &r), 1);
		place_advance(&p, &r);
	}
	log_maker_drop(&m);
	CHECK_INT(place_next(&p, &w, &r), -ENOENT);
	place_init(&late, 5);
	CHECK_INT(place_next(&late, &w, &r), -ENOENT);
	place_release(&p, &w);
	window_release(&w);
	log_maker_release(&m);
}

static void unlink_file(const struct log_maker *m, uint64_t first_seq, enum log_file_type type)
{
	char path[256], name[LOG_FILE_NAME_SIZE];

	snprintf(path, sizeof(path), "%s/%s", m->folder, log_file_name(first_seq, type, name));
	CHECK_INT(unlink(path), 0);
}

TEST(a_broken_log_is_an_error_and_not_an_empty_one)
{
	struct log_maker m;
	struct window w;
	struct place p;
	struct range r;

	log_maker_init(&m, test_folder(), 1, 10, false);
	window_init(&w, m.folder, 0);
	log_maker_add(&m, 25, 100);
	tell(&w, &m);
	/* A gap in the middle. */
	unlink_file(&m, 11, LOG_FILE_MESSAGES);
	place_init(&p, 8);
	CHECK_INT(place_next(&p, &w, &r), 1);
	place_advance(&p, &r);
	CHECK_INT(place_next(&p, &w, &r), -EBADMSG);
	place_release(&p, &w);
	place_init(&p, 15);
	CHECK_INT(place_next(&p, &w, &r), -EBADMSG);
	place_release(&p, &w);
	/* No newest file, and then none at all: the wrong folder. */
	unlink_file(&m, 21, LOG_FILE_MESSAGES);
	place_init(&p, 23);
	CHECK_INT(place_next(&p, &w, &r), -EBADMSG);
	place_release(&p, &w);
	unlink_file(&m, 1, LOG_FILE_MESSAGES);
	place_init(&p, 23);
	CHECK_INT(place_next(&p, &w, &r), -EIO);
	place_release(&p, &w);
	window_release(&w);
	log_maker_release(&m);
}

static int take(struct window *w, struct head head, enum window_change *ret)
{
	struct buf b;

	buf_init(&b, 256);
	message_put_type(&b, MESSAGE_HEAD);
	head_encode(&b, &head);
	int error = window_take(w, buf_span(&b), 9, ret);
	buf_release(&b);
	return error;
}

static struct head head_of(uint64_t first, uint64_t next, uint64_t file, uint64_t end)
{
	return (struct head){.first_seq = first,
			     .next_seq = next,
			     .file_first_seq = file,
			     .file_end_bytes = end,
			     .state = HEAD_TAKING};
}

TEST(notices_move_the_window)
{
	enum window_change change;
	struct window w;

	window_init(&w, "/nowhere", 3);
	CHECK(!w.known);
	CHECK_INT(w.heard_usec, 3);
	CHECK_INT(take(&w, head_of(1, 10, 1, 500), &change), 0);
	CHECK_INT(change, WINDOW_MORE);
	CHECK(w.known);
	CHECK_INT(w.heard_usec, 9);
	CHECK_INT(take(&w, head_of(1, 10, 1, 500), &change), 0);
	CHECK_INT(change, WINDOW_SAME);
	CHECK_INT(take(&w, head_of(5, 12, 5, 100), &change), 0);
	CHECK_INT(change, WINDOW_MORE);
	CHECK_INT(take(&w, head_of(1, 11, 1, 100), &change), 0);
	CHECK_INT(change, WINDOW_RESET);
	CHECK_INT(w.head.next_seq, 11);
	CHECK_INT(take(&w, head_of(12, 11, 1, 100), &change), -EBADMSG);
	CHECK_INT(take(&w, head_of(1, 11, 12, 100), &change), -EBADMSG);
	CHECK_INT(window_take(&w, SPAN_LITERAL("x"), 9, &change), -EBADMSG);
	CHECK_INT(w.head.next_seq, 11);
	window_release(&w);
}

/* Store was started on a full disk: it lives, and cannot say how far the log is. */
TEST(a_notice_that_knows_no_log_changes_none)
{
	const struct head unknown = {.state = HEAD_NO_ROOM};
	enum window_change change;
	struct window w;

	window_init(&w, "/nowhere", 3);
	CHECK_INT(take(&w, unknown, &change), 0);
	CHECK_INT(change, WINDOW_SAME);
	CHECK(!w.known);
	CHECK_INT(w.state, HEAD_NO_ROOM);
	CHECK_INT(w.heard_usec, 9);
	CHECK_INT(take(&w, head_of(1, 10, 1, 500), &change), 0);
	CHECK_INT(w.state, HEAD_TAKING);
	CHECK_INT(take(&w, unknown, &change), 0);
	CHECK_INT(change, WINDOW_SAME);
	CHECK(w.known);
	CHECK_INT(w.state, HEAD_NO_ROOM);
	CHECK_INT(w.head.next_seq, 10);
	window_release(&w);
}

/* Store has not even room to open its state: it says how far the log is at least. */
TEST(a_notice_that_knows_less_takes_nothing_back)
{
	struct head least = head_of(1, 10, 1, 500), less = head_of(1, 8, 1, 400);
	enum window_change change;
	struct window w;

	least.state = less.state = HEAD_NO_STATE;
	window_init(&w, "/nowhere", 3);
	CHECK_INT(take(&w, least, &change), 0);
	CHECK_INT(change, WINDOW_MORE);
	CHECK(w.known && w.has_more);
	CHECK_INT(w.head.next_seq, 10);
	CHECK_INT(take(&w, head_of(1, 12, 1, 600), &change), 0);
	CHECK_INT(change, WINDOW_MORE);
	CHECK(!w.has_more);
	CHECK_INT(take(&w, less, &change), 0);
	CHECK_INT(change, WINDOW_SAME);
	CHECK(!w.has_more);
	CHECK_INT(w.state, HEAD_NO_STATE);
	CHECK_INT(w.head.next_seq, 12);
	CHECK_INT(w.head.file_end_bytes, 600);
	/* One that knows all does. */
	CHECK_INT(take(&w, head_of(1, 8, 1, 400), &change), 0);
	CHECK_INT(change, WINDOW_RESET);
	window_release(&w);
}

TEST(another_log_with_the_same_names_is_not_mixed_with_the_old)
{
	struct log_maker old, new;
	struct window w;
	struct place p, fresh;
	struct range r;

	log_maker_init(&old, test_folder(), 1, 100, false);
	log_maker_add(&old, 20, 100);
	window_init(&w, old.folder, 0);
	tell(&w, &old);
	place_init(&p, 1);
	CHECK_INT(place_next(&p, &w, &r), 1);
	unlink_file(&old, 1, LOG_FILE_MESSAGES);
	unlink_file(&old, 1, LOG_FILE_INDEX);
	log_maker_init(&new, old.folder, 1, 100, false);
	log_maker_add(&new, 10, 200);
	tell(&w, &new);
	place_init(&fresh, 1);
	CHECK_INT(read_on(&w, &fresh), 11);
	CHECK(fresh.file != p.file);
	place_release(&fresh, &w);
	place_release(&p, &w);
	window_release(&w);
	log_maker_release(&old);
	log_maker_release(&new);
}
