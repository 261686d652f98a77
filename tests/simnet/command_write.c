#include "tests/simnet/command.h"

int command_write(int argc, char **argv)
{
	struct traffic_settings traffic;
	struct world_settings settings;
	struct corpus_writer *out;
	struct world *world;

	if (argc < 2)
		return EXIT_USAGE;
	options_parse(argv + 2, (size_t)argc - 2, &settings, &traffic);
	world = world_new(&settings);
	out = corpus_writer_open(argv[1], &settings);
	traffic_write(world, &traffic, out);
	corpus_writer_close(out);
	world_free(world);
	return 0;
}
