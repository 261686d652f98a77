#include "ingest/crawler.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>

#include "ingest/frame.h"
#include "ingest/subscription.h"

#define FIRST_BUCKETS  1024
#define LIST_ENTRY_MAX (LIMIT_HOST + 16) /* of ingest.hosts: with a scheme */

/* Writing records. */

static int write_registry(struct crawler *c)
{
	int error = registry_write(c->registry);
	unsigned left_out;

	c->write_failed = error != 0;
	if (error && log_limit_pass(&c->write_log, &left_out))
		log_error("the hosts' records cannot be written: %s left_out=%u",
			  registry_error(c->registry), left_out);
	return error;
}

/* What failed to be written is written first, alone, so that the batch does not grow while it
 * cannot be. */
static int retry_write(struct crawler *c)
{
	return c->write_failed && write_registry(c) != 0 ? -EIO : 0;
}

int crawler_write(struct crawler *c, const struct registry_record *record)
{
	int error = retry_write(c);

	if (error)
		return error;
	registry_put(c->registry, record);
	return write_registry(c);
}

/* Hosts: the table, and what is counted of them. */

static struct subscription **bucket(const struct crawler *c, uint64_t id)
{
	return &c->buckets[id & (c->bucket_count - 1)];
}

static void put_into_bucket(struct crawler *c, struct subscription *s)
{
	struct subscription **b = bucket(c, s->host_id);

	s->next_in_bucket = *b;
	*b = s;
}

static void grow_buckets(struct crawler *c)
{
	free(c->buckets);
	c->bucket_count = c->bucket_count ? 2 * c->bucket_count : FIRST_BUCKETS;
	c->buckets = xcalloc(c->bucket_count, sizeof(struct subscription *));
	for (size_t i = 0; i < c->host_count; i++)
		put_into_bucket(c, c->hosts[i]);
}

/* Numbers rise, so the new one comes last. */
static struct subscription *put_into_table(struct crawler *c, const struct host *host,
					   const struct registry_record *record)
{
	struct subscription *s = subscription_new(c, host, record);

	if (c->host_count == c->host_cap) {
		c->host_cap = c->host_cap ? 2 * c->host_cap : FIRST_BUCKETS;
		c->hosts = xrealloc(c->hosts, c->host_cap * sizeof(struct subscription *));
	}
	c->hosts[c->host_count++] = s;
	if (c->host_count > c->bucket_count)
		grow_buckets(c);
	else
		put_into_bucket(c, s);
	if (record->number >= c->next_number)
		c->next_number = record->number + 1;
	return s;
}

struct subscription *crawler_find(const struct crawler *c, struct span name)
{
	uint64_t id = host_id(name);
	struct subscription *s = c->bucket_count ? *bucket(c, id) : NULL;

	while (s && !(s->host_id == id && span_is(name, s->record.host)))
		s = s->next_in_bucket;
	return s;
}

/* The host that an event came from. */
static struct subscription *find_by_id(const struct crawler *c, uint64_t id)
{
	struct subscription *s = *bucket(c, id);

	while (s && s->host_id != id)
		s = s->next_in_bucket;
	return s;
}

void crawler_count_status(struct crawler *c, enum host_status status, int change)
{
	*c->status_gauges[status] += change;
}

static void make_record(const struct crawler *c, const struct host *host, size_t place,
			struct registry_record *ret)
{
	*ret = (struct registry_record){
		.status = HOST_IDLE,
		.epoch = registry_next_epoch(0),
		.number = c->next_number + place,
		.created_usec = clock_usec(),
	};
	host_format(host, ret->host);
}

/* Of a host that is named twice the first record counts: here, and, put last, on disk. */
static size_t put_all_into_table(struct crawler *c, const struct host *hosts,
				 const struct registry_record *records, size_t count)
{
	size_t before = c->host_count;

	for (size_t i = 0; i < count; i++)
		if (!crawler_find(c, span_str(records[i].host)))
			put_into_table(c, &hosts[i], &records[i]);
	return c->host_count - before;
}

