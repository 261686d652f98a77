#include <inttypes.h>
#include <stdio.h>

#include "tests/simnet/command.h"
#include "tests/simnet/event_text.h"
#include "tests/simnet/player.h"
#include "tests/simnet/relay.h"
#include "tests/test.h"

#define EVENTS 10000

struct demo {
	struct loop *loop;
	struct corpus corpus;
	struct world *world;
	struct network *network;
	struct group_test *group;
	struct player *player;
	struct stream_reader *reader;
	struct buf line;
	uint64_t shown;
	bool is_running; /* nothing else waits on the loop */
	bool is_stopped;
};

static void stop(void *arg)
{
	struct demo *d = arg;

	d->is_stopped = true;
	if (d->is_running)
		loop_quit(d->loop, 0);
}

static void show(void *arg, struct span frame)
{
	struct demo *d = arg;

	buf_clear(&d->line);
	event_put_text(frame, &d->line);
	printf("%.*s\n", (int)d->line.len, (const char *)d->line.ptr);
	/* Whoever reads this has gone. */
	if (ferror(stdout))
		stop(d);
	if (++d->shown == d->corpus.events)
		printf("That is all that the simulated hosts have to say. Ctrl-C ends it.\n");
}

static void lost(void *arg)
{
	struct demo *d = arg;

	stream_reader_free(d->reader);
	d->reader = NULL;
	fprintf(stderr, "the relay's stream ended\n");
	loop_quit(d->loop, 1);
}

/* A small network of its own; no did:web, since such a DID holds the port. */
static void open_network(struct demo *d)
{
	struct world_settings world = {.seed = 3,
				       .hosts = 20,
				       .accounts = 2000,
				       .big_hosts = 5,
				       .p256_percent = 5,
				       .legacy_percent = 10};
	struct traffic_settings traffic;
	int r;

	traffic_defaults(EVENTS, &traffic);
	r = corpus_open(traffic_corpus(&world, &traffic), &d->corpus);
	if (r < 0) {
		fprintf(stderr, "simnet: the corpus: %s\n", strerror(-r));
		exit(1);
	}
	world.port = free_port();
	d->world = world_new(&world);
	d->network = network_new(d->loop, d->world);
}

static void open_reader(struct demo *d)
{
	uint16_t port = group_port(d->group);
	struct reader_handler handler = {show, lost, d};

	printf("%" PRIu32 " simulated hosts and their directory are at port %u of 127.77.0.0/16; "
	       "nothing leaves this machine.\n"
	       "The relay reads them all by TLS. It is at http://127.0.0.1:%u, and its stream at\n"
	       "ws://127.0.0.1:%u/xrpc/com.atproto.sync.subscribeRepos?cursor=0\n"
	       "Every event that it has verified is a line here. Ctrl-C ends it all.\n\n",
	       d->corpus.settings.hosts, world_settings(d->world)->port, port, port);
	d->reader = relay_read(d->loop, d->group, 0, &handler);
}

static int run(struct demo *d, uint64_t per_sec)
{
	int status;

	open_reader(d);
	d->player = player_new(d->loop, &d->corpus, d->world, d->network, NULL, per_sec);
	player_start(d->player);
	d->is_running = true;
	status = loop_run(d->loop);
	d->is_running = false;
	return status;
}

/* The reader first, so that it does not take the relay's end for a loss. */
static void close_all(struct demo *d)
{
	player_free(d->player);
	stream_reader_free(d->reader);
	group_free(d->group);
	network_free(d->network);
	world_free(d->world);
	corpus_close(&d->corpus);
	buf_release(&d->line);
	loop_free(d->loop);
}

int command_demo(int argc, char **argv)
{
	struct demo d = {.loop = loop_new()};
	uint64_t per_sec = 5;
	int status = 0;

	if (argc > 2 || (argc == 2 && sscanf(argv[1], "rate=%" SCNu64, &per_sec) != 1))
		return EXIT_USAGE;
	setvbuf(stdout, NULL, _IOLBF, 0);
	buf_init(&d.line, LIMIT_FRAME);
	loop_on_stop(d.loop, stop, &d);
	open_network(&d);
	d.group = relay_new(d.loop, d.network, NULL);
	group_start(d.group);
	if (!d.is_stopped && !test_has_failed())
		status = run(&d, per_sec);
	close_all(&d);
	return test_has_failed() ? 1 : status;
}
