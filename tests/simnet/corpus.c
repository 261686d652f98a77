#include "tests/simnet/corpus.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC       "simnet-corpus\n"
#define VERSION     1
#define HEAD_SIZE   (sizeof(MAGIC) - 1 + 2 + 3 * 8 + 8 * 4)
#define RECORD_SIZE (5 + 2 + 4 * 4 + 8 + 2 * 4) /* without its frame */
#define FILE_BUFFER MIB(1)

struct corpus_writer {
	char path[PATH_MAX], part[PATH_MAX]; /* part: its name while it is written */
	FILE *file;
	struct world_settings settings;
	uint64_t events, bytes;
	struct buf record;
};

_Noreturn static void give_up(const char *path)
{
	fprintf(stderr, "%s: %s\n", path, strerror(errno));
	exit(1);
}

/* Decoded by head_decode. bytes: of the whole file. */
static void head_encode(struct buf *b, const struct world_settings *s, uint64_t events,
			uint64_t bytes)
{
	buf_append_str(b, MAGIC);
	buf_put_u16(b, VERSION);
	buf_put_u64(b, events);
	buf_put_u64(b, bytes);
	buf_put_u64(b, s->seed);
	buf_put_u32(b, s->hosts);
	buf_put_u32(b, s->accounts);
	buf_put_u32(b, s->port);
	buf_put_u32(b, s->plain);
	buf_put_u32(b, s->big_hosts);
	buf_put_u32(b, s->p256_percent);
	buf_put_u32(b, s->web_percent);
	buf_put_u32(b, s->legacy_percent);
}

static int head_decode(struct reader *r, struct world_settings *ret, uint64_t *ret_events,
		       uint64_t *ret_bytes)
{
	struct span magic;
	uint16_t version;
	uint32_t port, plain;

	if (reader_get_span(r, sizeof(MAGIC) - 1, &magic) < 0 || !span_is(magic, MAGIC) ||
	    reader_get_u16(r, &version) < 0 || version != VERSION ||
	    reader_get_u64(r, ret_events) < 0 || reader_get_u64(r, ret_bytes) < 0 ||
	    reader_get_u64(r, &ret->seed) < 0 || reader_get_u32(r, &ret->hosts) < 0 ||
	    reader_get_u32(r, &ret->accounts) < 0 || reader_get_u32(r, &port) < 0 ||
	    reader_get_u32(r, &plain) < 0 || reader_get_u32(r, &ret->big_hosts) < 0 ||
	    reader_get_u32(r, &ret->p256_percent) < 0 || reader_get_u32(r, &ret->web_percent) < 0 ||
	    reader_get_u32(r, &ret->legacy_percent) < 0)
		return -EBADMSG;
	ret->port = (uint16_t)port;
	ret->plain = plain != 0;
	return 0;
}

/* Its frame follows. Decoded by record_decode. */
static void record_encode(struct buf *b, const struct corpus_record *r)
{
	bool is_identity = r->type == CORPUS_IDENTITY;

	buf_put_u8(b, (uint8_t)r->type);
	buf_put_u8(b, (uint8_t)r->kind);
	buf_put_u8(b, (uint8_t)r->identity.state);
	buf_put_u8(b, (uint8_t)r->seq_size);
	buf_put_u8(b, r->loses_handle);
	buf_put_u16(b, (uint16_t)r->verdict);
	buf_put_u32(b, r->account);
	buf_put_u32(b, is_identity ? r->identity.host : r->host);
	buf_put_u32(b, r->identity.key);
	buf_put_u32(b, r->identity.handle);
	buf_put_u64(b, r->seq);
	buf_put_u32(b, r->seq_offset);
	buf_put_u32(b, (uint32_t)r->frame.len);
}