int crawler_add_all(struct crawler *c, const struct host *hosts, size_t count, size_t *ret_added)
{
	size_t room = c->max_hosts > c->host_count ? c->max_hosts - c->host_count : 0;
	size_t fitting = count < room ? count : room;
	struct registry_record *records = xcalloc(fitting + 1, sizeof(*records));
	int error = retry_write(c);

	for (size_t i = fitting; i-- > 0 && !error;) {
		make_record(c, &hosts[i], i, &records[i]);
		assert(!crawler_find(c, span_str(records[i].host)));
		registry_put(c->registry, &records[i]);
	}
	/* A number that was put is given, even if it is not written before the next attempt. */
	if (!error)
		c->next_number += fitting;
	if (fitting > 0 && !error)
		error = write_registry(c);
	if (!error) {
		*ret_added = put_all_into_table(c, hosts, records, fitting);
		error = fitting < count ? -ENOSPC : 0;
	}
	free(records);
	return error;
}

int crawler_add(struct crawler *c, const struct host *host, struct subscription **ret)
{
	size_t added;
	int error = crawler_add_all(c, host, 1, &added);

	if (!error)
		*ret = c->hosts[c->host_count - 1];
	return error;
}

/* Dialling places. */

void crawler_queue_dial(struct crawler *c, struct subscription *s)
{
	TAILQ_INSERT_TAIL(&c->dial_queue, s, queue_link);
	if (c->dials >= CRAWLER_DIALS_MAX || c->stopping)
		return;
	s = TAILQ_FIRST(&c->dial_queue);
	TAILQ_REMOVE(&c->dial_queue, s, queue_link);
	c->dials++;
	subscription_dial(s);
}

void crawler_end_dial(struct crawler *c, struct subscription *s)
{
	if (s->state == SUBSCRIPTION_QUEUED) {
		TAILQ_REMOVE(&c->dial_queue, s, queue_link);
		return;
	}
	assert(s->state == SUBSCRIPTION_DIALLING && c->dials > 0);
	c->dials--;
	s = TAILQ_FIRST(&c->dial_queue);
	if (!s || c->stopping)
		return;
	TAILQ_REMOVE(&c->dial_queue, s, queue_link);
	c->dials++;
	subscription_dial(s);
}

static void write_changed(struct crawler *c)
{
	size_t count = 0;

	if (c->write_failed && write_registry(c) != 0)
		return;
	for (size_t i = 0; i < c->host_count; i++) {
		if (!subscription_record(c->hosts[i]))
			continue;
		registry_put(c->registry, &c->hosts[i]->record);
		count++;
	}
	if (count)
		(void)write_registry(c); /* logged there, and tried again next time */
}

static void on_write_timer(void *arg)
{
	struct crawler *c = arg;

	write_changed(c);
	loop_timer_set(c->loop, &c->write_timer, c->cursor_interval_usec);
}

/* Acknowledgements. */

static void log_verdict(struct crawler *c, const struct event *e, enum verdict v)
{
	struct frame f = {0};
	unsigned left_out;

	if (!log_limit_pass(&c->verdict_log, &left_out))
		return;
	if (frame_scan(e->frame, &f) != 0)
		f.did = SPAN_EMPTY; /* not so: it was scanned when it came */
	log_notice("event refused: %s did=%s host=%s seq=%" PRIu64 " left_out=%u [%s]",
		   verdict_info(v)->name, log_text(f.did), log_text(e->host), e->host_seq, left_out,
		   verdict_info(v)->section);
}

static bool is_drained(const struct crawler *c)
{
	for (unsigned i = 0; i < c->lanes; i++)
		if (feed_event_count(c->feeds[i]) > 0)
			return false;
	return true;
}

static void finish_stop(void *arg)
{
	struct crawler *c = arg;

	loop_timer_cancel(c->loop, &c->write_timer);
	if (!is_drained(c))
		log_notice("stopped with events on their way; their hosts will be asked for them "
			   "again");
	write_changed(c);
	c->stopped(c->stopped_arg);
}

static void on_acknowledged(void *arg, const struct window_entry *e, enum verdict v)
{
	struct crawler *c = arg;

	++*c->counters.acknowledged[v];
	subscription_acknowledged(find_by_id(c, e->event.host_id), e->event.frame.len);
	if (v != VERDICT_ACCEPTED && !verdict_is_replay(v))
		log_verdict(c, &e->event, v);
	/* The last event leaves its window after this. */
	if (c->stopping)
		loop_task_queue(c->loop, &c->drain_task);
}

