#include "store/rebuild.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <unistd.h>

#include "common/cbor.h"
#include "common/crc32c.h"
#include "common/exchange.h"
#include "common/log.h"
#include "common/stage.h"
#include "store/event_log.h"
#include "store/file.h"
#include "store/log_folder.h"
#include "store/log_run.h"
#include "store/state.h"

#define CACHE_BYTES  MIB(32)
#define FLUSH_EVENTS 1000 /* of at most 2 KB of changes each: within OVERLAY_BYTES */
/* What a group that did not become real may leave behind the last whole message. */
#define TAIL_MAX     (EVENT_LOG_GROUP_BYTES + LOG_MESSAGE_MAX)

struct rebuild {
	struct state *state;
	struct log_folder log;
	int in, out;
	struct buf message; /* of the log, whole */
	struct buf question, answer;
	uint64_t next_seq;
	uint64_t unknown_hosts; /* events */
};

/* One event. */

/* Reads the message at the offset. -ENODATA: there is no whole one. */
static int read_message(struct rebuild *r, int fd, uint64_t offset, uint64_t end,
			struct span *ret_frame)
{
	uint8_t header[LOG_MESSAGE_HEADER_MAX];
	size_t head = end - offset < sizeof(header) ? (size_t)(end - offset) : sizeof(header);
	struct reader reader = reader_of(span_of(header, head));
	uint32_t payload;
	int error = file_read_at(fd, header, head, offset);

	if (error < 0)
		return error;
	if (log_message_header_decode(&reader, &payload) < 0)
		return -ENODATA;
	head -= reader.left;
	if (payload == 0 || payload > end - offset - head)
		return -ENODATA;
	buf_clear(&r->message);
	error = file_read_at(fd, buf_extend(&r->message, head + payload), head + payload, offset);
	if (error < 0)
		return error;
	*ret_frame = span_of(r->message.ptr + head, payload);
	return 0;
}

/* The index's record of the event at this offset; zeros and false if it has none. A record is
 * written when its event is real, and is not synced: it may be lost, but what it says was so. */
static bool read_record(int fd, uint64_t place, uint64_t offset, struct log_index_record *ret)
{
	uint8_t bytes[LOG_INDEX_RECORD_SIZE];

	if (fd >= 0 && file_read_at(fd, bytes, sizeof(bytes), place * LOG_INDEX_RECORD_SIZE) == 0 &&
	    log_index_record_decode(span_of(bytes, sizeof(bytes)), ret) == 0 &&
	    ret->offset == offset && ret->length > 0 && ret->crc32c != 0)
		return true;
	*ret = (struct log_index_record){0};
	return false;
}

static bool has_seq(const struct verified *v, uint64_t seq)
{
	struct reader r = reader_of(span_of(v->frame.ptr + v->seq_offset, v->seq_size));
	int64_t found;

	return cbor_get_integer(&r, &found) == 0 && found == (int64_t)seq;
}

/* -ENODATA: validate says that this is no event of ours. ret borrows from the answer. */
static int ask(struct rebuild *r, struct span frame, const struct log_index_record *record,
	       struct verified *ret)
{
	const struct event e = {
		.ticket = r->next_seq,
		.host_id = record->host_id,
		.host_epoch = record->host_epoch,
		.host_seq = record->host_seq,
		.received_usec = record->usec,
		.frame = frame,
	};
	struct reader in;
	int error;

	buf_clear(&r->question);
	event_encode(&r->question, &e);
	error = exchange_write(r->out, buf_span(&r->question));
	if (error == 0) {
		error = exchange_read(r->in, &r->answer);
		error = error == 0 ? -EPIPE : error < 0 ? error : 0;
	}
	if (error < 0) {
		log_error("cannot ask validate: %s", strerror(-error));
		return error;
	}
	in = reader_of(buf_span(&r->answer));
	if (r->answer.len == 0 || verified_decode(&in, ret) < 0 || in.left > 0 ||
	    !has_seq(ret, r->next_seq))
		return -ENODATA;
	return 0;
}

static int restore(struct rebuild *r, const struct verified *v)
{
	uint64_t counted_for, counts_for;
	struct account a;
	int error = state_get_account(r->state, v->did, &a);

	if (error == -ENOENT)
		account_init(&a);
	else if (error < 0)
		return error;
	counted_for = account_counts_for(&a);
	account_restore(&a, v);
	counts_for = account_counts_for(&a);
	state_put_account(r->state, v->did, &a);
	r->unknown_hosts += v->host_id == 0;
	r->next_seq++;
	error = counted_for != counts_for ? state_move_account(r->state, counted_for, counts_for)
					  : 0;
	if (error == 0 && v->host_id != 0)
		error = state_note_prev_data(r->state, v);
	if (error == 0 && r->next_seq % FLUSH_EVENTS == 0)
		error = state_flush(r->state);
	return error;
}

