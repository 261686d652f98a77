#include "ingest/window.h"

#include "common/memory.h"
#include "tests/test.h"

static struct window_entry *put(struct window *w, uint64_t seq, const void *bytes, size_t len)
{
	const struct event e = {
		.host_seq = seq, .host = SPAN_LITERAL("pds.example"), .frame = span_of(bytes, len)};

	return window_put(w, &e);
}

/* All that is to be sent, as "1 2 3 ". */
static const char *send_all(struct window *w)
{
	static char text[256];
	size_t len = 0;

	text[0] = '\0';
	for (struct window_entry *e; (e = window_send(w));)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%" PRIu64 " ",
					e->event.host_seq);
	return text;
}

TEST(sends_in_order_and_again_after_rewind)
{
	struct window w;
	struct window_entry *e[4];

	window_init(&w, MIB(1));
	for (uint64_t i = 1; i < 4; i++)
		e[i] = put(&w, i, "abc", 3);
	CHECK(e[1]->event.ticket < e[2]->event.ticket && e[2]->event.ticket < e[3]->event.ticket);
	CHECK_STR(send_all(&w), "1 2 3 ");
	CHECK_STR(send_all(&w), "");
	window_remove(&w, e[2]);
	window_rewind(&w);
	CHECK_STR(send_all(&w), "1 3 ");
	put(&w, 4, "abc", 3);
	CHECK_STR(send_all(&w), "4 ");
	window_release(&w);
}

TEST(finds_only_what_was_sent)
{
	struct window w;
	struct window_entry *a, *b;
	uint64_t old;

	window_init(&w, MIB(1));
	a = put(&w, 1, "abc", 3);
	b = put(&w, 2, "defg", 4);
	CHECK(!window_find(&w, a->event.ticket));
	CHECK(window_send(&w) == a);
	CHECK(window_find(&w, a->event.ticket) == a);
	CHECK(!window_find(&w, b->event.ticket));
	CHECK(!window_find(&w, a->event.ticket + WINDOW_SLOTS_MAX));
	CHECK(!window_find(&w, UINT64_MAX));
	old = a->event.ticket;
	window_remove(&w, a);
	CHECK(!window_find(&w, old));
	a = put(&w, 3, "h", 1); /* into the same slot */
	CHECK_STR(send_all(&w), "2 3 ");
	CHECK(!window_find(&w, old));
	CHECK(window_find(&w, a->event.ticket) == a);
	window_release(&w);
}

TEST(counts_what_is_unsent)
{
	struct window w;
	struct window_entry *a, *b;

	window_init(&w, MIB(1));
	a = put(&w, 1, "abc", 3);
	b = put(&w, 2, "defg", 4);
	CHECK_INT(w.unsent_count, 2);
	CHECK_INT(w.unsent_bytes, 7);
	window_send(&w);
	CHECK_INT(w.unsent_count, 1);
	CHECK_INT(w.unsent_bytes, 4);
	window_remove(&w, b);
	CHECK_INT(w.unsent_count, 0);
	CHECK_INT(w.unsent_bytes, 0);
	CHECK(!window_send(&w));
	window_rewind(&w);
	CHECK_INT(w.unsent_count, 1);
	CHECK_INT(w.unsent_bytes, 3);
	window_remove(&w, a);
	CHECK_INT(w.used_bytes, 0);
	CHECK_INT(w.count, 0);
	window_release(&w);
}

/* What the allocator says of everything in it. */
static int64_t blocks_of(const struct window *w)
{
	int64_t sum = memory_block_bytes(w->slots) + memory_block_bytes(w->free_slots);

	for (const struct window_entry *e = w->first; e; e = e->next)
		sum += memory_block_bytes(e);
	return sum;
}

TEST(is_bounded_and_takes_one_of_any_size)
{
	static uint8_t big[100000];
	struct window w;
	struct window_entry *e;

	window_init(&w, KIB(64));
	CHECK(window_has_room(&w, sizeof(big)));
	e = put(&w, 1, big, sizeof(big));
	CHECK(!window_has_room(&w, 0));
	window_remove(&w, e);
	e = put(&w, 2, big, 1000);
	CHECK(window_has_room(&w, 1000));
	CHECK(!window_has_room(&w, sizeof(big)));
	while (window_has_room(&w, 1000))
		put(&w, 3, big, 1000);
	CHECK(w.used_bytes <= KIB(64));
	CHECK(w.used_bytes + 2000 > KIB(64));
	window_remove(&w, e);
	CHECK(window_has_room(&w, 1000));
	CHECK_INT(window_memory_bytes(&w), blocks_of(&w));
	CHECK(window_memory_bytes(&w) > (int64_t)w.used_bytes);
	window_release(&w);
	CHECK_INT(window_memory_bytes(&w), 0);
}

/* Blocks are rounded up by a quarter at most, and slots, 12 bytes each, doubled. */
TEST(a_full_window_takes_half_as_much_again_at_most)
{
	static const size_t frames[] = {50, 129, 1000, 5200, 70000};
	static uint8_t bytes[70000];

	for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
		struct window w;

		window_init(&w, MIB(4));
		while (window_has_room(&w, frames[i]))
			put(&w, 1, bytes, frames[i]);
		CHECK(w.used_bytes > MIB(4) - KIB(128) && w.used_bytes <= MIB(4));
		CHECK_INT(window_memory_bytes(&w), blocks_of(&w));
		CHECK(window_memory_bytes(&w) <= (int64_t)MIB(6));
		window_release(&w);
	}
}

TEST(the_bytes_are_its_own)
{
	char bytes[] = "frame";
	struct window w;
	struct window_entry *e;

	window_init(&w, KIB(64));
	e = put(&w, 1, bytes, 5);
	memset(bytes, 'x', 5);
	CHECK_SPAN(e->event.frame, SPAN_LITERAL("frame"));
	window_release(&w);
}

/* Events come, are sent, acknowledged in any order, sent again; what is sent is always what is
 * there, in order. */
TEST(random_use)
{
	enum { COUNT = 3000 };
	static struct window_entry *there[COUNT];
	size_t count = 0;
	struct window w;
	uint64_t seq = 0;

	window_init(&w, MIB(16));
	for (size_t step = 0; step < COUNT; step++) {
		uint64_t what = test_random() % 100;

		if (what < 60) {
			there[count++] = put(&w, ++seq, "frame", 5);
		} else if (what < 95 && count) {
			size_t i = test_random() % count;

			window_remove(&w, there[i]);
			memmove(&there[i], &there[i + 1], (--count - i) * sizeof(*there));
		} else {
			struct window_entry *e;
			size_t i = 0;

			window_rewind(&w);
			while ((e = window_send(&w)))
				CHECK(i < count && e == there[i++]);
			CHECK_INT(i, count);
		}
		CHECK_INT(w.count, count);
	}
	window_release(&w);
}