static void on_drain_check(void *arg)
{
	struct crawler *c = arg;

	if (!is_drained(c))
		return;
	loop_timer_cancel(c->loop, &c->drain_timer);
	finish_stop(c);
}

/* Setting up. */

static int64_t window_memory(void *arg)
{
	struct crawler *c = arg;
	int64_t sum = 0;

	for (unsigned i = 0; i < c->lanes; i++)
		sum += feed_memory_bytes(c->feeds[i]);
	return sum;
}

/* Of one lane, as is the label. */
static int64_t window_bytes(void *feed)
{
	return (int64_t)feed_event_bytes(feed);
}

static int64_t window_events(void *feed)
{
	return (int64_t)feed_event_count(feed);
}

static uint64_t window_age_usec(void *feed)
{
	uint64_t oldest = feed_oldest_usec(feed), now = clock_usec();

	return oldest > 0 && oldest < now ? now - oldest : 0;
}

static void register_window(struct metrics *m, struct feed *f, unsigned lane)
{
	char labels[32];

	snprintf(labels, sizeof(labels), "lane=\"%u\"", lane);
	metrics_gauge_call(m, "relay_window_bytes", "Unacknowledged events.", labels, window_bytes,
			   f);
	metrics_gauge_call(m, "relay_window_events", "Unacknowledged events.", labels,
			   window_events, f);
	metrics_seconds_call(m, "relay_window_age_seconds",
			     "Time since the oldest unacknowledged event was received.", labels,
			     window_age_usec, f);
}

static int64_t paused_hosts(void *arg)
{
	struct crawler *c = arg;
	size_t sum = c->held_hosts;

	for (unsigned i = 0; i < c->lanes; i++)
		sum += feed_waiter_count(c->feeds[i]);
	return (int64_t)sum;
}

static int64_t connection_memory(void *arg)
{
	struct crawler *c = arg;
	size_t sum = c->dialer.pool.spare.cap;

	for (size_t i = 0; i < c->host_count; i++)
		sum += subscription_memory_bytes(c->hosts[i]);
	return (int64_t)sum;
}

static int64_t host_memory(void *arg)
{
	struct crawler *c = arg;
	int64_t sum = memory_block_bytes(c->hosts) + memory_block_bytes(c->buckets);

	for (size_t i = 0; i < c->host_count; i++)
		sum += memory_block_bytes(c->hosts[i]);
	return sum;
}

static void register_metrics(struct crawler *c, struct metrics *m, struct memory *memory)
{
	counters_register(&c->counters, m);
	for (enum host_status s = HOST_ACTIVE; s <= HOST_OFFLINE; s++) {
		char labels[64];

		snprintf(labels, sizeof(labels), "status=\"%s\"", host_status_name(s));
		c->status_gauges[s] = metrics_gauge(m, "relay_hosts", "Hosts by status.", labels);
	}
	c->open_connections = metrics_gauge(m, "relay_connections", "Hosts that are being read.",
					    NULL);
	metrics_gauge_call(m, "relay_hosts_paused", "Hosts that wait for room in a window.", NULL,
			   paused_hosts, c);
	memory_register(memory, "window", window_memory, c);
	memory_register(memory, "connections", connection_memory, c);
	memory_register(memory, "hosts", host_memory, c);
	memory_register(memory, "names", resolver_memory_bytes, c->resolver);
	memory_register(memory, "hosts_database", registry_memory_bytes, c->registry);
}

/* Nothing is repaired, and no copy is of use: a record of an earlier time has an epoch that store
 * takes for a replay. */
static void log_remedy(void)
{
	log_error("move it away and start with ingest.backfill=true, which asks every host for all "
		  "that it has");
}

