#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "tests/simnet/command.h"

#define KINDS 4

static const char *const kind_names[KINDS] = {
	[CORPUS_COMMIT] = "#commit",
	[CORPUS_SYNC] = "#sync",
	[CORPUS_IDENTITY_EVENT] = "#identity",
	[CORPUS_ACCOUNT] = "#account",
};

struct sizes {
	uint64_t count, bytes, largest;
};

struct counts {
	struct sizes kinds[KINDS];
	uint64_t verdicts[VERDICT_MAX];
	uint64_t barriers, identities;
};

static int open_corpus(int argc, char **argv, struct corpus *ret)
{
	int r;

	if (argc != 2)
		return EXIT_USAGE;
	r = corpus_open(argv[1], ret);
	if (r < 0)
		fprintf(stderr, "%s: %s\n", argv[1], strerror(-r));
	return r < 0 ? 1 : 0;
}

static int close_corpus(struct corpus *c, const char *path, int last)
{
	corpus_close(c);
	if (last < 0)
		fprintf(stderr, "%s: %s\n", path, strerror(-last));
	return last < 0 ? 1 : 0;
}

static void count(struct counts *n, const struct corpus_record *r)
{
	struct sizes *s = &n->kinds[r->kind];

	n->barriers += r->type == CORPUS_BARRIER;
	n->identities += r->type == CORPUS_IDENTITY;
	if (r->type != CORPUS_EVENT)
		return;
	n->verdicts[r->verdict]++;
	s->count++;
	s->bytes += r->frame.len;
	if (r->frame.len > s->largest)
		s->largest = r->frame.len;
}

static void print_counts(const struct counts *n)
{
	for (size_t i = 0; i < KINDS; i++) {
		const struct sizes *s = &n->kinds[i];

		if (s->count > 0)
			printf("%-10s %10" PRIu64 " events, mean %" PRIu64
			       " bytes, largest %" PRIu64 "\n",
			       kind_names[i], s->count, s->bytes / s->count, s->largest);
	}
	for (size_t i = 0; i < VERDICT_MAX; i++)
		if (n->verdicts[i] > 0)
			printf("%-10s %10" PRIu64 " events\n", verdict_info((enum verdict)i)->name,
			       n->verdicts[i]);
	printf("%-10s %10" PRIu64 "\n%-10s %10" PRIu64 "\n", "barriers", n->barriers, "changes",
	       n->identities);
}

int command_show(int argc, char **argv)
{
	struct counts n = {0};
	struct corpus_record r;
	struct corpus c;
	int error = open_corpus(argc, argv, &c);

	if (error)
		return error;
	printf("%" PRIu32 " hosts, %" PRIu32 " accounts, seed %" PRIu64 ", %" PRIu64
	       " events, %zu bytes\n",
	       c.settings.hosts, c.settings.accounts, c.settings.seed, c.events, c.map.len);
	while ((error = corpus_next(&c, &r)) > 0)
		count(&n, &r);
	print_counts(&n);
	return close_corpus(&c, argv[1], error);
}

static void print_record(const struct corpus_record *r)
{
	static const char *const states[] = {"present",       "missing",       "tombstoned",
					     "without a key", "without a PDS", "unknown"};

	if (r->type == CORPUS_BARRIER)
		printf("barrier\n");
	else if (r->type == CORPUS_IDENTITY)
		printf("change account=%" PRIu32 " host=%" PRIu32 " key=%" PRIu32 " handle=%" PRIu32
		       " %s\n",
		       r->account, r->identity.host, r->identity.key, r->identity.handle,
		       states[r->identity.state]);
	else
		printf("%s host=%" PRIu32 " seq=%" PRIu64 " account=%" PRIu32 " bytes=%zu %s\n",
		       kind_names[r->kind], r->host, r->seq, r->account, r->frame.len,
		       verdict_info(r->verdict)->name);
}

int command_records(int argc, char **argv)
{
	struct corpus_record r;
	struct corpus c;
	int error = open_corpus(argc, argv, &c);

	if (error)
		return error;
	while ((error = corpus_next(&c, &r)) > 0)
		print_record(&r);
	return close_corpus(&c, argv[1], error);
}
