/*
 * Stands between the programs of a group and the system, loaded by LD_PRELOAD: makes writes and
 * syncs of files below the data folder fail, tear or take long, cuts pipes, sets the clock ahead or
 * back, and keeps account of what was synced. What to do is said in a block of memory
 * (tests/faults/control.h).
 *
 * Calls go to the system directly, not to the next library in line: nothing here allocates, so it
 * may be called from anywhere. Without $FAULT_CONTROL, or in a program that has no disk, it does
 * nothing.
 *
 * What is assumed of the disk: the entries of folders are durable at once and in order, as on a
 * filesystem with a journal; the bytes of a file, and so its length, are not before it is synced.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tests/faults/control.h"

#define USEC        1000000
#define PIPES_BELOW 1024 /* descriptors that are looked at */

static struct control *control;  /* NULL: nothing is interposed */
static struct control_of *stage; /* NULL: this program is none */
static _Atomic uint32_t cuts;    /* that were made */

static struct control_of *find_stage(void)
{
	static const char *const names[CONTROL_STAGES] = {
		[CONTROL_INGEST] = "standpipe-ingest",     [CONTROL_RESOLVE] = "standpipe-resolve",
		[CONTROL_VALIDATE] = "standpipe-validate", [CONTROL_STORE] = "standpipe-store",
		[CONTROL_FANOUT] = "standpipe-fanout",
	};

	for (size_t i = 0; i < CONTROL_STAGES; i++)
		if (strcmp(program_invocation_short_name, names[i]) == 0)
			return &control->stages[i];
	return NULL;
}

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv(CONTROL_ENVIRONMENT);
	int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
	void *map;

	if (fd < 0)
		return;
	map = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return;
	control = map;
	stage = find_stage();
	if (stage)
		cuts = stage->cuts;
}

/* The path of a file below the data folder; false if it is another. */
static bool find_path(int fd, char *ret, size_t size)
{
	size_t len = strlen(control->data_folder);
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, ret, size - 1);
	if (n < (ssize_t)len)
		return false;
	ret[n] = '\0';
	return memcmp(ret, control->data_folder, len) == 0 && ret[len] == '/';
}

static bool is_ours(int fd)
{
	char path[1024];

	return find_path(fd, path, sizeof(path));
}

/* What is on the disk. */

/* Of this process, whose threads alone write to its stage's files: it dies with it. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static struct control_file *find_file(uint64_t inode)
{
	for (size_t i = 0; i < CONTROL_FILES_MAX; i++)
		if (stage->files[i].inode == inode)
			return &stage->files[i];
	return NULL;
}

/* A file that has no entry is one that was never synced; if there is no room for one more, it loses
 * more than it has to. */
static void note_synced(uint64_t inode, uint64_t bytes)
{
	struct control_file *f;

	pthread_mutex_lock(&mutex);
	f = find_file(inode);
	if (!f)
		f = find_file(0);
	if (f) {
		f->synced_bytes = bytes;
		f->inode = inode;
	}
	pthread_mutex_unlock(&mutex);
}

static void note_gone(uint64_t inode)
{
	struct control_file *f;

	pthread_mutex_lock(&mutex);
	f = find_file(inode);
	if (f)
		f->inode = 0;
	pthread_mutex_unlock(&mutex);
}

static void note_shorter(uint64_t inode, uint64_t bytes)
{
	struct control_file *f;

	pthread_mutex_lock(&mutex);
	f = find_file(inode);
	if (f && f->synced_bytes > bytes)
		f->synced_bytes = bytes;
	pthread_mutex_unlock(&mutex);
}

/* Calls. */

static bool fails(int fd, const _Atomic int *error)
{
	int e = stage ? *error : 0;

	if (e == 0 || !is_ours(fd))
		return false;
	errno = e;
	return true;
}

static bool write_fails(int fd)
{
	if (!stage || !fails(fd, &stage->write_error))
		return false;
	stage->effects[errno == ENOSPC ? EFFECT_DISK_FULL : EFFECT_WRITE_ERROR]++;
	return true;
}

ssize_t write(int fd, const void *bytes, size_t size)
{
	if (write_fails(fd))
		return -1;
	return syscall(SYS_write, fd, bytes, size);
}

static bool is_message_file(int fd)
{
	char path[1024];
	size_t len;

	if (!find_path(fd, path, sizeof(path)))
		return false;
	len = strlen(path);
	return len > 3 && strcmp(path + len - 3, ".ws") == 0;
}

