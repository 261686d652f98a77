#include "store/event_log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cbor.h"
#include "common/crc32c.h"
#include "common/log.h"
#include "common/loop.h"
#include "store/file.h"
#include "store/log_folder.h"
#include "store/log_index.h"
#include "store/log_run.h"

/* The most that one group writes, and so the most that can lie beyond the marker. */
#define GROUP_MAX  (EVENT_LOG_GROUP_BYTES + LOG_MESSAGE_MAX)
#define RETAIN_MAX 64 /* files unlinked at a time: each takes some milliseconds */

struct event_log {
	struct event_log_options options;
	struct log_folder folder; /* the last entry is the file that is written to */
	uint64_t bytes;           /* of all .ws files */
	int messages_fd;
	int index_fd;
	struct marker marker; /* as of the last group that was finished */
	struct marker next;   /* with the group in hand, once it is written */
	/* The group in hand: */
	struct buf messages;
	size_t events;
	struct log_index_record records[EVENT_LOG_GROUP_EVENTS]; /* offsets within the group */
};

static int fail(int error, const char *what, uint64_t file_first_seq)
{
	log_error("%s: %s file=%020" PRIu64, what, strerror(-error), file_first_seq);
	return error;
}

int event_log_create(const char *path, uint64_t first_seq, struct marker *ret)
{
	struct log_folder folder;
	int messages_fd, index_fd, r = log_folder_open(path, &folder);

	for (size_t i = 0; r == 0 && i < folder.count; i++) {
		if (folder.entries[i].bytes > 0) {
			log_error("there is a log, but no state that says how far it is real: put "
				  "the state back, or run standpipe rebuild folder=%s",
				  path);
			r = -EEXIST;
		}
	}
	if (r == -EEXIST)
		goto out;
	/* Empty files are left by a first start that was cut short. */
	if (r == 0)
		r = log_folder_unlink(&folder, 0, folder.count);
	if (r == 0)
		r = log_folder_add(&folder, first_seq, &messages_fd, &index_fd);
	if (r < 0) {
		fail(r, "cannot make the log", first_seq);
		goto out;
	}
	close(messages_fd);
	close(index_fd);
	*ret = (struct marker){.file_first_seq = first_seq, .next_seq = first_seq};
out:
	log_folder_release(&folder);
	return r;
}

/* Opening: back to the marker. */

static int refuse(const struct event_log *l, const char *path, const char *what, uint64_t bytes)
{
	log_error("%s file=%020" PRIu64 " bytes=%" PRIu64 " marker=%" PRIu64 " folder=%s", what,
		  l->marker.file_first_seq, bytes, l->marker.file_end_bytes, path);
	log_error("put the missing files back, or move the data of store away and set "
		  "store.first_seq above every number used, which are those below %" PRIu64
		  " at least",
		  l->marker.next_seq);
	return -EUCLEAN;
}

/* Whether the event at the place was real: its index record is written after the marker was. */
static bool was_real(const struct log_folder *f, const struct log_folder_entry *e, uint64_t place,
		     uint64_t offset)
{
	int messages = log_folder_open_file(f, e->first_seq, LOG_FILE_MESSAGES, O_RDONLY);
	int index = log_folder_open_file(f, e->first_seq, LOG_FILE_INDEX, O_RDONLY);
	uint8_t bytes[LOG_INDEX_RECORD_SIZE];
	struct log_index_record record;
	struct buf message;
	bool is_real = false;

	buf_init(&message, LOG_MESSAGE_MAX);
	if (messages >= 0 && index >= 0 &&
	    file_read_at(index, bytes, sizeof(bytes), place * LOG_INDEX_RECORD_SIZE) == 0 &&
	    log_index_record_decode(span_of(bytes, sizeof(bytes)), &record) == 0 &&
	    record.offset == offset &&
	    file_read_at(messages, buf_extend(&message, record.length), record.length, offset) == 0)
		is_real = record.crc32c == crc32c(0, buf_span(&message));
	buf_release(&message);
	if (messages >= 0)
		close(messages);
	if (index >= 0)
		close(index);
	return is_real;
}

/* A state that has lost its last write, or more, has a marker of before. */
static bool is_behind(const struct event_log *l, size_t place)
{
	const struct log_folder *f = &l->folder;
	const struct marker *m = &l->marker;

	return was_real(f, &f->entries[place], m->next_seq - m->file_first_seq,
			m->file_end_bytes) ||
	       (place + 1 < f->count && was_real(f, &f->entries[place + 1], 0, 0));
}

/* The files after the marker's hold what was written of a group that did not become real. More than
 * one group cannot be: then the state is older than the log, and its numbers were seen. */