/* Files. */

static bool is_of(const struct log_index_record *record, struct span message)
{
	return record->length == message.len && record->crc32c == crc32c(0, message);
}

/* Every whole message up to the end, or up to what never became real. ret_end: how far that is.
 * -EUCLEAN: an event that was real is damaged. */
static int take_messages(struct rebuild *r, int messages_fd, int index_fd, uint64_t end,
			 uint64_t *ret_end)
{
	uint64_t offset = 0;

	for (uint64_t place = 0; offset < end; place++) {
		struct log_index_record record;
		struct verified v;
		struct span frame;
		bool is_real = read_record(index_fd, place, offset, &record);
		int error = read_message(r, messages_fd, offset, end, &frame);

		if (error == 0 && is_real && !is_of(&record, buf_span(&r->message)))
			error = -ENODATA;
		if (error == 0)
			error = ask(r, frame, &record, &v);
		if (error == -ENODATA && is_real)
			error = -EUCLEAN;
		if (error == -ENODATA)
			break;
		if (error == 0)
			error = restore(r, &v);
		if (error < 0) {
			*ret_end = offset;
			return error;
		}
		offset += r->message.len;
	}
	*ret_end = offset;
	return 0;
}

static int take_file(struct rebuild *r, const struct log_folder_entry *e, bool is_newest,
		     uint64_t *ret_end)
{
	int messages_fd = log_folder_open_file(&r->log, e->first_seq, LOG_FILE_MESSAGES, O_RDONLY);
	int index_fd = log_folder_open_file(&r->log, e->first_seq, LOG_FILE_INDEX, O_RDONLY);
	int error = messages_fd < 0 ? messages_fd : 0;

	if (error == 0)
		error = take_messages(r, messages_fd, index_fd, e->bytes, ret_end);
	if (error == 0 && e->bytes - *ret_end > (is_newest ? TAIL_MAX : 0))
		error = -EUCLEAN;
	if (error < 0)
		log_error("cannot read the log: %s file=%020" PRIu64 " offset=%" PRIu64,
			  error == -EUCLEAN ? "it is damaged" : strerror(-error), e->first_seq,
			  *ret_end);
	if (messages_fd >= 0)
		close(messages_fd);
	if (index_fd >= 0)
		close(index_fd);
	return error;
}

/* Every file has to be in the run: events that the log does not say are not left out unnoticed. An
 * index without messages is what an unlink that was cut short has left. */
static int find_first(struct log_folder *f, size_t *ret)
{
	size_t first;
	int error = log_run_find(f, &first);

	if (error < 0) {
		log_error("cannot make an index of the log: %s", strerror(-error));
		return error;
	}
	for (size_t i = first; i-- > 0;) {
		if (!f->entries[i].has_messages)
			continue;
		log_error("a hole in the log: not every event is there between file=%020" PRIu64
			  " and file=%020" PRIu64,
			  f->entries[i].first_seq, f->entries[i + 1].first_seq);
		log_error("put the missing or damaged file back, or move those before "
			  "file=%020" PRIu64 " out of the log and rebuild from there",
			  f->entries[first].first_seq);
		return -EUCLEAN;
	}
	*ret = first;
	return 0;
}

static int take_log(struct rebuild *r, struct marker *ret)
{
	uint64_t end = 0;
	size_t first;
	int error = find_first(&r->log, &first);

	if (error < 0)
		return error;
	r->next_seq = r->log.entries[first].first_seq;
	for (size_t i = first; i < r->log.count; i++) {
		const struct log_folder_entry *e = &r->log.entries[i];

		error = take_file(r, e, i + 1 == r->log.count, &end);
		if (error < 0)
			return error;
		if (i + 1 < r->log.count && r->log.entries[i + 1].first_seq != r->next_seq) {
			log_error("the log is damaged file=%020" PRIu64 " next_seq=%" PRIu64,
				  e->first_seq, r->next_seq);
			return -EUCLEAN;
		}
		log_info("read file=%020" PRIu64 " next_seq=%" PRIu64, e->first_seq, r->next_seq);
	}
	*ret = (struct marker){
		.file_first_seq = r->log.entries[r->log.count - 1].first_seq,
		.file_end_bytes = end,
		.next_seq = r->next_seq,
	};
	return 0;
}

