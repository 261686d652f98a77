#include "validate/replay.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/did_document.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/stage.h"
#include "validate/judge.h"
#include "validate/recording.h"

#define EXIT_REFUSED 1
#define CACHE_BYTES  MIB(64) /* identities of 250,000 accounts */
#define REASON_SIZE  256

/* The host of all frames, and every account's, where neither is to be checked. */
#define ANY_HOST "any.invalid"

static const char usage[] =
	"usage: standpipe check [OPTION]... FILE...\n"
	"\n"
	"  --document FILE   a DID document of an account in the recording, or a folder of them;\n"
	"                    may be repeated\n"
	"  --key KEY         the key of all other accounts: did:key:z... or z...\n"
	"  --host HOST       the host that the frames came from, to be the PDS of their accounts\n"
	"  --legacy          prevData, and prev of an operation, may be missing\n"
	"  --help            print this and exit\n"
	"\n"
	"FILE holds frames one after another, or messages of the log (.ws); - is standard input.\n";

struct replay {
	struct config *config;
	struct checker *checker;
	struct identity_cache *cache;
	struct judge *judge;
	uint64_t now_usec;
	uint64_t uptime_usec;
	struct host host;
	bool has_host;
	struct public_key key;
	bool has_key;
	/* frames, in all files */
	unsigned long accepted, refused, unverified, skipped;
};

static void init(struct replay *r)
{
	*r = (struct replay){
		.config = config_new(), .now_usec = clock_usec(), .uptime_usec = uptime_usec()};
	r->checker = checker_new();
	r->cache = identity_cache_new(CACHE_BYTES, UINT64_MAX / 2, UINT64_MAX / 2,
				      checker_signatures(r->checker));
}

static void release(struct replay *r)
{
	judge_free(r->judge);
	identity_cache_free(r->cache);
	checker_free(r->checker);
	config_free(r->config);
}

static struct span host_of(const struct replay *r, const struct host *h,
			   char text[static LIMIT_HOST + 1])
{
	return r->has_host ? span_str(host_format(h, text)) : SPAN_LITERAL(ANY_HOST);
}

static void know(struct replay *r, struct span did, const struct public_key *key,
		 const struct host *pds, const char *handle)
{
	char text[LIMIT_HOST + 1];
	const struct identity i = {
		.status = IDENTITY_FOUND,
		.fetched_usec = r->uptime_usec,
		.did = did,
		.key = *key,
		.pds = host_of(r, pds, text),
		.handle = span_str(handle),
	};

	identity_cache_put(r->cache, &i, r->uptime_usec);
}

/* Arguments */

static int read_document(const char *path, struct buf *out)
{
	FILE *f = fopen(path, "re");
	size_t n;
	int error = 0;

	if (!f)
		return -errno;
	n = fread(buf_extend(out, LIMIT_DID_DOCUMENT), 1, LIMIT_DID_DOCUMENT, f);
	out->len = n;
	if (ferror(f))
		error = -EIO;
	else if (n == LIMIT_DID_DOCUMENT && fgetc(f) != EOF)
		error = -EFBIG;
	fclose(f);
	return error;
}

static int take_document_file(struct replay *r, const char *path)
{
	enum did_document_fault fault = DID_DOCUMENT_NOT_JSON;
	struct did_document document;
	struct buf json, did;
	int error;

	buf_init(&json, LIMIT_DID_DOCUMENT);
	buf_init(&did, LIMIT_DID_DOCUMENT);
	error = read_document(path, &json);
	if (error < 0) {
		fprintf(stderr, "standpipe: %s: %s\n", path, strerror(-error));
	} else {
		if (did_document_subject(buf_span(&json), &did) == 0)
			fault = did_document_parse(buf_span(&json), buf_span(&did), &document);
		if (fault == DID_DOCUMENT_OK)
			know(r, buf_span(&did), &document.key, &document.pds, document.handle);
		else
			fprintf(stderr, "standpipe: %s: no usable DID document: %s\n", path,
				did_document_fault_name(fault));
	}
	buf_release(&json);
	buf_release(&did);
	return error < 0 || fault != DID_DOCUMENT_OK ? STAGE_EXIT_USAGE : STAGE_GO;
}

/* A document, or a folder with nothing but documents. */
static int take_document(struct replay *r, const char *path)
{
	DIR *folder = opendir(path);
	const struct dirent *entry;
	char name[PATH_MAX];
	int status = STAGE_GO;

	if (!folder)
		return take_document_file(r, path);
	while (status == STAGE_GO && (entry = readdir(folder))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		status = take_document_file(r, name);
	}
	closedir(folder);
	return status;
}

static int take_key(struct replay *r, const char *text)
{
	r->has_key = did_key_parse(span_str(text), &r->key) == 0 ||
		     multikey_parse(span_str(text), &r->key) == 0;
	if (r->has_key)
		return STAGE_GO;
	fprintf(stderr, "standpipe: no key: %s\n", text);
	return STAGE_EXIT_USAGE;
}

static int take_host(struct replay *r, const char *text)
{
	r->has_host = host_parse(span_str(text), &r->host) == 0;
	if (r->has_host)
		return STAGE_GO;
	fprintf(stderr, "standpipe: no host name: %s\n", text);
	return STAGE_EXIT_USAGE;
}

static int take_legacy(struct replay *r)
{
	char reason[REASON_SIZE];

	if (config_set(r->config, "validate.legacy_hosts=*", reason, sizeof(reason)) == 0)
		return STAGE_GO;
	fprintf(stderr, "standpipe: %s\n", reason);
	return STAGE_EXIT_CONFIG;
}