static int remove_beyond(struct event_log *l, const char *path)
{
	struct log_folder *f = &l->folder;
	uint64_t beyond = 0;
	size_t place;

	if (log_folder_find(f, l->marker.file_first_seq, &place) < 0 ||
	    !f->entries[place].has_messages)
		return refuse(l, path, "the newest file of the log is missing", 0);
	if (f->entries[place].bytes < l->marker.file_end_bytes)
		return refuse(l, path, "the log ends before the marker", f->entries[place].bytes);
	for (size_t i = place; i < f->count; i++)
		beyond += f->entries[i].bytes;
	if (beyond - l->marker.file_end_bytes > GROUP_MAX || is_behind(l, place))
		return refuse(l, path, "the log goes on after the marker: the state is older",
			      beyond);
	return log_folder_unlink(f, place + 1, f->count - place - 1);
}

static int open_newest(struct event_log *l)
{
	struct log_folder_entry *newest = &l->folder.entries[l->folder.count - 1];
	uint64_t made;
	int r;

	l->messages_fd = log_folder_open_file(&l->folder, newest->first_seq, LOG_FILE_MESSAGES,
					      O_RDWR);
	if (l->messages_fd < 0)
		return l->messages_fd;
	l->index_fd = log_folder_open_file(&l->folder, newest->first_seq, LOG_FILE_INDEX,
					   O_RDWR | O_CREAT);
	if (l->index_fd < 0)
		return l->index_fd;
	if (ftruncate(l->messages_fd, (off_t)l->marker.file_end_bytes) < 0)
		return -errno;
	r = log_index_recover(l->messages_fd, l->index_fd, &l->marker, clock_usec(), &made);
	if (r < 0)
		return r;
	log_info("log taken back to the marker: next_seq=%" PRIu64 " cut_bytes=%" PRIu64
		 " records_made=%" PRIu64,
		 l->marker.next_seq, newest->bytes - l->marker.file_end_bytes, made);
	newest->bytes = l->marker.file_end_bytes;
	newest->events = l->marker.next_seq - l->marker.file_first_seq;
	newest->has_index = true;
	return 0;
}

/* Leaves in the list the files from which every number up to the end is there. */
static int find_run(struct event_log *l)
{
	struct log_folder *f = &l->folder;
	size_t first;
	int r = log_run_find(f, &first);

	if (r < 0)
		return r;
	/* Halves without messages are what an unlink that was cut short leaves. */
	while (first > 0 && !f->entries[first - 1].has_messages) {
		r = log_folder_unlink(f, first - 1, 1);
		if (r < 0)
			return r;
		first--;
	}
	if (first > 0)
		log_warning("a gap in the log: %zu files before it are not served "
			    "first_seq=%" PRIu64,
			    first, f->entries[first].first_seq);
	log_folder_forget(f, first);
	for (size_t i = 0; i < f->count; i++)
		l->bytes += f->entries[i].bytes;
	return 0;
}

int event_log_open(const char *folder, const struct marker *m, const struct event_log_options *o,
		   struct event_log **ret)
{
	struct event_log *l = xcalloc(1, sizeof(*l));
	int r;

	l->options = *o;
	l->marker = l->next = *m;
	l->messages_fd = l->index_fd = -1;
	buf_init(&l->messages, GROUP_MAX);
	r = log_folder_open(folder, &l->folder);
	if (r == 0)
		r = remove_beyond(l, folder);
	if (r == 0)
		r = open_newest(l);
	if (r == 0)
		r = find_run(l);
	if (r == 0)
		event_log_retain(l, clock_usec());
	if (r == -EBADMSG)
		r = refuse(l, folder, "the newest file of the log is damaged", m->file_end_bytes);
	if (r < 0) {
		if (r != -EUCLEAN)
			fail(r, "cannot open the log", m->file_first_seq);
		event_log_close(l);
		return r;
	}
	*ret = l;
	return 0;
}

/* Where the records of a file end; none: there is nothing that is known to be real. */
static int measure(const struct log_folder *f, const struct log_folder_entry *e,
		   uint64_t *ret_records, uint64_t *ret_end_bytes)
{
	int fd, r;

	*ret_records = 0;
	if (!e->has_messages || !e->has_index)
		return 0;
	fd = log_folder_open_file(f, e->first_seq, LOG_FILE_INDEX, O_RDONLY);
	if (fd < 0)
		return fd;
	r = log_index_measure(fd, e->bytes, ret_records, ret_end_bytes);
	close(fd);
	return r;
}

/* The newest file may have been begun for a group that is not real. */
static int peek(const struct log_folder *f, struct head *ret)
{
	uint64_t records = 0, end_bytes = 0;
	size_t place = f->count;
	int r = 0;

	while (r == 0 && records == 0 && place > 0)
		r = measure(f, &f->entries[--place], &records, &end_bytes);
	if (r < 0)
		return r;
	if (records == 0)
		return -ENOENT;
	*ret = (struct head){
		.first_seq = f->entries[log_run_peek(f, place)].first_seq,
		.next_seq = f->entries[place].first_seq + records,
		.file_first_seq = f->entries[place].first_seq,
		.file_end_bytes = end_bytes,
	};
	return 0;
}

