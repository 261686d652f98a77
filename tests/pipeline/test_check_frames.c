/* `standpipe check` as the author of a PDS meets it: files go in, a line a frame comes out. */
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/car.h"
#include "tests/lib/frame.h"
#include "tests/test.h"

#define USEC          UINT64_C(1767323045678000)
#define PATIENCE_MSEC 30000

static char folder[4096];

static void write_file(const char *name, struct span content)
{
	char path[5000];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "we");
	CHECK(f && fwrite(content.ptr, 1, content.len, f) == content.len);
	fclose(f);
}

/* In the folder with the files. The exit status; out gets both outputs. */
static int check(const char *arguments, struct buf *out)
{
	char command[9000], block[1024];
	FILE *f;
	size_t n;
	int status;

	snprintf(command, sizeof(command), "cd %s && %s/standpipe check %s 2>&1", folder,
		 test_programs(), arguments);
	buf_clear(out);
	f = popen(command, "re");
	if (!f)
		return -1;
	while ((n = fread(block, 1, sizeof(block), f)) > 0)
		buf_append(out, span_of(block, n));
	status = pclose(f);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void write_document(const struct repo *r)
{
	struct buf key, json;

	buf_init(&key, KIB(1));
	buf_init(&json, KIB(4));
	multikey_format(&r->key.public, &key);
	buf_printf(
		&json,
		"{\"id\":\"%s\",\"verificationMethod\":[{\"id\":\"#atproto\",\"type\":\"Multikey\","
		"\"controller\":\"%s\",\"publicKeyMultibase\":\"%.*s\"}],"
		"\"service\":[{\"id\":\"#atproto_pds\",\"type\":\"AtprotoPersonalDataServer\","
		"\"serviceEndpoint\":\"https://pds.example\"}]}",
		r->did, r->did, (int)key.len, (const char *)key.ptr);
	write_file("document", buf_span(&json));
	buf_clear(&json);
	buf_printf(&json, "did:key:%.*s", (int)key.len, (const char *)key.ptr);
	write_file("key", buf_span(&json));
	buf_release(&key);
	buf_release(&json);
}

/* falling_back: a first commit, one without prevData, one with it, and one without again.
 * frames: a first commit, one without prevData, an info message, a commit that tells of another
 * tree before it, and an account message. */
static void write_frames(struct repo *r)
{
	struct repo_commit c;
	struct buf b;

	buf_init(&b, MIB(1));
	repo_put_number(r, "com.example.record/a", 1);
	repo_commit(r, USEC, &c);
	frame_put_commit(&b, 1, &c);
	write_file("good", buf_span(&b));
	repo_commit_release(&c);
	repo_put_number(r, "com.example.record/b", 2);
	repo_commit(r, USEC, &c);
	c.has_prev_data = false;
	frame_put_commit(&b, 2, &c);
	frame_put_info(&b, "OutdatedCursor", NULL);
	c.has_prev_data = true;
	c.prev_data = c.data;
	frame_put_commit(&b, 3, &c);
	frame_put_account(&b, 4, r->did, true, NULL);
	repo_commit_release(&c);
	write_file("frames", buf_span(&b));
	buf_append(&b, SPAN_LITERAL("\x83 and what follows"));
	write_file("broken", buf_span(&b));
	buf_release(&b);
}

static void write_falling_back(struct repo *r)
{
	struct repo_commit c;
	struct buf b;
	char path[64];

	buf_init(&b, MIB(1));
	for (uint64_t seq = 1; seq <= 4; seq++) {
		snprintf(path, sizeof(path), "com.example.record/%" PRIu64, seq);
		repo_put_number(r, path, seq);
		repo_commit(r, USEC + seq, &c);
		c.has_prev_data = seq == 3;
		frame_put_commit(&b, seq, &c);
		repo_commit_release(&c);
	}
	write_file("falling_back", buf_span(&b));
	buf_release(&b);
}

/* The two ends of a `standpipe check -`. */
static pid_t start_checking(int *ret_in, int *ret_out)
{
	char program[4200];
	int in[2], out[2];
	pid_t pid;

	snprintf(program, sizeof(program), "%s/standpipe", test_programs());
	CHECK_INT(pipe2(in, O_CLOEXEC), 0);
	CHECK_INT(pipe2(out, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		dup2(in[0], STDIN_FILENO);
		dup2(out[1], STDOUT_FILENO);
		execl(program, program, "check", "-", NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	*ret_in = in[1];
	*ret_out = out[0];
	return pid;
}

/* What comes until there is a whole line, or for too long nothing. */
static void read_line(int fd, struct buf *out)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char byte = '\0';

	buf_clear(out);
	while (byte != '\n' && poll(&p, 1, PATIENCE_MSEC) == 1 && read(fd, &byte, 1) == 1)
		buf_append(out, span_of(&byte, 1));
}

TEST(a_stream_that_goes_on_is_answered_frame_by_frame)
{
	struct buf frame, line;
	int in, out, status;
	char want[64];
	pid_t pid;

	buf_init(&frame, KIB(4));
	buf_init(&line, KIB(4));
	pid = start_checking(&in, &out);
	for (uint64_t seq = 1; seq <= 3; seq++) {
		buf_clear(&frame);
		frame_put_account(&frame, seq, "did:web:a.example", true, NULL);
		/* A frame may come in pieces. */
		CHECK_INT(write(in, frame.ptr, 9), 9);
		CHECK_INT(write(in, frame.ptr + 9, frame.len - 9), (ssize_t)frame.len - 9);
		read_line(out, &line);
		snprintf(want, sizeof(want), "%" PRIu64 ": unverified account seq=%" PRIu64, seq,
			 seq);
		CHECK(test_contains(buf_span(&line), want));
	}
	close(in);
	read_line(out, &line);
	CHECK(test_contains(buf_span(&line), "3 unverified"));
	close(out);
	CHECK_INT(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	buf_release(&frame);
	buf_release(&line);
}

TEST(verdicts_and_statuses)
{
	static const struct {
		const char *arguments;
		int status;
		const char *says;
	} cases[] = {
		{"", 64, "usage: standpipe check"},
		{"--help", 0, "usage: standpipe check"},
		{"--nonsense frames", 64, "usage: standpipe check"},
		{"--document frames frames", 64, "frames: no usable DID document: not_json"},
		{"--document none frames", 64, "none: No such file"},
		{"--key zzz frames", 64, "no key: zzz"},
		{"--host a_b frames", 64, "no host name: a_b"},
		{"none", 111, "none: No such file"},
		{"--document document good", 0, "1: accepted commit seq=1 did=did:plc:"},
		{"--document document - <good", 0, "1 accepted, 0 refused, 0 unverified"},
		{"--key $(cat key) good", 0, "1 accepted"},
		{"--document document --host pds.example good", 0, "1 accepted"},
		{"--document document --host other.example good", 1, "1: wrong_host commit seq=1"},
		{"good", 1, "1: unverified commit seq=1"},
		{"--key zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF good", 1,
		 "1: bad_signature commit seq=1"},
		{"--document document frames", 1, "2: prev_data_missing commit seq=2"},
		{"--document document frames", 1, "3: unknown_kind event"},
		{"--document document frames", 1, "4: inversion_failed commit seq=3 did=did:plc:"},
		{"--document document frames", 1, "5: accepted account seq=4"},
		{"frames", 1, "4: inversion_failed commit seq=3"},
		{"--document document frames", 1, "[sync: Validation] Undoing the operations"},
		{"--document document frames", 1, "2 accepted, 2 refused, 0 unverified, 1 skipped"},
		{"--document document --legacy frames", 1,
		 "3 accepted, 1 refused, 0 unverified, 1 skipped"},
		{"--document document --legacy falling_back", 0,
		 "4 accepted, 0 refused, 0 unverified, 0 skipped"},
		{"--document document --legacy --host pds.example falling_back", 0,
		 "4 accepted, 0 refused, 0 unverified, 0 skipped"},
		{"--document document falling_back", 1, "4: prev_data_missing commit seq=4"},
		{"--document document broken", 1, "6: frame_bad_cbor event"},
		{"--document document broken", 1, "broken: where the last frame ends"},
		{"--document document good good", 0, "2: accepted commit"},
	};
	struct buf out;
	struct repo r;

	snprintf(folder, sizeof(folder), "%s", test_folder());
	buf_init(&out, MIB(1));
	repo_init(&r, CURVE_K256, "check");
	write_document(&r);
	write_frames(&r);
	repo_release(&r);
	repo_init(&r, CURVE_K256, "check");
	write_falling_back(&r);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int status = check(cases[i].arguments, &out);

		if (status != cases[i].status || !test_contains(buf_span(&out), cases[i].says))
			test_fail(__FILE__, __LINE__, "%s: %d %.*s", cases[i].arguments, status,
				  (int)out.len, (const char *)out.ptr);
	}
	repo_release(&r);
	buf_release(&out);
}
