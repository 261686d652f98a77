/*
 * How long a relay takes to have all of the network's hosts: from the start of its processes until
 * each host has its WebSocket. The first time they come from another relay's list, and each is
 * looked at before it is taken; then they are known. The hosts' side of it has to be done by the
 * same machine.
 */
#include "tests/bench/relay.h"

#define HOSTS 2800
#define RUNS  3

/* Seconds. */
static double connect_all(struct bench_relay *r)
{
	uint64_t from = bench_wall_nsec();

	bench_relay_start(r);
	if (!bench_relay_wait_hosts(r))
		return 0;
	return (double)(bench_wall_nsec() - from) / 1e9;
}

TEST(connect_hosts)
{
	const struct world_settings world = {.seed = 1, .hosts = HOSTS, .accounts = 1000};
	struct bench_relay r;
	double runs[RUNS], cpu[RUNS];

	bench_begin("connect");
	bench_relay_open(&r, &world, NULL);
	bench_say("the first time, from a list: %.1f s", connect_all(&r));
	bench_relay_stop(&r);
	for (size_t i = 0; i < RUNS; i++) {
		uint64_t nsec[BENCH_STAGES];

		runs[i] = connect_all(&r);
		bench_relay_cpu(&r, nsec);
		cpu[i] = (double)nsec[BENCH_INGEST] / 1000 / HOSTS;
		bench_relay_stop(&r);
	}
	bench_figure("connect.hosts_s", "s", runs, RUNS);
	bench_figure("connect.ingest_us_per_host", "us", cpu, RUNS);
	bench_end();
	bench_relay_close(&r);
}