static int record_decode(struct reader *r, struct corpus_record *ret)
{
	struct corpus_record c = {0};
	uint8_t type, kind, state, seq_size, loses_handle;
	uint16_t verdict;
	uint32_t size;

	if (reader_get_u8(r, &type) < 0 || reader_get_u8(r, &kind) < 0 ||
	    reader_get_u8(r, &state) < 0 || reader_get_u8(r, &seq_size) < 0 ||
	    reader_get_u8(r, &loses_handle) < 0 || reader_get_u16(r, &verdict) < 0 ||
	    reader_get_u32(r, &c.account) < 0 || reader_get_u32(r, &c.host) < 0 ||
	    reader_get_u32(r, &c.identity.key) < 0 || reader_get_u32(r, &c.identity.handle) < 0 ||
	    reader_get_u64(r, &c.seq) < 0 || reader_get_u32(r, &c.seq_offset) < 0 ||
	    reader_get_u32(r, &size) < 0 || reader_get_span(r, size, &c.frame) < 0)
		return -EBADMSG;
	if (type < CORPUS_EVENT || type > CORPUS_IDENTITY || kind > CORPUS_ACCOUNT ||
	    state >= WORLD_IDENTITY_STATES || verdict >= VERDICT_MAX || loses_handle > 1 ||
	    seq_size > size || c.seq_offset > size - seq_size)
		return -EBADMSG;
	c.type = type;
	c.kind = kind;
	c.identity.state = state;
	c.identity.host = c.host;
	c.seq_size = seq_size;
	c.loses_handle = loses_handle;
	c.verdict = verdict;
	*ret = c;
	return 0;
}

static void put_bytes(struct corpus_writer *w, struct span s)
{
	if (s.len > 0 && fwrite(s.ptr, s.len, 1, w->file) != 1)
		give_up(w->part);
	w->bytes += s.len;
}

static void put_head(struct corpus_writer *w)
{
	uint64_t bytes = w->bytes;

	buf_clear(&w->record);
	head_encode(&w->record, &w->settings, w->events, bytes);
	assert(w->record.len == HEAD_SIZE);
	put_bytes(w, buf_span(&w->record));
}

struct corpus_writer *corpus_writer_open(const char *path, const struct world_settings *s)
{
	struct corpus_writer *w = xcalloc(1, sizeof(*w));

	w->settings = *s;
	buf_init(&w->record, KIB(1));
	snprintf(w->path, sizeof(w->path), "%s", path);
	if (snprintf(w->part, sizeof(w->part), "%s.%d", path, (int)getpid()) >=
	    (int)sizeof(w->part)) {
		errno = ENAMETOOLONG;
		give_up(path);
	}
	w->file = fopen(w->part, "we");
	if (!w->file || setvbuf(w->file, NULL, _IOFBF, FILE_BUFFER) != 0)
		give_up(w->part);
	/* Without a size: no reader takes it for a whole file. */
	put_head(w);
	return w;
}

void corpus_writer_put(struct corpus_writer *w, const struct corpus_record *r)
{
	assert(r->frame.len <= LIMIT_FRAME);
	buf_clear(&w->record);
	record_encode(&w->record, r);
	assert(w->record.len == RECORD_SIZE);
	put_bytes(w, buf_span(&w->record));
	put_bytes(w, r->frame);
	w->events += r->type == CORPUS_EVENT;
}

void corpus_writer_close(struct corpus_writer *w)
{
	if (fseek(w->file, 0, SEEK_SET) < 0)
		give_up(w->part);
	put_head(w);
	/* Or what is synced next, by a store that is under test, would wait for all of it. */
	if (fflush(w->file) != 0 || fdatasync(fileno(w->file)) < 0)
		give_up(w->part);
	if (fclose(w->file) != 0 || rename(w->part, w->path) < 0)
		give_up(w->part);
	buf_release(&w->record);
	free(w);
}

static int map_file(const char *path, struct span *ret)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), r = 0;
	struct stat st;
	void *map;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	if ((size_t)st.st_size < HEAD_SIZE) {
		close(fd);
		return -EBADMSG;
	}
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		r = -errno;
	else
		*ret = span_of(map, (size_t)st.st_size);
	close(fd);
	return r;
}

int corpus_open(const char *path, struct corpus *ret)
{
	struct corpus c = {.offset = HEAD_SIZE};
	struct reader reader;
	uint64_t bytes;
	int r = map_file(path, &c.map);

	if (r < 0)
		return r;
	reader = reader_of(c.map);
	if (head_decode(&reader, &c.settings, &c.events, &bytes) < 0 || bytes != c.map.len) {
		corpus_close(&c);
		return -EBADMSG;
	}
	*ret = c;
	return 0;
}

int corpus_next(struct corpus *c, struct corpus_record *ret)
{
	struct reader r = reader_of(span_of(c->map.ptr + c->offset, c->map.len - c->offset));

	if (r.left == 0)
		return 0;
	if (record_decode(&r, ret) < 0)
		return -EBADMSG;
	c->offset = c->map.len - r.left;
	return 1;
}

void corpus_rewind(struct corpus *c)
{
	c->offset = HEAD_SIZE;
}

void corpus_close(struct corpus *c)
{
	if (c->map.len > 0)
		munmap((void *)c->map.ptr, c->map.len);
	*c = (struct corpus){0};
}