static int open_registry(struct crawler *c)
{
	char path[PATH_MAX + 16];
	int error = stage_data_dir(c->stage, "ingest", path);

	if (error)
		return STAGE_EXIT_AGAIN;
	snprintf(path + strlen(path), sizeof(path) - strlen(path), "/hosts");
	error = registry_open(path, config_size(c->stage->config, "ingest.cache"), &c->registry);
	if (error)
		log_error("the hosts' database cannot be opened: %s: %s", path,
			  registry_error(NULL));
	if (error == -EUCLEAN)
		log_remedy();
	return error ? STAGE_EXIT_AGAIN : 0;
}

static int open_network(struct crawler *c)
{
	const struct config *config = c->stage->config;
	char reason[512];
	int error = host_policy_new(config, reason, sizeof(reason), &c->policy);

	if (!error)
		error = tls_new(config_text(config, "network.ca_file"), reason, sizeof(reason),
				&c->tls);
	if (error) {
		log_error("configuration: %s", reason);
		return STAGE_EXIT_CONFIG;
	}
	error = resolver_new(c->loop, &c->resolver);
	if (error)
		log_error("names cannot be resolved: %s", strerror(-error));
	return error ? STAGE_EXIT_AGAIN : 0;
}

static void read_settings(struct crawler *c)
{
	const struct config *config = c->stage->config;

	c->lanes = (unsigned)config_number(config, "group.lanes");
	c->max_hosts = config_number(config, "ingest.max_hosts");
	c->backfill = config_flag(config, "ingest.backfill");
	c->backoff_min_usec = config_time(config, "ingest.backoff_min");
	c->backoff_max_usec = config_time(config, "ingest.backoff_max");
	c->cursor_interval_usec = config_time(config, "ingest.cursor_interval");
	c->dialer = (struct dialer){
		.loop = c->loop,
		.resolver = c->resolver,
		.tls = c->tls,
		.policy = c->policy,
		.connect_timeout_usec = config_time(config, "ingest.connect_timeout"),
		.ping_interval_usec = config_time(config, "ingest.ping_interval"),
		.read_timeout_usec = config_time(config, "ingest.read_timeout"),
	};
	websocket_pool_init(&c->dialer.pool, config_size(config, "ingest.unread"));
}

int crawler_init(struct crawler *c, struct stage *stage)
{
	int status;

	*c = (struct crawler){
		.stage = stage,
		.loop = stage->loop,
		.next_number = 1,
		.verdict_log = {.burst = 20, .period_usec = 10 * USEC_PER_SEC},
		.frame_log = {.burst = 20, .period_usec = 10 * USEC_PER_SEC},
		.write_log = {.burst = 1, .period_usec = 10 * USEC_PER_SEC},
		.foreign_log = {.burst = 10, .period_usec = 60 * USEC_PER_SEC},
	};
	TAILQ_INIT(&c->dial_queue);
	loop_timer_init(&c->write_timer, on_write_timer, c);
	loop_timer_init(&c->drain_timer, finish_stop, c);
	loop_task_init(&c->drain_task, on_drain_check, c);
	status = open_registry(c);
	if (!status)
		status = open_network(c);
	if (status)
		return status;
	read_settings(c);
	c->feeds = xcalloc(c->lanes, sizeof(struct feed *));
	register_metrics(c, stage->metrics, stage->memory);
	return 0;
}

void crawler_release(struct crawler *c)
{
	/* Subscriptions first: they are in the feeds' and the dialler's lists, and the windows in
	 * their marks. */
	for (size_t i = 0; i < c->host_count; i++)
		subscription_free(c->hosts[i]);
	for (unsigned i = 0; c->feeds && i < c->lanes; i++)
		feed_free(c->feeds[i]);
	loop_timer_cancel(c->loop, &c->write_timer);
	loop_timer_cancel(c->loop, &c->drain_timer);
	loop_task_cancel(c->loop, &c->drain_task);
	websocket_pool_release(&c->dialer.pool);
	resolver_free(c->resolver);
	tls_free(c->tls);
	host_policy_free(c->policy);
	registry_close(c->registry);
	free(c->feeds);
	free(c->hosts);
	free(c->buckets);
}

/* Starting. */

static int load_host(void *arg, const struct registry_record *record)
{
	struct crawler *c = arg;
	struct host host;

	if (host_parse(span_str(record->host), &host) != 0)
		return -EBADMSG;
	put_into_table(c, &host, record);
	return 0;
}