/* The host first: documents are kept according to it. STAGE_GO, or the exit status. */
static int take_options(struct replay *r, int argc, char **argv, bool is_second)
{
	static const struct option options[] = {
		{"document", required_argument, NULL, 'd'}, {"key", required_argument, NULL, 'k'},
		{"host", required_argument, NULL, 'o'},     {"legacy", no_argument, NULL, 'l'},
		{"help", no_argument, NULL, 'h'},           {NULL, 0, NULL, 0},
	};
	int option, status = STAGE_GO;

	optind = 0;
	opterr = !is_second;
	while (status == STAGE_GO && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'h') {
			fputs(usage, stdout);
			status = 0;
		} else if (option == '?') {
			fputs(usage, stderr);
			status = STAGE_EXIT_USAGE;
		} else if (option == 'd') {
			status = is_second ? take_document(r, optarg) : STAGE_GO;
		} else if (is_second) {
			continue;
		} else if (option == 'k') {
			status = take_key(r, optarg);
		} else if (option == 'o') {
			status = take_host(r, optarg);
		} else {
			status = take_legacy(r);
		}
	}
	return status;
}

static int take_arguments(struct replay *r, int argc, char **argv)
{
	int status = take_options(r, argc, argv, false);

	if (status == STAGE_GO)
		status = take_options(r, argc, argv, true);
	if (status == STAGE_GO && optind == argc) {
		fputs(usage, stderr);
		status = STAGE_EXIT_USAGE;
	}
	return status;
}

/* Frames */

static const char *text_of(struct span s)
{
	return s.len > 0 ? log_text(s) : "?";
}

static void print_line(const struct replay *r, const char *verdict, const char *section,
		       const char *text)
{
	const struct frame *f = judge_frame(r->judge);

	printf("%lu: %s %s seq=%" PRIu64 " did=%s",
	       r->accepted + r->refused + r->unverified + r->skipped, verdict, frame_kind_name(f),
	       f->seq, text_of(f->did));
	if (f->rev.len > 0)
		printf(" rev=%s", text_of(f->rev));
	if (section)
		printf(" [%s]", section);
	if (text)
		printf(" %s", text);
	putchar('\n');
}

static void print_verdict(struct replay *r, enum verdict v)
{
	const struct verdict_info *info = verdict_info(v);

	if (v == VERDICT_ACCEPTED)
		r->accepted++;
	else if (v == VERDICT_UNKNOWN_KIND)
		r->skipped++;
	else
		r->refused++;
	if (v == VERDICT_ACCEPTED)
		print_line(r, info->name, NULL, NULL);
	else
		print_line(r, info->name, info->section, info->text);
}

/* Without a key: what can be said of it all the same. */
static void check_unverified(struct replay *r)
{
	const struct frame *f = judge_frame(r->judge);
	enum verdict v = VERDICT_ACCEPTED;
	struct verified facts;

	if (f->kind == EVENT_COMMIT || f->kind == EVENT_SYNC)
		v = check_unsigned_blocks(r->checker, f, judge_rules(r->judge), &facts);
	if (v != VERDICT_ACCEPTED) {
		print_verdict(r, v);
		return;
	}
	r->unverified++;
	print_line(r, "unverified", NULL,
		   "No key of the account was given, so that its signature was not checked.");
}

static void check_frame(struct replay *r, struct span frame)
{
	char host[LIMIT_HOST + 1];
	const struct event e = {
		.host = host_of(r, &r->host, host),
		.received_usec = r->now_usec,
		.received_uptime_usec = r->uptime_usec,
		.frame = frame,
	};
	const struct frame *f = judge_frame(r->judge);
	enum verdict v = judge_read(r->judge, &e);
	struct judgement j;

	if (v != VERDICT_ACCEPTED) {
		print_verdict(r, v);
		return;
	}
	if (r->has_key && !identity_cache_find(r->cache, f->did))
		know(r, f->did, &r->key, &r->host, "");
	judge_decide(r->judge, &e, r->uptime_usec, &j);
	if (j.outcome == OUTCOME_WAITS)
		check_unverified(r);
	else
		print_verdict(r, j.verdict);
}

/* Negative errno. */
static int check_file(struct replay *r, const char *path)
{
	struct recording recording;
	struct span frame;
	int result = recording_open(&recording, path);

	if (result < 0)
		return result;
	while ((result = recording_next(&recording, &frame)) > 0)
		check_frame(r, frame);
	recording_close(&recording);
	return result;
}

static int check_files(struct replay *r, char **paths)
{
	int status = 0;

	r->judge = judge_new(r->config, r->checker, r->cache);
	for (; *paths; paths++) {
		int error = check_file(r, *paths);

		if (error == -EBADMSG) {
			fprintf(stderr, "standpipe: %s: where the last frame ends cannot be told\n",
				*paths);
		} else if (error < 0) {
			fprintf(stderr, "standpipe: %s: %s\n", *paths, strerror(-error));
			status = STAGE_EXIT_AGAIN;
		}
	}
	printf("%lu accepted, %lu refused, %lu unverified, %lu skipped\n", r->accepted, r->refused,
	       r->unverified, r->skipped);
	if (status == 0 && r->refused + r->unverified > 0)
		status = EXIT_REFUSED;
	return status;
}

int replay_main(int argc, char **argv)
{
	struct replay r;
	int status;

	/* Whoever reads along sees each line as soon as its frame has come. */
	setvbuf(stdout, NULL, _IOLBF, 0);
	init(&r);
	status = take_arguments(&r, argc, argv);
	if (status == STAGE_GO)
		status = check_files(&r, argv + optind);
	release(&r);
	return status;
}
