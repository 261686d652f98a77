/* A corpus played on a real network, to a relay that does nothing but give numbers. */
#include "tests/simnet/player.h"

#include <arpa/inet.h>
#include <limits.h>

#include "common/cbor.h"
#include "tests/lib/frame.h"
#include "tests/lib/wait.h"
#include "tests/simnet/reader.h"
#include "tests/test.h"

#define HOSTS 2

struct stage {
	struct loop *loop;
	struct world *world;
	struct network *network;
	struct judge *judge;
	struct judge_reader *judge_reader;
	struct stream_reader *readers[HOSTS];
	char path[PATH_MAX];
	struct corpus_writer *writer;
	struct corpus corpus;
	struct player *player;
	uint64_t written[HOSTS], number;
	/* When the relay got its first event: */
	uint64_t sent_then;
	struct world_identity identity_then;
};

static void give_number(void *arg, struct span frame)
{
	struct stage *s = arg;
	struct span before, after;
	struct buf b;

	if (s->number == 0 && s->player) {
		s->sent_then = player_sent(s->player);
		world_identity(s->world, 0, &s->identity_then);
	}
	frame_split(frame, &before, &after);
	buf_init(&b, LIMIT_FRAME);
	buf_append(&b, before);
	cbor_put_integer(&b, (int64_t)++s->number);
	buf_append(&b, after);
	judge_received(s->judge_reader, buf_span(&b));
	buf_release(&b);
}

static void lost(void *arg)
{
	(void)arg;
	test_fail(__FILE__, __LINE__, "a host ended the connection");
}

static bool is_connected(void *arg)
{
	const struct stage *s = arg;

	for (uint32_t i = 0; i < HOSTS; i++)
		if (network_subscribers(s->network, i) != 1)
			return false;
	return true;
}

static void stage_open(struct stage *s)
{
	struct reader_handler handler = {give_number, lost, s};
	struct world_settings settings = {
		.seed = 1, .hosts = HOSTS, .accounts = 10, .port = free_port(), .plain = true};

	*s = (struct stage){.loop = loop_new(), .world = world_new(&settings)};
	s->network = network_new(s->loop, s->world);
	s->judge = judge_open();
	s->judge_reader = judge_reader_new(s->judge, "the relay");
	for (uint32_t i = 0; i < HOSTS; i++) {
		struct sockaddr_in address = {.sin_family = AF_INET,
					      .sin_port = htons(settings.port),
					      .sin_addr = world_address(s->world, i)};

		s->readers[i] = stream_reader_new(s->loop, (struct sockaddr *)&address, -1,
						  &handler);
	}
	wait_until(s->loop, is_connected, s, "the hosts have their subscribers");
	snprintf(s->path, sizeof(s->path), "%s/corpus", test_folder());
	s->writer = corpus_writer_open(s->path, &settings);
}

static void stage_close(struct stage *s)
{
	player_free(s->player);
	for (uint32_t i = 0; i < HOSTS; i++)
		stream_reader_free(s->readers[i]);
	network_free(s->network);
	world_free(s->world);
	judge_reader_free(s->judge_reader);
	judge_close(s->judge);
	corpus_close(&s->corpus);
	loop_free(s->loop);
}

/* An event of a host, with so many bytes more. */
static void write_event(struct stage *s, uint32_t account, size_t more)
{
	uint32_t host = account % HOSTS;
	struct corpus_record r = {.type = CORPUS_EVENT,
				  .account = account,
				  .kind = CORPUS_ACCOUNT,
				  .host = host,
				  .seq = ++s->written[host]};
	char did[64];
	struct buf b, value, frame;
	struct span before, after;

	buf_init(&b, KIB(1));
	buf_init(&value, LIMIT_FRAME);
	buf_init(&frame, LIMIT_FRAME);
	snprintf(did, sizeof(did), "did:plc:%024ju", (uintmax_t)r.seq);
	frame_put_header(&frame, "#account");
	cbor_put_map(&frame, 3);
	frame_put_text(&frame, "did", span_str(did));
	cbor_put_text(&frame, SPAN_LITERAL("seq"));
	cbor_put_integer(&frame, (int64_t)r.seq);
	memset(buf_extend(&value, more), 'x', more);
	frame_put_text(&frame, "more", buf_span(&value));
	frame_split(buf_span(&frame), &before, &after);
	r.seq_offset = (uint32_t)before.len;
	r.seq_size = (uint32_t)(frame.len - before.len - after.len);
	r.frame = buf_span(&frame);
	corpus_writer_put(s->writer, &r);
	buf_release(&b);
	buf_release(&value);
	buf_release(&frame);
}

