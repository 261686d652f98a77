#include <errno.h>
#include <inttypes.h>
#include <linux/limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "tests/simnet/command.h"
#include "tests/simnet/player.h"

struct service {
	struct loop *loop;
	struct corpus corpus;
	struct world *world;
	struct network *network;
	struct player *player;
};

static void stop(void *arg)
{
	struct service *s = arg;

	loop_quit(s->loop, 0);
}

/* The lines that a relay needs, for its --set, then one that says that all is there. */
static void say_settings(struct service *s, const char *folder)
{
	const char *const *lines = network_relay_settings(s->network, folder);

	for (; *lines; lines++)
		printf("%s\n", *lines);
	printf("ready\n");
	fflush(stdout);
}

static int serve(struct service *s, const char *folder, uint64_t per_sec)
{
	int status;

	s->loop = loop_new();
	s->world = world_new(&s->corpus.settings);
	s->network = network_new(s->loop, s->world);
	s->player = player_new(s->loop, &s->corpus, s->world, s->network, NULL, per_sec);
	loop_on_stop(s->loop, stop, s);
	say_settings(s, folder);
	player_start(s->player);
	status = loop_run(s->loop);
	fprintf(stderr, "simnet: %" PRIu64 " events were sent\n", player_sent(s->player));
	player_free(s->player);
	network_free(s->network);
	world_free(s->world);
	loop_free(s->loop);
	return status;
}

/* rate= and corpus= are the command's own; the rest says what corpus there has to be. */
int command_serve(int argc, char **argv)
{
	struct traffic_settings traffic;
	struct world_settings world;
	struct service s = {.loop = NULL};
	char path[PATH_MAX] = "", **rest;
	uint64_t per_sec = 100;
	size_t count = 0;
	int r, status;

	if (argc < 2)
		return EXIT_USAGE;
	rest = xcalloc((size_t)argc, sizeof(*rest));
	for (int i = 2; i < argc; i++)
		if (sscanf(argv[i], "rate=%" SCNu64, &per_sec) != 1 &&
		    sscanf(argv[i], "corpus=%4095s", path) != 1)
			rest[count++] = argv[i];
	options_parse(rest, count, &world, &traffic);
	free(rest);
	r = corpus_open(*path ? path : traffic_corpus(&world, &traffic), &s.corpus);
	if (r == 0 && mkdir(argv[1], 0777) < 0 && errno != EEXIST)
		r = -errno;
	if (r < 0) {
		fprintf(stderr, "simnet: %s: %s\n", *path ? path : argv[1], strerror(-r));
		return 1;
	}
	status = serve(&s, argv[1], per_sec);
	corpus_close(&s.corpus);
	return status;
}
