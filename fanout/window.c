#include "fanout/window.h"

#include <assert.h>
#include <errno.h>

void window_init(struct window *w, const char *folder, uint64_t now_usec)
{
	*w = (struct window){.state = HEAD_TAKING, .heard_usec = now_usec};
	files_init(&w->files, folder);
}

void window_release(struct window *w)
{
	files_release(&w->files);
}

int window_take(struct window *w, struct span message, uint64_t now_usec, enum window_change *ret)
{
	struct reader r = reader_of(message);
	enum message_type type;
	struct head head;

	if (message_get_type(&r, &type) < 0 || type != MESSAGE_HEAD || head_decode(&r, &head) < 0 ||
	    r.left > 0 || head.first_seq > head.next_seq || head.file_first_seq > head.next_seq)
		return -EBADMSG;
	w->heard_usec = now_usec;
	w->state = head.state;
	*ret = WINDOW_SAME;
	/* Store does not know either, or no better: what was known before stays. */
	if (head.next_seq == 0 ||
	    (head.state == HEAD_NO_STATE && w->known && head.next_seq <= w->head.next_seq))
		return 0;
	if (!w->known || head.next_seq > w->head.next_seq)
		*ret = WINDOW_MORE;
	else if (head.next_seq < w->head.next_seq)
		*ret = WINDOW_RESET;
	if (*ret == WINDOW_RESET)
		files_forget(&w->files);
	w->known = true;
	w->has_more = head.state == HEAD_NO_STATE;
	w->head = head;
	return 0;
}

void place_init(struct place *p, uint64_t seq)
{
	*p = (struct place){.seq = seq};
}

void place_release(struct place *p, struct window *w)
{
	if (p->file)
		files_put(&w->files, p->file);
	p->file = NULL;
}

/* -ENODATA: the file ends here. */
static int next_in_file(const struct place *p, const struct window *w, struct range *ret)
{
	const struct head *head = &w->head;
	bool is_newest = p->file->first_seq == head->file_first_seq;
	uint8_t records[RANGE_EVENTS * LOG_INDEX_RECORD_SIZE];
	size_t count = RANGE_EVENTS;

	/* The last range of the log needs no index: it ends where the notice says. */
	if (is_newest && p->offset != RANGE_ANYWHERE && p->offset < head->file_end_bytes &&
	    head->file_end_bytes - p->offset <= RANGE_BYTES) {
		*ret = (struct range){p->offset, head->file_end_bytes, head->next_seq - p->seq};
		return 0;
	}
	/* Records beyond the notice may be there already; they are not for anybody yet. */
	if (head->next_seq - p->seq < count)
		count = (size_t)(head->next_seq - p->seq);
	ssize_t n = file_read_index(p->file, p->seq, records, count);
	if (n < 0)
		return (int)n;
	int error = range_find(span_of(records, (size_t)n), p->offset, ret);
	return error == -ENODATA && is_newest ? -EBADMSG : error;
}

/* The newest file is never unlinked: without it, this is not the folder that store writes to. */
static int get_file(struct place *p, struct window *w, uint64_t seq)
{
	int error = files_get(&w->files, seq, &p->file);
	return error == -ENOENT && seq >= w->head.file_first_seq ? -EIO : error;
}

/* From the end of one file to the beginning of the next. A file that has the event anywhere else,
 * or not at all, is refused when its index is read. */
static int enter_next(struct place *p, struct window *w)
{
	place_release(p, w);
	p->offset = 0;
	return get_file(p, w, p->seq);
}

/* Where nobody has been yet. The newest file's name is known without a look at the folder. */
static int enter(struct place *p, struct window *w)
{
	bool is_newest = p->seq >= w->head.file_first_seq;

	p->offset = RANGE_ANYWHERE;
	return get_file(p, w, is_newest ? w->head.file_first_seq : p->seq);
}

int place_next(struct place *p, struct window *w, struct range *ret)
{
	if (p->seq >= w->head.next_seq)
		return 0;
	if (!p->file) {
		int error = enter(p, w);
		if (error < 0)
			return error;
	}
	int error = next_in_file(p, w, ret);
	if (error == -ENODATA) {
		error = enter_next(p, w);
		if (error == 0)
			error = next_in_file(p, w, ret);
	}
	if (error < 0)
		return error == -ENODATA ? -EBADMSG : error;
	p->offset = ret->start;
	return 1;
}

void place_advance(struct place *p, const struct range *r)
{
	assert(p->offset == r->start && r->end > r->start);
	p->offset = r->end;
	p->seq += r->events;
}