/* A write of which the kill has left a part. */
static void tear(int fd, const void *bytes, size_t size, off_t offset)
{
	uint64_t torn = stage->torn_bytes;

	if (torn == 0 || size == 0 || !is_message_file(fd))
		return;
	stage->torn_bytes = 0;
	stage->effects[EFFECT_TORN_WRITE]++;
	syscall(SYS_pwrite64, fd, bytes, (torn - 1) % size, offset);
	kill(getpid(), SIGKILL);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
	if (write_fails(fd))
		return -1;
	if (stage)
		tear(fd, bytes, size, offset);
	return syscall(SYS_pwrite64, fd, bytes, size, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off_t offset)
{
	return pwrite(fd, bytes, size, offset);
}

int fallocate(int fd, int mode, off_t offset, off_t size)
{
	if (write_fails(fd))
		return -1;
	return (int)syscall(SYS_fallocate, fd, mode, offset, size);
}

static void slow_down(int fd)
{
	uint64_t usec = stage ? stage->sync_usec : 0;

	if (usec == 0 || !is_ours(fd))
		return;
	stage->effects[EFFECT_SLOW_SYNC]++;
	usleep((useconds_t)usec);
}

static int do_sync(int fd, long number)
{
	struct stat st;

	if (stage && fails(fd, &stage->sync_error)) {
		stage->effects[EFFECT_SYNC_ERROR]++;
		return -1;
	}
	slow_down(fd);
	/* What is written meanwhile is not counted. */
	if (fstat(fd, &st) < 0)
		return -1;
	if (syscall(number, fd) < 0)
		return -1;
	if (stage && S_ISREG(st.st_mode) && is_ours(fd))
		note_synced(st.st_ino, (uint64_t)st.st_size);
	return 0;
}

int fsync(int fd)
{
	return do_sync(fd, SYS_fsync);
}

int fdatasync(int fd)
{
	return do_sync(fd, SYS_fdatasync);
}

int ftruncate(int fd, off_t size)
{
	struct stat st;
	int r = (int)syscall(SYS_ftruncate, fd, size);

	if (r == 0 && stage && fstat(fd, &st) == 0)
		note_shorter(st.st_ino, (uint64_t)size);
	return r;
}

int ftruncate64(int fd, off_t size)
{
	return ftruncate(fd, size);
}

/* Numbers of inodes are used again. */
static void note_name_gone(int folder, const char *name)
{
	struct stat st;

	if (stage && fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		note_gone(st.st_ino);
}

int unlinkat(int folder, const char *name, int flags)
{
	note_name_gone(folder, name);
	return (int)syscall(SYS_unlinkat, folder, name, flags);
}

int unlink(const char *name)
{
	return unlinkat(AT_FDCWD, name, 0);
}

int remove(const char *name)
{
	return unlink(name);
}

int rename(const char *from, const char *to)
{
	note_name_gone(AT_FDCWD, to);
	return (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}

/* Pipes. */

/* A connection to another stage, and no socket that listens. */
static bool is_pipe(int fd)
{
	struct sockaddr_un peer;
	socklen_t size = sizeof(peer);
	int type = 0;
	socklen_t type_size = sizeof(type);

	return getpeername(fd, (struct sockaddr *)&peer, &size) == 0 &&
	       peer.sun_family == AF_UNIX &&
	       getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size) == 0 && type == SOCK_STREAM;
}

static void cut_if_asked(void)
{
	uint32_t wanted = stage ? stage->cuts : 0;

	if (!stage || atomic_exchange(&cuts, wanted) == wanted)
		return;
	for (int fd = 3; fd < PIPES_BELOW; fd++)
		if (is_pipe(fd) && shutdown(fd, SHUT_RDWR) == 0)
			stage->effects[EFFECT_CUT_PIPE]++;
}

/* The clock. */

static int64_t ahead_usec(void)
{
	return control ? control->clock_usec : 0;
}

static bool is_calendar(clockid_t clock)
{
	return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
	int64_t ahead = is_calendar(clock) ? ahead_usec() : 0, usec;
	int r = (int)syscall(SYS_clock_gettime, clock, ret);

	/* Every stage looks at the clock with every turn of its loop. */
	cut_if_asked();
	if (r == 0 && ahead != 0) {
		if (stage)
			stage->effects[EFFECT_CLOCK]++;
		usec = (int64_t)ret->tv_sec * USEC + ret->tv_nsec / 1000 + ahead;
		ret->tv_sec = usec / USEC;
		ret->tv_nsec = usec % USEC * 1000;
	}
	return r;
}

int gettimeofday(struct timeval *restrict ret, void *restrict zone)
{
	struct timespec now;
	int r = clock_gettime(CLOCK_REALTIME, &now);

	(void)zone;
	if (r == 0) {
		ret->tv_sec = now.tv_sec;
		ret->tv_usec = now.tv_nsec / 1000;
	}
	return r;
}

time_t time(time_t *ret)
{
	struct timespec now = {0};

	clock_gettime(CLOCK_REALTIME, &now);
	if (ret)
		*ret = now.tv_sec;
	return now.tv_sec;
}
