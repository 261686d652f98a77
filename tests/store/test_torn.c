/*
 * What a kill or a power cut leaves of the last record of each file that a commit writes: the
 * messages, their index, and the log of the state's database. Each is cut off at every byte, has
 * zeros from every byte on, or one byte of it changed. Whatever it is: what was acknowledged is
 * there and unchanged, nothing else shows, and what comes again is taken exactly once.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/loop.h"
#include "store/storage.h"
#include "tests/lib/log_reader.h"
#include "tests/lib/verified.h"
#include "tests/test.h"

#define GROUP     1 /* events */
#define OLD_NEXT  (1 + GROUP)
#define NEW_NEXT  (1 + 2 * GROUP)
#define FILES_MAX 16
#define AGAIN     16 /* of so many cases, one in which everything comes again */

enum part { MESSAGES, INDEX, STATE, PARTS };

struct file {
	char path[300];
	struct buf bytes;
};

struct fixture {
	char folder[128];
	struct storage_options options;
	struct storage *storage;
	struct buf frame;
	size_t file_count;
	struct file files[FILES_MAX]; /* as the dead process left them */
	struct file *parts[PARTS];
	size_t *first_group; /* the parts' sizes with the first group; shared with the child */
	unsigned cases;
};

static int reopen(struct fixture *f)
{
	storage_close(f->storage);
	f->storage = NULL;
	return storage_open(f->folder, &f->options, &f->storage);
}

static void put_group(struct fixture *f, uint64_t first)
{
	for (uint64_t n = first; n < first + GROUP; n++) {
		const struct event_spec spec = {
			.kind = EVENT_COMMIT,
			.did = n % 2 ? "did:web:a.example" : "did:web:b.example",
			.host_id = 11,
			.host_seq = n,
			.rev = (unsigned)n,
			.pad = 10,
		};
		struct storage_decision d;
		struct verified v;

		verified_make(&spec, &f->frame, &v);
		CHECK_INT(storage_put(f->storage, &v, &d), 0);
	}
}

/* Files. */

static bool ends_with(const char *s, const char *end)
{
	size_t len = strlen(s), end_len = strlen(end);

	return len >= end_len && strcmp(s + len - end_len, end) == 0;
}

/* The path of the part, for the only file of its kind. */
static void find_path(const struct fixture *f, enum part p, char *ret, size_t size)
{
	static const char *const ends[PARTS] = {".ws", ".idx", ".log"};
	char folder[160];
	struct dirent *d;
	DIR *dir;

	snprintf(folder, sizeof(folder), "%s/%s", f->folder, p == STATE ? "state" : "log");
	dir = opendir(folder);
	*ret = '\0';
	while ((d = readdir(dir)))
		if (ends_with(d->d_name, ends[p]))
			snprintf(ret, size, "%s/%.80s", folder, d->d_name);
	closedir(dir);
}

static void each_file(const char *folder, void (*visit)(struct fixture *f, const char *path),
		      struct fixture *f)
{
	DIR *dir = opendir(folder);
	struct dirent *d;
	char path[300];

	while ((d = readdir(dir))) {
		if (d->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%.80s", folder, d->d_name);
		visit(f, path);
	}
	closedir(dir);
}

static void each_file_of_all(struct fixture *f, void (*visit)(struct fixture *f, const char *path))
{
	char folder[160];

	snprintf(folder, sizeof(folder), "%s/log", f->folder);
	each_file(folder, visit, f);
	snprintf(folder, sizeof(folder), "%s/state", f->folder);
	each_file(folder, visit, f);
}

static void keep_file(struct fixture *f, const char *path)
{
	struct file *file = &f->files[f->file_count++];

	CHECK(f->file_count <= FILES_MAX);
	snprintf(file->path, sizeof(file->path), "%s", path);
	test_read_file(path, &file->bytes);
}

static void remove_file(struct fixture *f, const char *path)
{
	(void)f;
	CHECK_INT(unlink(path), 0);
}

static void write_file(const char *path, struct span bytes)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	CHECK_INT(write(fd, bytes.ptr, bytes.len), bytes.len);
	close(fd);
}