int event_log_peek(const char *path, struct head *ret)
{
	struct log_folder folder;
	int r = log_folder_open(path, &folder);

	if (r == 0)
		r = peek(&folder, ret);
	log_folder_release(&folder);
	return r;
}

static void close_files(struct event_log *l)
{
	if (l->messages_fd >= 0)
		close(l->messages_fd);
	if (l->index_fd >= 0)
		close(l->index_fd);
	l->messages_fd = l->index_fd = -1;
}

void event_log_close(struct event_log *l)
{
	if (!l)
		return;
	close_files(l);
	log_folder_release(&l->folder);
	buf_release(&l->messages);
	free(l);
}

/* The size of the file stays as it is. A filesystem that cannot say counts as one with room. */
int event_log_find_room(const struct event_log *l)
{
	off_t end = (off_t)l->marker.file_end_bytes;

	int r = fallocate(l->messages_fd, FALLOC_FL_KEEP_SIZE, end, GROUP_MAX) < 0 ? -errno : 0;

	/* One that failed keeps what it got. */
	if (ftruncate(l->messages_fd, end) < 0 && r == 0)
		r = -errno;
	if (r < 0 && r != -EOPNOTSUPP)
		return fail(r, "no room for the log", l->marker.file_first_seq);
	return 0;
}

/* The group in hand. */

static uint64_t next_seq(const struct event_log *l)
{
	return l->marker.next_seq + l->events;
}

bool event_log_is_spent(const struct event_log *l)
{
	return next_seq(l) >= (uint64_t)LIMIT_SEQ;
}

/* Bytes of a CBOR integer [DAG-CBOR: shortest heads]. */
static size_t integer_size(uint64_t v)
{
	if (v < 24)
		return 1;
	return v <= UINT8_MAX ? 2 : v <= UINT16_MAX ? 3 : v <= UINT32_MAX ? 5 : 9;
}

static size_t numbered_size(const struct event_log *l, const struct verified *v)
{
	return v->frame.len - v->seq_size + integer_size(next_seq(l));
}

bool event_log_fits(const struct event_log *l, const struct verified *v)
{
	return numbered_size(l, v) <= LIMIT_FRAME;
}

/* The frame goes out as it came, but for the number. */
static void put_message(struct event_log *l, const struct verified *v)
{
	struct buf *b = &l->messages;
	size_t after = v->seq_offset + v->seq_size;
	uint8_t header[LOG_MESSAGE_HEADER_MAX];
	size_t header_size = log_message_header_encode(numbered_size(l, v), header);

	assert(v->seq_offset <= v->frame.len && v->seq_size <= v->frame.len - v->seq_offset);
	buf_append(b, span_of(header, header_size));
	buf_append(b, span_of(v->frame.ptr, v->seq_offset));
	cbor_put_integer(b, (int64_t)next_seq(l));
	buf_append(b, span_of(v->frame.ptr + after, v->frame.len - after));
}

void event_log_put(struct event_log *l, const struct verified *v, uint64_t now_usec)
{
	size_t start = l->messages.len;

	assert(l->events < EVENT_LOG_GROUP_EVENTS && start < EVENT_LOG_GROUP_BYTES);
	assert(!event_log_is_spent(l));
	put_message(l, v);
	struct span message = span_of(l->messages.ptr + start, l->messages.len - start);

	l->records[l->events++] = (struct log_index_record){
		.offset = start,
		.length = (uint32_t)message.len,
		.crc32c = crc32c(0, message),
		.usec = now_usec,
		.host_id = v->host_id,
		.host_seq = v->host_seq,
		.host_epoch = v->host_epoch,
		.kind = (uint8_t)v->kind,
	};
}

size_t event_log_group_events(const struct event_log *l)
{
	return l->events;
}

size_t event_log_group_bytes(const struct event_log *l)
{
	return l->messages.len;
}

/* The index of the old file is synced, so that only the newest one ever needs to be made anew. */
static int rotate(struct event_log *l)
{
	uint64_t first_seq = l->marker.next_seq;
	int r;

	if (fsync(l->index_fd) < 0)
		return -errno;
	close_files(l);
	r = log_folder_add(&l->folder, first_seq, &l->messages_fd, &l->index_fd);
	if (r < 0)
		return r;
	l->next = (struct marker){.file_first_seq = first_seq, .next_seq = first_seq};
	return 0;
}

