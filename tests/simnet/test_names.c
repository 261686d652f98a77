/*
 * Hosts whose names lead nowhere: to no address, to one that is forbidden, to one where nobody is.
 * The relay knows them all the same, as it does when a name goes astray later than its host was
 * looked at. It reads the others meanwhile, and when the names are right again it misses nothing.
 */
#include <stdlib.h>

#include "tests/simnet/fault_scene.h"
#include "tests/simnet/relay.h"
#include "tests/test.h"

enum { WELL, UNKNOWN, FORBIDDEN, NOBODY_THERE, HOSTS };

#define ACCOUNTS 100
#define EVENTS   5
#define DIALS    5

struct stage {
	struct loop *loop;
	struct world *world;
	struct network *network;
	struct judge *judge;
	struct judge_reader *judged;
	struct fault_scene hosts[HOSTS];
	char *data_folder;
	struct group_test *group;
	struct stream_reader *reader;
};

static void stage_open(struct stage *s)
{
	const struct world_settings settings = {
		.seed = test_random(),
		.hosts = HOSTS,
		.accounts = ACCOUNTS,
		.port = free_port(),
	};

	*s = (struct stage){.loop = loop_new(), .data_folder = xstrdup(test_folder())};
	s->world = world_new(&settings);
	s->network = network_new(s->loop, s->world);
	s->judge = judge_open();
	s->judged = judge_reader_new(s->judge, "the reader");
	for (uint32_t i = 0; i < HOSTS; i++)
		fault_scene_init(&s->hosts[i], s->network, s->world, s->judge, i, i, i + HOSTS);
}

static void stage_close(struct stage *s)
{
	network_free(s->network);
	judge_reader_free(s->judged);
	judge_close(s->judge);
	for (size_t i = 0; i < HOSTS; i++)
		fault_scene_release(&s->hosts[i]);
	world_free(s->world);
	loop_free(s->loop);
	free(s->data_folder);
}

static void all_speak(struct stage *s)
{
	for (unsigned i = 0; i < EVENTS * HOSTS; i++)
		fault_scene_speak(&s->hosts[i % HOSTS]);
}

/* Two settings more, or none. */
static void start(struct stage *s, const char *more, const char *even_more)
{
	char data[512], hosts[HOSTS * (LIMIT_HOST + 1) + 64] = "ingest.hosts=";
	const char *const settings[] = {data, hosts,     "ingest.connect_timeout=30s",
					more, even_more, NULL};

	snprintf(data, sizeof(data), "group.data_dir=%s", s->data_folder);
	for (uint32_t i = 0; i < HOSTS; i++) {
		char name[LIMIT_HOST + 1];
		size_t len = strlen(hosts);

		snprintf(hosts + len, sizeof(hosts) - len, "%s ",
			 world_host_name(s->world, i, name));
	}
	s->group = relay_new(s->loop, s->network, settings);
	group_start(s->group);
	s->reader = relay_judge(s->loop, s->group, s->judged);
}

static void stop(struct stage *s)
{
	stream_reader_free(s->reader);
	group_free(s->group);
}

/* As the network's own file has it, without the unknown one; and ::1, where the network is not. */
static void write_astray(const struct stage *s, const char *path)
{
	static const char unknown[] = " h00001.sim.test\n", nobody_there[] = " h00003.sim.test\n";
	FILE *f = fopen(path, "we");
	struct buf text;
	char *line, *rest;

	buf_init(&text, KIB(64));
	world_hosts_file(s->world, &text);
	buf_put_u8(&text, '\0');
	CHECK(f != NULL);
	for (rest = (char *)text.ptr; f && (line = strsep(&rest, "\n")) && *line;) {
		const char *name = strchr(line, ' ');

		if (strncmp(name, nobody_there, strlen(name)) == 0)
			fprintf(f, "::1%s\n", name);
		else if (strncmp(name, unknown, strlen(name)) != 0)
			fprintf(f, "%s\n", line);
	}
	if (f)
		fclose(f);
	buf_release(&text);
}

static void start_astray(struct stage *s)
{
	char path[256], file[320], private_hosts[128];

	snprintf(path, sizeof(path), "%s/astray", s->data_folder);
	write_astray(s, path);
	snprintf(file, sizeof(file), "network.hosts_file=%s", path);
	snprintf(private_hosts, sizeof(private_hosts),
		 "network.private_hosts=plc.sim.test:* h00000.sim.test:* h00001.sim.test:* "
		 "h00003.sim.test:*");
	start(s, file, private_hosts);
}

struct until {
	const struct stage *stage;
	uint64_t received;
};

static bool have_come(void *arg)
{
	const struct until *u = arg;

	return judge_reader_count(u->stage->judged) >= u->received;
}

static bool is_complete(void *arg)
{
	const struct stage *s = arg;

	return judge_is_complete(s->judge);
}

static void wait_failures(struct stage *s, const char *reason, int64_t count)
{
	group_wait_metric(s->group, "ingest", "relay_connection_failures_total", reason, count);
}

TEST(names_that_lead_nowhere)
{
	struct until well;
	struct stage s;

	stage_open(&s);
	start_astray(&s);
	all_speak(&s);
	wait_failures(&s, "\"forbidden_address\"", DIALS);
	wait_failures(&s, "\"connect\"", DIALS);
	wait_failures(&s, "\"dns\"", 1);
	well = (struct until){&s, EVENTS};
	wait_until(s.loop, have_come, &well, "the events of the host that is well");
	for (uint32_t i = 0; i < HOSTS; i++)
		CHECK_INT(network_host_connections(s.network, i) > 0, i == WELL);
	CHECK_INT(judge_reader_count(s.judged), EVENTS);
	stop(&s);

	start(&s, NULL, NULL);
	relay_wait_hosts(s.loop, s.network);
	all_speak(&s);
	wait_until(s.loop, is_complete, &s, "all events");
	relay_settle(s.loop, s.group, 2 * EVENTS * HOSTS - EVENTS, s.judged);
	CHECK(judge_verdict(s.judge));
	stop(&s);
	stage_close(&s);
}