/* As the dead process left them. */
static void restore(struct fixture *f)
{
	storage_close(f->storage);
	f->storage = NULL;
	each_file_of_all(f, remove_file);
	for (size_t i = 0; i < f->file_count; i++)
		write_file(f->files[i].path, buf_span(&f->files[i].bytes));
}

/* The dead process. */

static _Noreturn void die_within(struct fixture *f, unsigned steps)
{
	char path[300];
	struct stat st;

	if (storage_open(f->folder, &f->options, &f->storage) < 0)
		_exit(1);
	put_group(f, 1);
	if (storage_commit_steps(f->storage, STORAGE_STEPS) < 0)
		_exit(2);
	for (enum part p = 0; p < PARTS; p++) {
		find_path(f, p, path, sizeof(path));
		if (stat(path, &st) < 0)
			_exit(3);
		f->first_group[p] = (size_t)st.st_size;
	}
	put_group(f, OLD_NEXT);
	_exit(storage_commit_steps(f->storage, steps) < 0 ? 4 : 0);
}

static void start(struct fixture *f, unsigned steps)
{
	int status = -1;
	pid_t child;
	char path[300];

	*f = (struct fixture){
		.options = {.cache_bytes = KIB(64),
			    .first_seq = 1,
			    .log = {.file_bytes = MIB(1), .retention_usec = 1000 * USEC_PER_SEC}},
	};
	snprintf(f->folder, sizeof(f->folder), "%s", test_folder());
	buf_init(&f->frame, LIMIT_FRAME);
	f->first_group = mmap(NULL, PARTS * sizeof(*f->first_group), PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	fflush(stdout);
	child = fork();
	if (child == 0)
		die_within(f, steps);
	CHECK_INT(waitpid(child, &status, 0), child);
	CHECK_INT(status, 0);
	each_file_of_all(f, keep_file);
	for (enum part p = 0; p < PARTS; p++) {
		find_path(f, p, path, sizeof(path));
		for (size_t i = 0; i < f->file_count; i++)
			if (strcmp(f->files[i].path, path) == 0)
				f->parts[p] = &f->files[i];
	}
}

static void end(struct fixture *f)
{
	storage_close(f->storage);
	for (size_t i = 0; i < f->file_count; i++)
		buf_release(&f->files[i].bytes);
	munmap(f->first_group, PARTS * sizeof(*f->first_group));
	buf_release(&f->frame);
}

/* What is there. */

static void check_log(struct fixture *f, uint64_t next)
{
	struct log_index_record record;
	struct buf frame;
	struct head head;
	struct span did;
	char folder[160];
	uint64_t seq;

	snprintf(folder, sizeof(folder), "%s/log", f->folder);
	buf_init(&frame, LOG_MESSAGE_MAX);
	event_log_head(storage_log(f->storage), &head);
	CHECK_INT(head.next_seq, next);
	for (uint64_t n = 1; n < next; n++) {
		CHECK(log_reader_get(folder, n, &frame, &record));
		CHECK(log_reader_fields(buf_span(&frame), &seq, &did));
		CHECK_INT(seq, n);
		CHECK(span_is(did, n % 2 ? "did:web:a.example" : "did:web:b.example"));
	}
	buf_release(&frame);
}

/* What is beyond the marker is cut off. */
static void check_end(const struct fixture *f, uint64_t next)
{
	struct stat st = {0};

	CHECK_INT(stat(f->parts[MESSAGES]->path, &st), 0);
	CHECK_INT(st.st_size,
		  next == OLD_NEXT ? f->first_group[MESSAGES] : f->parts[MESSAGES]->bytes.len);
}

/* next: 0 if it has to be refused. */
static void check_start(struct fixture *f, uint64_t next)
{
	struct storage_group group;

	if (next == 0) {
		CHECK_INT(reopen(f), -EUCLEAN);
		return;
	}
	CHECK_INT(reopen(f), 0);
	if (!f->storage)
		return;
	check_log(f, next);
	check_end(f, next);
	if (f->cases++ % AGAIN > 0)
		return;
	put_group(f, 1);
	put_group(f, OLD_NEXT);
	CHECK_INT(storage_pending(f->storage), NEW_NEXT - next);
	CHECK_INT(storage_commit(f->storage, &group), 0);
	check_log(f, NEW_NEXT);
}

/* How it is damaged. */

enum damage { CUT, ZEROS, FLIPPED, DAMAGES };

static const char *const damages[] = {"cut", "zeros", "a changed byte"};

/* False if it is whole: zeros in the place of zeros. */
static bool damage(struct fixture *f, enum part p, enum damage d, size_t at)
{
	const struct buf *whole = &f->parts[p]->bytes;
	bool is_damaged;
	struct buf copy;

	restore(f);
	buf_init(&copy, SIZE_MAX);
	buf_append(&copy, span_of(whole->ptr, d == CUT ? at : whole->len));
	if (d == ZEROS)
		memset(copy.ptr + at, 0, copy.len - at);
	else if (d == FLIPPED)
		copy.ptr[at] ^= (uint8_t)(1 + at % 255);
	is_damaged = !span_equal(buf_span(&copy), buf_span(whole));
	if (is_damaged)
		write_file(f->parts[p]->path, buf_span(&copy));
	buf_release(&copy);
	return is_damaged;
}

/* From the end of the first group on. */
static void each_byte(struct fixture *f, enum part p, enum damage d, uint64_t next)
{
	CHECK(f->first_group[p] < f->parts[p]->bytes.len);
	for (size_t at = f->first_group[p]; at < f->parts[p]->bytes.len && !test_has_failed();
	     at++) {
		if (!damage(f, p, d, at))
			continue;
		check_start(f, next);
		if (test_has_failed())
			printf("# %s at byte %zu of %s, where the last group begins at %zu\n",
			       damages[d], at, f->parts[p]->path, f->first_group[p]);
	}
}

/* Before the marker says so they are not there, whatever they are. */
TEST(messages_beyond_the_marker)
{
	struct fixture f;

	start(&f, 2);
	for (enum damage d = 0; d < DAMAGES; d++)
		each_byte(&f, MESSAGES, d, OLD_NEXT);
	end(&f);
}

/* They were synced before; that they are gone is not passed over. */
TEST(messages_that_the_marker_covers)
{
	struct fixture f;

	start(&f, STORAGE_STEPS);
	each_byte(&f, MESSAGES, CUT, 0);
	end(&f);
}

TEST(index_records)
{
	struct fixture f;

	start(&f, STORAGE_STEPS);
	for (enum damage d = 0; d < DAMAGES; d++)
		each_byte(&f, INDEX, d, NEW_NEXT);
	end(&f);
}

/* Without its last record the state says what it said before. */
TEST(the_batch_with_the_marker)
{
	struct fixture f;

	start(&f, 3);
	for (enum damage d = 0; d < DAMAGES; d++)
		each_byte(&f, STATE, d, OLD_NEXT);
	restore(&f);
	check_start(&f, NEW_NEXT);
	end(&f);
}

/* Events that have their index records were acknowledged: a state that says otherwise is
 * damaged. */
TEST(the_batch_with_the_marker_once_the_group_is_whole)
{
	struct fixture f;

	start(&f, STORAGE_STEPS);
	for (enum damage d = 0; d < DAMAGES; d++)
		each_byte(&f, STATE, d, 0);
	restore(&f);
	check_start(&f, NEW_NEXT);
	end(&f);
}
