#include "store/log_folder.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER_MODE 0750 /* fanout reads the log: its user is in our group */
#define FILE_MODE   0640

static struct log_folder_entry *push(struct log_folder *f, uint64_t first_seq)
{
	if (f->count == f->cap) {
		f->cap = f->cap ? 2 * f->cap : 16;
		f->entries = xrealloc(f->entries, f->cap * sizeof(*f->entries));
	}
	f->entries[f->count] = (struct log_folder_entry){.first_seq = first_seq};
	return &f->entries[f->count++];
}

static int compare(const void *a, const void *b)
{
	const struct log_folder_entry *x = a, *y = b;

	return x->first_seq < y->first_seq ? -1 : x->first_seq > y->first_seq;
}

/* Both halves of a pair make one entry. */
static void join_halves(struct log_folder *f)
{
	size_t kept = 0;

	qsort(f->entries, f->count, sizeof(*f->entries), compare);
	for (size_t i = 0; i < f->count; i++) {
		struct log_folder_entry *from = &f->entries[i], *to = &f->entries[kept];

		if (kept == 0 || to[-1].first_seq != from->first_seq) {
			*to = *from;
			kept++;
			continue;
		}
		to[-1].has_messages |= from->has_messages;
		to[-1].has_index |= from->has_index;
		to[-1].bytes += from->bytes;
		to[-1].events += from->events;
	}
	f->count = kept;
}

static int add_found(struct log_folder *f, const char *name)
{
	enum log_file_type type;
	uint64_t first_seq;
	struct stat st;

	if (log_file_name_parse(name, &first_seq, &type) < 0)
		return 0;
	if (fstatat(f->fd, name, &st, 0) < 0)
		return -errno;
	struct log_folder_entry *e = push(f, first_seq);

	if (type == LOG_FILE_MESSAGES) {
		e->has_messages = true;
		e->bytes = (uint64_t)st.st_size;
	} else {
		e->has_index = true;
		e->events = (uint64_t)st.st_size / LOG_INDEX_RECORD_SIZE;
	}
	return 0;
}

static int scan(struct log_folder *f)
{
	int fd = dup(f->fd), r = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;

	if (!dir) {
		r = -errno;
		if (fd >= 0)
			close(fd);
		return r;
	}
	while (r == 0 && (errno = 0, d = readdir(dir)))
		r = add_found(f, d->d_name);
	if (r == 0 && errno != 0)
		r = -errno;
	closedir(dir);
	if (r == 0 && f->count > 0)
		join_halves(f);
	return r;
}

/* A new folder is durable when the one that it is in has been synced. */
static int make_folder(const char *path)
{
	char above[PATH_MAX];
	int fd, r = 0, n = snprintf(above, sizeof(above), "%s/..", path);

	if (mkdir(path, FOLDER_MODE) < 0)
		return errno == EEXIST ? 0 : -errno;
	if (n >= (int)sizeof(above))
		return -ENAMETOOLONG;
	fd = open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fsync(fd) < 0)
		r = -errno;
	close(fd);
	return r;
}

int log_folder_open(const char *path, struct log_folder *ret)
{
	int r = make_folder(path);

	*ret = (struct log_folder){.fd = -1};
	if (r < 0)
		return r;
	ret->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (ret->fd < 0)
		return -errno;
	return scan(ret);
}

void log_folder_release(struct log_folder *f)
{
	if (f->fd >= 0)
		close(f->fd);
	free(f->entries);
	*f = (struct log_folder){.fd = -1};
}

int log_folder_open_file(const struct log_folder *f, uint64_t first_seq, enum log_file_type type,
			 int flags)
{
	char name[LOG_FILE_NAME_SIZE];
	int fd = openat(f->fd, log_file_name(first_seq, type, name), flags | O_CLOEXEC, FILE_MODE);

	return fd < 0 ? -errno : fd;
}

int log_folder_add(struct log_folder *f, uint64_t first_seq, int *ret_messages_fd,
		   int *ret_index_fd)
{
	int flags = O_RDWR | O_CREAT | O_EXCL;
	int messages, index;

	assert(f->count == 0 || f->entries[f->count - 1].first_seq < first_seq);
	messages = log_folder_open_file(f, first_seq, LOG_FILE_MESSAGES, flags);
	if (messages < 0)
		return messages;
	index = log_folder_open_file(f, first_seq, LOG_FILE_INDEX, flags);
	if (index < 0 || fsync(f->fd) < 0) {
		int r = index < 0 ? index : -errno;

		if (index >= 0)
			close(index);
		close(messages);
		return r;
	}
	struct log_folder_entry *e = push(f, first_seq);

	e->has_messages = e->has_index = true;
	*ret_messages_fd = messages;
	*ret_index_fd = index;
	return 0;
}

int log_folder_unlink_file(const struct log_folder *f, uint64_t first_seq, enum log_file_type type)
{
	char name[LOG_FILE_NAME_SIZE];

	if (unlinkat(f->fd, log_file_name(first_seq, type, name), 0) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

/* The messages first: an index that is left alone is known to be of no use. */
int log_folder_unlink(struct log_folder *f, size_t place, size_t count)
{
	assert(place <= f->count && count <= f->count - place);
	for (size_t i = 0; i < count; i++) {
		uint64_t first_seq = f->entries[place].first_seq;
		int r = log_folder_unlink_file(f, first_seq, LOG_FILE_MESSAGES);

		if (r == 0)
			r = log_folder_unlink_file(f, first_seq, LOG_FILE_INDEX);
		if (r < 0)
			return r;
		f->count--;
		memmove(f->entries + place, f->entries + place + 1,
			(f->count - place) * sizeof(*f->entries));
	}
	return 0;
}

void log_folder_forget(struct log_folder *f, size_t count)
{
	assert(count <= f->count);
	f->count -= count;
	memmove(f->entries, f->entries + count, f->count * sizeof(*f->entries));
}

int log_folder_find(const struct log_folder *f, uint64_t first_seq, size_t *ret_place)
{
	for (size_t i = 0; i < f->count; i++) {
		if (f->entries[i].first_seq == first_seq) {
			*ret_place = i;
			return 0;
		}
	}
	return -ENOENT;
}
