/* The real group, led to a simulated network by the network's own list of hosts. */
#include <stdlib.h>
#include <sys/resource.h>

#include "tests/lib/group.h"
#include "tests/simnet/network.h"
#include "tests/test.h"

#define HOSTS        2800 /* as many as the real network has */
#define STEP         400
#define SETTINGS_MAX 16

struct scene {
	struct loop *loop;
	struct world *world;
	struct network *network;
	struct group_test *group;
	uint32_t want;
};

static bool all_are_subscribed(void *arg)
{
	struct scene *s = arg;
	struct network_counts counts;

	network_counts(s->network, &counts);
	return counts.subscribed >= s->want;
}

static double own_cpu_s(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / USEC_PER_SEC;
}

static void open_scene(struct scene *s, uint32_t hosts)
{
	struct world_settings settings = {
		.seed = test_random(), .hosts = hosts, .accounts = 1000, .port = free_port()};
	const char *all[SETTINGS_MAX] = {NULL};
	char bootstrap[LIMIT_HOST + 64], name[LIMIT_HOST + 1];
	const char *const *more;
	size_t n = 0;

	*s = (struct scene){.loop = loop_new()};
	s->world = world_new(&settings);
	s->network = network_new(s->loop, s->world);
	for (more = network_relay_settings(s->network, test_folder()); *more; more++)
		all[n++] = *more;
	snprintf(bootstrap, sizeof(bootstrap), "ingest.bootstrap=https://%s",
		 world_host_name(s->world, 0, name));
	all[n++] = bootstrap;
	s->group = group_new(s->loop, all);
}

static void close_scene(struct scene *s)
{
	group_free(s->group);
	network_free(s->network);
	world_free(s->world);
	loop_free(s->loop);
}

TEST(every_host_of_the_network_is_found_and_read_by_tls)
{
	struct scene s;
	double cpu;
	uint64_t usec;

	open_scene(&s, HOSTS);
	cpu = own_cpu_s();
	usec = clock_usec();
	group_start(s.group);
	/* A step at a time, each as long as a test may wait. */
	for (s.want = 0; s.want < HOSTS && !test_has_failed();) {
		s.want += STEP;
		wait_until(s.loop, all_are_subscribed, &s, "hosts are subscribed to");
	}
	usec = clock_usec() - usec;
	printf("# %d hosts by TLS: %.1f s from the start of the group; CPU: %.1f s ingest, "
	       "%.1f s simulated network\n",
	       HOSTS, (double)usec / USEC_PER_SEC,
	       (double)group_metric(s.group, "ingest", "relay_process_cpu_seconds_total", ""),
	       own_cpu_s() - cpu);
	/* The last answers to handshakes are on their way. */
	for (usec = loop_now_usec(s.loop) + WAIT_USEC; loop_now_usec(s.loop) < usec;)
		if (group_metric(s.group, "ingest", "relay_connections", "") == HOSTS)
			break;
	CHECK_INT(group_metric(s.group, "ingest", "relay_connections", ""), HOSTS);
	CHECK_INT(group_metric(s.group, "ingest", "relay_hosts", ""), HOSTS);
	close_scene(&s);
}