static int compare_numbers(const void *a, const void *b)
{
	const struct subscription *const *x = a, *const *y = b;

	return ((*x)->record.number > (*y)->record.number) -
	       ((*x)->record.number < (*y)->record.number);
}

static int load_hosts(struct crawler *c)
{
	int error = registry_load(c->registry, load_host, c);

	if (error) {
		log_error("the hosts' database cannot be read: %s", registry_error(c->registry));
		if (error != -EIO)
			log_remedy();
		return STAGE_EXIT_AGAIN;
	}
	if (c->host_count)
		qsort(c->hosts, c->host_count, sizeof(struct subscription *), compare_numbers);
	return 0;
}

static void on_foreign(void *arg, const struct feed *f, unsigned version)
{
	struct crawler *c = arg;
	unsigned lane = 0, left_out;

	while (c->feeds[lane] != f)
		lane++;
	++*c->counters.foreign;
	if (log_limit_pass(&c->foreign_log, &left_out))
		log_error("validate speaks another version: events wait until both are of one "
			  "lane=%u version=%u ours=%u left_out=%u",
			  lane, version, MESSAGE_VERSION, left_out);
}

static int open_feeds(struct crawler *c)
{
	const struct feed_handler h = {on_acknowledged, on_foreign, c};
	size_t window = config_size(c->stage->config, "ingest.window");
	char url[CONFIG_URL_SIZE];

	c->host_window_bytes = config_size(c->stage->config, "ingest.host_window");
	for (unsigned lane = 0; lane < c->lanes; lane++) {
		int error;

		stage_pipe_url(c->stage, "events", "", lane, url);
		error = feed_new(c->loop, url, window, &h, c->counters.lane_sessions,
				 &c->feeds[lane]);
		if (error) {
			log_error("the pipe to validate cannot be opened: %s: %s", url,
				  strerror(-error));
			return STAGE_EXIT_AGAIN;
		}
		register_window(c->stage->metrics, c->feeds[lane], lane);
	}
	*metrics_gauge(c->stage->metrics, "relay_window_limit_bytes", "Of each lane's window.",
		       NULL) = (int64_t)window;
	return 0;
}

/* One entry of ingest.hosts. */
static int add_configured(struct crawler *c, struct span text)
{
	char name[LIMIT_HOST + 1];
	struct subscription *s;
	struct host host;
	int error;

	if (memmem(text.ptr, text.len, "://", 3))
		error = host_parse_url(text, &host, NULL);
	else
		error = host_parse(text, &host);
	if (error) {
		log_error("configuration: ingest.hosts: %s is no host", log_text(text));
		return STAGE_EXIT_CONFIG;
	}
	if (crawler_find(c, span_str(host_format(&host, name))))
		return 0;
	error = crawler_add(c, &host, &s);
	if (error == -ENOSPC)
		log_warning("no room for host %s: ingest.max_hosts are known", name);
	return error && error != -ENOSPC ? STAGE_EXIT_AGAIN : 0;
}

static int add_all_configured(struct crawler *c)
{
	const char *list = config_text(c->stage->config, "ingest.hosts");
	int status = 0;

	while (!status && *list) {
		size_t len = strcspn(list, ", \t");

		if (len)
			status = add_configured(c, span_of(list, len));
		list += len + (list[len] != '\0');
	}
	return status;
}

int crawler_start(struct crawler *c)
{
	int status = load_hosts(c);

	if (!status)
		status = open_feeds(c);
	if (!status)
		status = add_all_configured(c);
	if (status)
		return status;
	for (size_t i = 0; i < c->host_count; i++)
		subscription_start(c->hosts[i]);
	loop_timer_set(c->loop, &c->write_timer, c->cursor_interval_usec);
	return 0;
}

void crawler_stop(struct crawler *c, void (*stopped)(void *arg), void *arg)
{
	c->stopping = true;
	c->stopped = stopped;
	c->stopped_arg = arg;
	for (size_t i = 0; i < c->host_count; i++)
		subscription_stop(c->hosts[i]);
	loop_task_queue(c->loop, &c->drain_task);
	loop_timer_set(c->loop, &c->drain_timer, CRAWLER_DRAIN_USEC);
}