static void write_barrier(struct stage *s)
{
	corpus_writer_put(s->writer, &(struct corpus_record){.type = CORPUS_BARRIER});
}

static void write_change(struct stage *s, uint32_t account, uint32_t key)
{
	struct corpus_record r = {.type = CORPUS_IDENTITY, .account = account};

	world_identity(s->world, account, &r.identity);
	r.identity.key = key;
	corpus_writer_put(s->writer, &r);
}

static void play(struct stage *s, bool is_judged, uint64_t per_sec)
{
	corpus_writer_close(s->writer);
	CHECK_INT(corpus_open(s->path, &s->corpus), 0);
	s->player = player_new(s->loop, &s->corpus, s->world, s->network,
			       is_judged ? s->judge : NULL, per_sec);
	player_start(s->player);
}

static bool is_done(void *arg)
{
	const struct stage *s = arg;

	return player_is_done(s->player);
}

static bool is_judged(void *arg)
{
	const struct stage *s = arg;

	return player_is_done(s->player) && judge_is_complete(s->judge);
}

TEST(every_event_is_sent_once_and_in_order)
{
	struct stage s;

	stage_open(&s);
	for (uint32_t i = 0; i < 700; i++)
		write_event(&s, i % 10, i % 5 * 1000);
	play(&s, true, 0);
	wait_until(s.loop, is_judged, &s, "all came");
	CHECK_INT(player_sent(s.player), 700);
	CHECK_INT(s.number, 700);
	CHECK(judge_verdict(s.judge));
	stage_close(&s);
}

static bool has_sent_half(void *arg)
{
	const struct stage *s = arg;

	return player_sent(s->player) >= 150;
}

static bool is_asked_again(void *arg)
{
	unsigned *asked = arg;

	return (*asked)++ > 0;
}

TEST(a_rate_is_kept)
{
	struct stage s;
	uint64_t start, sent;
	unsigned asked = 0;

	stage_open(&s);
	for (uint32_t i = 0; i < 4000; i++)
		write_event(&s, i % 10, 10);
	start = loop_now_usec(s.loop);
	play(&s, true, 1000);
	wait_until(s.loop, has_sent_half, &s, "some came");
	CHECK(loop_now_usec(s.loop) - start >= 149 * USEC_PER_MSEC);
	CHECK(player_sent(s.player) < 4000);
	/* The rest of it in an hour, and then at once. */
	player_set_rate(s.player, 1);
	sent = player_sent(s.player);
	wait_until(s.loop, is_asked_again, &asked, "turns of the loop");
	CHECK(player_sent(s.player) < sent + 100);
	player_set_rate(s.player, 0);
	wait_until(s.loop, is_judged, &s, "all came");
	CHECK(judge_verdict(s.judge));
	stage_close(&s);
}

static bool has_come(void *arg)
{
	const struct stage *s = arg;

	return judge_is_complete(s->judge);
}

TEST(what_is_stopped_goes_on_when_it_is_started)
{
	struct stage s;
	uint64_t sent;

	stage_open(&s);
	for (uint32_t i = 0; i < 4000; i++)
		write_event(&s, i % 10, 10);
	play(&s, true, 1000);
	wait_until(s.loop, has_sent_half, &s, "some came");
	player_stop(s.player);
	sent = player_sent(s.player);
	wait_until(s.loop, has_come, &s, "what was sent came");
	CHECK_INT(player_sent(s.player), sent);
	CHECK(sent < 4000);
	player_set_rate(s.player, 0);
	player_start(s.player);
	player_start(s.player);
	wait_until(s.loop, is_judged, &s, "all came");
	CHECK_INT(player_sent(s.player), 4000);
	CHECK(judge_verdict(s.judge));
	stage_close(&s);
}

struct part {
	const struct stage *stage;
	uint64_t want, told;
};

static bool has_sent_part(void *arg)
{
	const struct part *p = arg;

	return player_sent(p->stage->player) >= p->want && judge_is_complete(p->stage->judge);
}

