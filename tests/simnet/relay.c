#include "tests/simnet/relay.h"

#include <arpa/inet.h>
#include <assert.h>

#include "tests/test.h"

#define HOSTS_STEP 400 /* that a relay has to find within the time for which a test waits */

static size_t add_settings(const char **all, size_t count, const char *const *more)
{
	for (; more && *more; more++) {
		assert(count + 1 < RELAY_SETTINGS_MAX);
		all[count++] = *more;
	}
	return count;
}

struct group_test *relay_new(struct loop *l, struct network *n, const char *const *settings)
{
	const char *all[RELAY_SETTINGS_MAX] = {NULL};
	size_t count = add_settings(all, 0, network_relay_settings(n, test_folder()));

	add_settings(all, count, settings);
	return group_new(l, all);
}

bool relay_has_hosts(void *arg)
{
	struct network_counts counts;

	network_counts(arg, &counts);
	return counts.subscribed == counts.hosts;
}

struct wait {
	const struct network *network;
	uint32_t want;
};

static bool has_some(void *arg)
{
	const struct wait *w = arg;
	struct network_counts counts;

	network_counts(w->network, &counts);
	return counts.subscribed >= w->want;
}

bool relay_wait_hosts(struct loop *l, struct network *n)
{
	struct wait w = {.network = n};
	struct network_counts counts;

	network_counts(n, &counts);
	while (!relay_has_hosts(n)) {
		w.want = w.want + HOSTS_STEP < counts.hosts ? w.want + HOSTS_STEP : counts.hosts;
		if (!wait_until(l, has_some, &w, "hosts are subscribed to"))
			return false;
	}
	return true;
}

struct stream_reader *relay_read(struct loop *l, const struct group_test *g, int64_t cursor,
				 const struct reader_handler *h)
{
	const struct sockaddr_in address = {.sin_family = AF_INET,
					    .sin_port = htons(group_port(g)),
					    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	return stream_reader_new(l, (const struct sockaddr *)&address, cursor, h);
}

static void take_frame(void *arg, struct span frame)
{
	judge_received(arg, frame);
}

static void take_end(void *arg)
{
	(void)arg;
	test_fail(__FILE__, __LINE__, "the relay's stream ended");
}

struct stream_reader *relay_judge(struct loop *l, const struct group_test *g,
				  struct judge_reader *judged)
{
	const struct reader_handler handler = {take_frame, take_end, judged};
	uint64_t last = judge_reader_last_seq(judged);

	judge_reader_resume(judged, last);
	return relay_read(l, g, (int64_t)last, &handler);
}

struct head {
	const struct judge_reader *reader;
	uint64_t seq;
};

static bool has_come(void *arg)
{
	const struct head *h = arg;

	return judge_reader_last_seq(h->reader) >= h->seq;
}

bool relay_settle(struct loop *l, struct group_test *g, uint64_t events,
		  const struct judge_reader *reader)
{
	static const char dropped[] = "relay_frames_dropped_total";
	static const char acknowledged[] = "relay_events_acknowledged_total";
	struct head h = {.reader = reader};
	int64_t next;

	if (!group_wait_metric(g, "ingest", acknowledged, "",
			       (int64_t)events - group_metric(g, "ingest", dropped, "")))
		return false;
	next = group_metric(g, "store", "relay_log_next_seq", "");
	h.seq = next > 0 ? (uint64_t)next - 1 : UINT64_MAX;
	return wait_until(l, has_come, &h, "all of the log");
}
