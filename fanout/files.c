#include "fanout/files.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

void files_init(struct files *f, const char *folder)
{
	*f = (struct files){.folder = xstrdup(folder)};
}

void files_release(struct files *f)
{
	assert(!f->open);
	free(f->folder);
	*f = (struct files){0};
}

void files_forget(struct files *f)
{
	for (struct file *file = f->open; file; file = file->next)
		file->forgotten = true;
}

/* The number of the newest file that begins at seq or before. */
static int find_name(const struct files *f, uint64_t seq, uint64_t *ret_first_seq)
{
	DIR *folder = opendir(f->folder);
	bool found = false;
	uint64_t best = 0;

	if (!folder)
		return -errno;
	for (struct dirent *e; (e = readdir(folder));) {
		enum log_file_type type;
		uint64_t first_seq;
		if (log_file_name_parse(e->d_name, &first_seq, &type) < 0 ||
		    type != LOG_FILE_MESSAGES || first_seq > seq || (found && first_seq < best))
			continue;
		best = first_seq;
		found = true;
	}
	closedir(folder);
	if (!found)
		return -ENOENT;
	*ret_first_seq = best;
	return 0;
}

static int open_one(const struct files *f, uint64_t first_seq, enum log_file_type type)
{
	char name[LOG_FILE_NAME_SIZE], path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/%s", f->folder,
			 log_file_name(first_seq, type, name));

	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int open_pair(struct files *f, uint64_t first_seq, struct file **ret)
{
	int messages_fd = open_one(f, first_seq, LOG_FILE_MESSAGES);
	if (messages_fd < 0)
		return messages_fd;
	int index_fd = open_one(f, first_seq, LOG_FILE_INDEX);
	if (index_fd < 0) {
		close(messages_fd);
		return index_fd;
	}
	struct file *file = xmalloc(sizeof(*file));
	*file = (struct file){
		.first_seq = first_seq,
		.messages_fd = messages_fd,
		.index_fd = index_fd,
		.next = f->open,
	};
	f->open = file;
	f->open_count++;
	*ret = file;
	return 0;
}

static struct file *find_open(const struct files *f, uint64_t first_seq)
{
	struct file *file = f->open;
	while (file && (file->forgotten || file->first_seq != first_seq))
		file = file->next;
	return file;
}

int files_get(struct files *f, uint64_t seq, struct file **ret)
{
	struct file *file = find_open(f, seq);
	int error = 0;

	/* Whoever comes to the end of a file asks for the name of the next; only a cursor needs a
	 * look at the folder. */
	if (!file)
		error = open_pair(f, seq, &file);
	if (error == -ENOENT) {
		uint64_t first_seq = 0;
		error = find_name(f, seq, &first_seq);
		if (error < 0)
			return error;
		file = find_open(f, first_seq);
		error = file ? 0 : open_pair(f, first_seq, &file);
	}
	if (error < 0)
		return error;
	file->readers++;
	*ret = file;
	return 0;
}

void files_put(struct files *f, struct file *file)
{
	struct file **link = &f->open;

	assert(file->readers > 0);
	if (--file->readers > 0)
		return;
	while (*link != file)
		link = &(*link)->next;
	*link = file->next;
	f->open_count--;
	close(file->messages_fd);
	close(file->index_fd);
	free(file);
}

ssize_t file_read_index(const struct file *file, uint64_t seq, uint8_t *ret, size_t count)
{
	uint64_t place = seq - file->first_seq;

	assert(seq >= file->first_seq);
	if (place > INT64_MAX / LOG_INDEX_RECORD_SIZE)
		return 0;
	ssize_t n = pread(file->index_fd, ret, count * LOG_INDEX_RECORD_SIZE,
			  (off_t)(place * LOG_INDEX_RECORD_SIZE));
	if (n < 0)
		return -errno;
	return n - n % LOG_INDEX_RECORD_SIZE;
}