static void count_told(void *arg, const struct corpus_record *r)
{
	struct part *p = arg;

	p->told += r->frame.len > 0;
}

TEST(a_part_is_sent_and_no_more)
{
	struct stage s;
	struct part p = {.stage = &s, .want = 1000};

	stage_open(&s);
	for (uint32_t i = 0; i < 4000; i++)
		write_event(&s, i % 10, 10);
	play(&s, true, 0);
	player_stop(s.player);
	player_on_send(s.player, count_told, &p);
	player_start_for(s.player, 1000);
	wait_until(s.loop, has_sent_part, &p, "a part");
	CHECK_INT(player_sent(s.player), 1000);
	player_start_for(s.player, 7);
	p.want = 1007;
	wait_until(s.loop, has_sent_part, &p, "a few more");
	CHECK_INT(player_sent(s.player), 1007);
	CHECK(!player_is_done(s.player));
	player_start(s.player);
	wait_until(s.loop, is_judged, &s, "all came");
	CHECK_INT(p.told, 4000);
	CHECK(judge_verdict(s.judge));
	stage_close(&s);
}

static void play_change(struct stage *s, bool is_judged_too)
{
	stage_open(s);
	write_event(s, 0, 10);
	write_event(s, 1, 10);
	write_barrier(s);
	write_change(s, 0, 1);
	write_change(s, 1, 1);
	write_event(s, 0, 10);
	write_event(s, 1, 10);
	write_barrier(s);
	write_change(s, 0, 2);
	play(s, is_judged_too, 0);
	wait_until(s->loop, is_done, s, "all is sent");
}

/* Without the barrier all would be sent in one turn of the loop. */
TEST(an_identity_changes_when_all_before_it_is_out)
{
	struct stage s;
	struct world_identity i;

	play_change(&s, true);
	CHECK_INT(s.number, 4);
	CHECK_INT(s.sent_then, 2);
	CHECK_INT(s.identity_then.key, 0);
	world_identity(s.world, 0, &i);
	CHECK_INT(i.key, 2);
	world_identity(s.world, 1, &i);
	CHECK_INT(i.key, 1);
	CHECK(judge_verdict(s.judge));
	stage_close(&s);
}

static bool has_four(void *arg)
{
	const struct stage *s = arg;

	return s->number == 4;
}

TEST(without_a_judge_no_barrier_holds)
{
	struct stage s;

	play_change(&s, false);
	CHECK_INT(player_sent(s.player), 4);
	wait_until(s.loop, has_four, &s, "all came");
	CHECK_INT(s.sent_then, 4);
	CHECK_INT(s.identity_then.key, 2);
	stage_close(&s);
}

static void pause_readers(struct stage *s, bool paused)
{
	for (uint32_t i = 0; i < HOSTS; i++)
		stream_reader_pause(s->readers[i], paused);
}

static bool is_full(void *arg)
{
	const struct stage *s = arg;
	struct network_counts c;

	network_counts(s->network, &c);
	return c.pending_bytes > PLAYER_PENDING_BYTES;
}

static void play_to_nobody(struct stage *s, uint64_t per_sec)
{
	stage_open(s);
	for (uint32_t i = 0; i < 64; i++)
		write_event(s, i % 10, MIB(1));
	pause_readers(s, true);
	play(s, true, per_sec);
}

TEST(full_speed_is_the_speed_of_the_sockets)
{
	struct stage s;
	struct network_counts c;

	play_to_nobody(&s, 0);
	wait_until(s.loop, is_full, &s, "the sockets are full");
	network_counts(s.network, &c);
	CHECK(c.pending_bytes < PLAYER_PENDING_BYTES + MIB(2));
	CHECK(player_sent(s.player) < 64);
	pause_readers(&s, false);
	wait_until(s.loop, is_judged, &s, "all came");
	CHECK(judge_verdict(s.judge));
	stage_close(&s);
}

TEST(a_rate_does_not_wait_for_sockets)
{
	struct stage s;

	play_to_nobody(&s, 1000);
	wait_until(s.loop, is_done, &s, "all is sent");
	CHECK(is_full(&s));
	pause_readers(&s, false);
	wait_until(s.loop, is_judged, &s, "all came");
	CHECK(judge_verdict(s.judge));
	stage_close(&s);
}
