#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/simnet/traffic.h"

#define FOLDER "build/corpora"

/*
 * A corpus is named by its settings and by what wrote it: "SETTINGS-WRITER.corpus". The writer is
 * known by its work: the hash of a small sample with every kind of event in it, made anew by every
 * process that asks. So a program that would write other bytes finds no file, and writes its own in
 * place of the old one; one that was only built again finds it. What is too rare for the sample,
 * the largest records and commits, is known by a number that has to be raised with them.
 */
#define RARE_VERSION 1

static const struct world_settings sample_world = {
	.seed = 1,
	.hosts = 20,
	.accounts = 200,
	.port = 2471,
	.big_hosts = 4,
	.p256_percent = 30,
	.web_percent = 20,
};

static const struct traffic_settings sample_traffic = {
	.events = 400,
	.active = 50,
	.records = 20,
	.changes = 20000,
};

_Noreturn static void give_up(const char *path)
{
	fprintf(stderr, "%s: %s\n", path, strerror(errno));
	exit(1);
}

static const char *folder(void)
{
	const char *given = getenv("STANDPIPE_CORPORA");

	if (given)
		return given;
	if ((mkdir("build", 0777) < 0 && errno != EEXIST) ||
	    (mkdir(FOLDER, 0777) < 0 && errno != EEXIST))
		give_up(FOLDER);
	return FOLDER;
}

static void write_corpus(const char *path, const struct world_settings *s,
			 const struct traffic_settings *t)
{
	struct corpus_writer *out = corpus_writer_open(path, s);
	struct world *w = world_new(s);

	traffic_write(w, t, out);
	corpus_writer_close(out);
	world_free(w);
}

static uint64_t hash_of_writer(void)
{
	static uint64_t hash;
	char path[PATH_MAX];
	struct corpus c;
	int r;

	if (hash)
		return hash;
	snprintf(path, sizeof(path), "%s/sample.%d", folder(), (int)getpid());
	write_corpus(path, &sample_world, &sample_traffic);
	r = corpus_open(path, &c);
	if (r < 0) {
		errno = -r;
		give_up(path);
	}
	hash = span_hash(c.map) + RARE_VERSION;
	corpus_close(&c);
	unlink(path);
	return hash;
}

static uint64_t hash_of_settings(const struct world_settings *s, const struct traffic_settings *t)
{
	struct buf b;
	uint64_t hash;

	buf_init(&b, KIB(1));
	buf_printf(&b, "%" PRIu64 " %" PRIu32 " %" PRIu32 " %u %d %u %u %u %u;", s->seed, s->hosts,
		   s->accounts, s->port, s->plain, s->big_hosts, s->p256_percent, s->web_percent,
		   s->legacy_percent);
	buf_printf(&b, "%" PRIu64 " %" PRIu32 " %d %u %u %d", t->events, t->active, t->all_first,
		   t->records, t->changes, t->commits_only);
	hash = span_hash(buf_span(&b));
	buf_release(&b);
	return hash;
}

static bool is_there(const char *path)
{
	struct corpus c;

	if (corpus_open(path, &c) < 0)
		return false;
	corpus_close(&c);
	return true;
}

/* Corpora of the same settings that other programs wrote. Who has one open keeps it. */
static void remove_older(uint64_t settings)
{
	char start[32], path[PATH_MAX];
	DIR *dir = opendir(folder());
	struct dirent *entry;

	snprintf(start, sizeof(start), "%016" PRIx64 "-", settings);
	while (dir && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, start, strlen(start)) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder(), entry->d_name);
		unlink(path);
	}
	if (dir)
		closedir(dir);
}

const char *traffic_corpus(const struct world_settings *s, const struct traffic_settings *t)
{
	static char path[PATH_MAX];
	uint64_t settings = hash_of_settings(s, t);
	int lock;

	snprintf(path, sizeof(path), "%s/%016" PRIx64 "-%016" PRIx64 ".corpus", folder(), settings,
		 hash_of_writer());
	if (is_there(path))
		return path;
	/* Who asks at the same time waits, and then finds it. */
	lock = open(folder(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (lock < 0 || flock(lock, LOCK_EX) < 0)
		give_up(folder());
	if (!is_there(path)) {
		remove_older(settings);
		write_corpus(path, s, t);
	}
	close(lock);
	return path;
}