int event_log_write(struct event_log *l)
{
	uint64_t end = l->next.file_end_bytes;
	int r = 0;

	if (end > 0 &&
	    (end >= l->options.file_bytes || l->messages.len > l->options.file_bytes - end))
		r = rotate(l);
	if (r == 0)
		r = file_write_at(l->messages_fd, buf_span(&l->messages), l->next.file_end_bytes);
	if (r < 0)
		return fail(r, "cannot append to the log", l->next.file_first_seq);
	l->next.file_end_bytes += l->messages.len;
	l->next.next_seq += l->events;
	return 0;
}

int event_log_sync(struct event_log *l)
{
	if (fdatasync(l->messages_fd) < 0)
		return fail(-errno, "cannot sync the log", l->next.file_first_seq);
	return 0;
}

const struct marker *event_log_next_marker(const struct event_log *l)
{
	return &l->next;
}

static int write_records(struct event_log *l)
{
	uint64_t base = l->next.file_end_bytes - l->messages.len;
	uint64_t place = l->next.next_seq - l->events - l->next.file_first_seq;
	uint8_t bytes[EVENT_LOG_GROUP_EVENTS * LOG_INDEX_RECORD_SIZE];

	for (size_t i = 0; i < l->events; i++) {
		l->records[i].offset += base;
		log_index_record_encode(&l->records[i], bytes + i * LOG_INDEX_RECORD_SIZE);
	}
	return file_write_at(l->index_fd, span_of(bytes, l->events * LOG_INDEX_RECORD_SIZE),
			     place * LOG_INDEX_RECORD_SIZE);
}

int event_log_finish(struct event_log *l)
{
	struct log_folder_entry *newest = &l->folder.entries[l->folder.count - 1];
	int r = write_records(l);

	if (r < 0)
		return fail(r, "cannot append to the log's index", l->next.file_first_seq);
	newest->bytes += l->messages.len;
	newest->events += l->events;
	l->bytes += l->messages.len;
	l->marker = l->next;
	l->events = 0;
	buf_trim(&l->messages, EVENT_LOG_GROUP_BYTES);
	return 0;
}

/* Retention. */

/* When the newest event of a file was logged; when the file was last written, if its index cannot
 * say. */
static uint64_t newest_usec(const struct log_folder *f, const struct log_folder_entry *e)
{
	struct log_index_record record = {.usec = UINT64_MAX};
	struct stat st;
	int fd = log_folder_open_file(f, e->first_seq, LOG_FILE_INDEX, O_RDONLY);

	if (fd < 0)
		return UINT64_MAX;
	if (!log_index_get_last(fd, e->events, &record) && fstat(fd, &st) == 0)
		record.usec = (uint64_t)st.st_mtim.tv_sec * USEC_PER_SEC;
	close(fd);
	return record.usec;
}

static bool leaves(const struct event_log *l, uint64_t now_usec)
{
	const struct event_log_options *o = &l->options;
	uint64_t newest;

	if (o->retention_bytes > 0 && l->bytes > o->retention_bytes)
		return true;
	newest = newest_usec(&l->folder, &l->folder.entries[0]);
	return newest < now_usec && now_usec - newest > o->retention_usec;
}

static unsigned retain(struct event_log *l, uint64_t now_usec, size_t stay)
{
	unsigned unlinked = 0;

	while (unlinked < RETAIN_MAX && l->folder.count > stay && leaves(l, now_usec)) {
		uint64_t bytes = l->folder.entries[0].bytes;
		int r = log_folder_unlink(&l->folder, 0, 1);

		if (r < 0) {
			log_warning("cannot unlink the oldest file of the log: %s", strerror(-r));
			break;
		}
		l->bytes -= bytes;
		unlinked++;
	}
	return unlinked;
}

unsigned event_log_retain(struct event_log *l, uint64_t now_usec)
{
	return retain(l, now_usec, 1);
}

/* Which file is the newest that is real only the state can tell: one of the last two. */
unsigned event_log_make_room(const char *path, const struct event_log_options *o, uint64_t now_usec)
{
	struct event_log l = {.options = *o};
	unsigned unlinked = 0;

	if (log_folder_open(path, &l.folder) == 0) {
		for (size_t i = 0; i < l.folder.count; i++)
			l.bytes += l.folder.entries[i].bytes;
		unlinked = retain(&l, now_usec, 2);
	}
	log_folder_release(&l.folder);
	return unlinked;
}

void event_log_head(const struct event_log *l, struct head *ret)
{
	*ret = (struct head){
		.first_seq = l->folder.entries[0].first_seq,
		.next_seq = l->marker.next_seq,
		.file_first_seq = l->marker.file_first_seq,
		.file_end_bytes = l->marker.file_end_bytes,
	};
}

uint64_t event_log_bytes(const struct event_log *l)
{
	return l->bytes;
}

size_t event_log_files(const struct event_log *l)
{
	return l->folder.count;
}

size_t event_log_memory_bytes(const struct event_log *l)
{
	return sizeof(*l) + l->messages.cap + l->folder.cap * sizeof(*l->folder.entries);
}