/* The whole. */

static int rename_state(const char *from, const char *to)
{
	int error = rename(from, to) < 0 ? -errno : 0;

	if (error < 0)
		log_error("cannot rename the state: %s path=%s", strerror(-error), from);
	return error;
}

/* Of a rebuild that was cut short wherever it was. */
static int remove_leftover(const char *path)
{
	return access(path, F_OK) == 0 ? state_destroy(path) : 0;
}

/* A state without a marker, which a start without a state has left, goes. It gets another name
 * first: removing it may be cut short. */
static int remove_empty(const char *path, const char *other)
{
	struct marker marker;
	struct state *s;
	int error;

	if (access(path, F_OK) < 0)
		return 0;
	error = state_open(path, CACHE_BYTES, &s);
	if (error < 0)
		return error;
	error = state_get_marker(s, &marker);
	state_close(s);
	if (error == 0) {
		log_error("there is a state: move it away first path=%s", path);
		return -EEXIST;
	}
	if (error != -ENOENT)
		return error;
	error = rename_state(path, other);
	return error < 0 ? error : state_destroy(other);
}

/* The state is made under another name. */
static int begin_state(const char *path, const char *half, struct state **ret)
{
	int error = remove_leftover(half);

	if (error == 0)
		error = remove_empty(path, half);
	return error < 0 ? error : state_open(half, CACHE_BYTES, ret);
}

/* It has its name when it is whole, and no log that was not synced: opening makes tables of them.
 * lock: the folder that it is in. */
static int finish_state(const char *path, const char *half, int lock)
{
	struct state *s;
	int error = state_open(half, CACHE_BYTES, &s);

	if (error < 0)
		return error;
	state_close(s);
	error = rename_state(half, path);
	if (error == 0 && fsync(lock) < 0) {
		error = -errno;
		log_error("cannot sync the folder: %s path=%s", strerror(-error), path);
	}
	return error;
}

static int open_log(const char *path, struct log_folder *ret)
{
	int error = log_folder_open(path, ret);

	if (error == 0 && ret->count == 0)
		error = -ENOENT;
	if (error < 0)
		log_error("cannot read the log: %s path=%s", strerror(-error), path);
	return error;
}

/* Nobody else has the folder. */
static int make_state(struct rebuild *r, const char *folder, int lock)
{
	char path[PATH_MAX], half[PATH_MAX];
	struct marker marker;
	int error;

	snprintf(path, sizeof(path), "%s/log", folder);
	error = open_log(path, &r->log);
	snprintf(path, sizeof(path), "%s/state", folder);
	snprintf(half, sizeof(half), "%s/state.half", folder);
	if (error == 0)
		error = begin_state(path, half, &r->state);
	if (error == 0)
		error = take_log(r, &marker);
	if (error == 0)
		error = state_write(r->state, &marker);
	state_close(r->state);
	if (error == 0)
		error = finish_state(path, half, lock);
	if (error == 0)
		log_notice("the state is made anew next_seq=%" PRIu64
			   " events_of_unknown_hosts=%" PRIu64,
			   marker.next_seq, r->unknown_hosts);
	return error;
}

int rebuild(const char *folder, int in, int out)
{
	struct rebuild r = {.log = {.fd = -1}, .in = in, .out = out};
	int lock, error = file_lock_folder(folder, &lock);

	if (error < 0) {
		log_error("%s: %s folder=%s",
			  error == -EAGAIN ? "store, or another rebuild, is at work"
					   : "cannot lock the data",
			  strerror(-error), folder);
		return error;
	}
	buf_init(&r.message, LOG_MESSAGE_MAX);
	buf_init(&r.question, LIMIT_MESSAGE);
	buf_init(&r.answer, LIMIT_MESSAGE);
	error = make_state(&r, folder, lock);
	log_folder_release(&r.log);
	buf_release(&r.message);
	buf_release(&r.question);
	buf_release(&r.answer);
	close(lock);
	return error;
}

int rebuild_main(int argc, char **argv)
{
	char folder[PATH_MAX];
	struct stage stage;
	int status = stage_init(&stage, "store", STAGE_SINGLE, argc, argv);

	if (status != STAGE_GO)
		return status;
	status = STAGE_EXIT_AGAIN;
	if (stage_data_dir(&stage, "store", folder) == 0 &&
	    rebuild(folder, STDIN_FILENO, STDOUT_FILENO) == 0)
		status = 0;
	stage_release(&stage);
	return status;
}
