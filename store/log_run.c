#include "store/log_run.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "common/loop.h"
#include "store/log_index.h"

/* Whether the index says that the messages end where they do. */
static bool is_whole(int index_fd, const struct log_folder_entry *e)
{
	struct log_index_record last;

	return log_index_get_last(index_fd, e->events, &last) &&
	       last.offset + last.length == e->bytes;
}

/* An index that a power cut made short, or that has records of another size, is made anew from its
 * messages; they were logged when the file was written last, or before. -EBADMSG: there are not as
 * many messages. */
static int make_index(struct log_folder *f, size_t place)
{
	struct log_folder_entry *e = &f->entries[place];
	const struct marker m = {e->first_seq, e->bytes, e[1].first_seq};
	int messages = log_folder_open_file(f, e->first_seq, LOG_FILE_MESSAGES, O_RDONLY);
	int index = log_folder_open_file(f, e->first_seq, LOG_FILE_INDEX, O_RDWR | O_CREAT);
	struct stat st;
	uint64_t made;
	int r = -EBADMSG;

	if (messages < 0 || index < 0)
		r = messages < 0 ? messages : index;
	else if (fstat(messages, &st) < 0)
		r = -errno;
	else if (!is_whole(index, e))
		r = log_index_recover(messages, index, &m,
				      (uint64_t)st.st_mtim.tv_sec * USEC_PER_SEC, &made);
	if (messages >= 0)
		close(messages);
	if (index >= 0)
		close(index);
	if (r < 0) {
		/* What was made in vain would only look like one. */
		if (!e->has_index && log_folder_unlink_file(f, e->first_seq, LOG_FILE_INDEX) < 0)
			log_warning("a useless index stays file=%020" PRIu64, e->first_seq);
		return r;
	}
	log_notice("an index made from its messages file=%020" PRIu64 " records_made=%" PRIu64,
		   e->first_seq, made);
	e->events = m.next_seq - m.file_first_seq;
	e->has_index = true;
	return 0;
}

/* Whether the index has all records, as far as its size and the last of them say. */
static bool has_all_records(const struct log_folder *f, const struct log_folder_entry *e,
			    struct log_index_record *ret_last)
{
	bool has_all;
	int fd;

	if (!e->has_index || e->first_seq + e->events != e[1].first_seq)
		return false;
	fd = log_folder_open_file(f, e->first_seq, LOG_FILE_INDEX, O_RDONLY);
	has_all = fd >= 0 && log_index_get_last(fd, e->events, ret_last);
	if (fd >= 0)
		close(fd);
	return has_all;
}

/* Whether every number up to the next file's first is there, or can be found in the messages. */
static int reach_next(struct log_folder *f, size_t place, bool *ret)
{
	const struct log_folder_entry *e = &f->entries[place];
	struct log_index_record last;
	int r;

	*ret = false;
	if (!e->has_messages)
		return 0;
	if (has_all_records(f, e, &last)) {
		*ret = last.offset + last.length == e->bytes;
		return 0;
	}
	r = make_index(f, place);
	*ret = r == 0;
	return r == -ENOSPC || r == -EDQUOT || r == -EFBIG ? r : 0;
}

int log_run_find(struct log_folder *f, size_t *ret_first)
{
	size_t first = f->count - 1;
	bool reaches = true;

	assert(f->count > 0);
	while (first > 0) {
		int r = reach_next(f, first - 1, &reaches);

		if (r < 0)
			return r;
		if (!reaches)
			break;
		first--;
	}
	*ret_first = first;
	return 0;
}

size_t log_run_peek(const struct log_folder *f, size_t newest)
{
	size_t first = newest;
	struct log_index_record last;

	while (first > 0 && f->entries[first - 1].has_messages &&
	       has_all_records(f, &f->entries[first - 1], &last) &&
	       last.offset + last.length == f->entries[first - 1].bytes)
		first--;
	return first;
}
