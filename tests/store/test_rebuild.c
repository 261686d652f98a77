#include "store/rebuild.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/exchange.h"
#include "common/loop.h"
#include "store/storage.h"
#include "tests/lib/verified.h"
#include "tests/test.h"

#define HOST      11
#define EVENTS    6 /* a file each, but for the last two */
#define HELD      3 /* the event whose answer may be held back */
#define SMALL_PAD 10
#define LARGE_PAD 70000

static const char *const dids[] = {"did:web:a.example", "did:web:b.example", "did:web:c.example"};

/* Data of store whose state is lost, and a rebuild of it in another process, of which the test is
 * validate. */
struct fixture {
	char folder[PATH_MAX / 2];
	struct storage_options options;
	struct storage *storage;
	struct buf frame, question;
	pid_t rebuild;
	int in, out; /* towards the rebuild */
	uint64_t first_asked, asked;
};

static struct event_spec spec_of(uint64_t seq)
{
	return (struct event_spec){
		.kind = EVENT_COMMIT,
		.did = dids[seq % ARRAY_SIZE(dids)],
		.host_id = HOST,
		.host_seq = seq,
		.rev = (unsigned)seq,
		.pad = seq < EVENTS ? LARGE_PAD : SMALL_PAD,
	};
}

static int open_storage(struct fixture *f)
{
	storage_close(f->storage);
	f->storage = NULL;
	return storage_open(f->folder, &f->options, &f->storage);
}

static void put(struct fixture *f, uint64_t seq)
{
	const struct event_spec spec = spec_of(seq);
	struct storage_decision d = {.verdict = VERDICT_MAX};
	struct storage_group group;
	struct verified v;

	if (!f->storage)
		return;
	verified_make(&spec, &f->frame, &v);
	CHECK_INT(storage_put(f->storage, &v, &d), 0);
	CHECK_INT(d.verdict, VERDICT_ACCEPTED);
	CHECK_INT(storage_commit(f->storage, &group), 0);
}

static void start(struct fixture *f)
{
	*f = (struct fixture){
		.options = {.cache_bytes = KIB(64),
			    .first_seq = 1,
			    .log = {.file_bytes = KIB(100), .retention_usec = 1000 * USEC_PER_SEC}},
	};
	snprintf(f->folder, sizeof(f->folder), "%s", test_folder());
	buf_init(&f->frame, LIMIT_FRAME);
	buf_init(&f->question, LIMIT_MESSAGE);
	CHECK_INT(open_storage(f), 0);
	for (uint64_t seq = 1; seq <= EVENTS; seq++)
		put(f, seq);
	CHECK_INT(event_log_files(storage_log(f->storage)), EVENTS - 1);
}

static void end(struct fixture *f)
{
	storage_close(f->storage);
	buf_release(&f->frame);
	buf_release(&f->question);
}

static void lose_state(struct fixture *f)
{
	char from[PATH_MAX], to[PATH_MAX];

	storage_close(f->storage);
	f->storage = NULL;
	snprintf(from, sizeof(from), "%s/state", f->folder);
	snprintf(to, sizeof(to), "%s/lost", f->folder);
	CHECK_INT(rename(from, to), 0);
}

static const char *log_path(const struct fixture *f, uint64_t first_seq, enum log_file_type type)
{
	static char path[PATH_MAX];
	char name[LOG_FILE_NAME_SIZE];

	snprintf(path, sizeof(path), "%s/log/%s", f->folder, log_file_name(first_seq, type, name));
	return path;
}

static uint64_t size_of(const struct fixture *f, uint64_t first_seq, enum log_file_type type)
{
	struct stat st = {0};

	CHECK_INT(stat(log_path(f, first_seq, type), &st), 0);
	return (uint64_t)st.st_size;
}

static void resize(const struct fixture *f, uint64_t first_seq, enum log_file_type type,
		   uint64_t bytes)
{
	CHECK_INT(truncate(log_path(f, first_seq, type), (off_t)bytes), 0);
}

/* The rebuild. */

static void start_rebuild(struct fixture *f)
{
	int questions[2], answers[2];

	CHECK_INT(pipe2(questions, O_CLOEXEC), 0);
	CHECK_INT(pipe2(answers, O_CLOEXEC), 0);
	fflush(stdout);
	f->first_asked = f->asked = 0;
	f->rebuild = fork();
	if (f->rebuild == 0) {
		close(questions[0]);
		close(answers[1]);
		_exit(-rebuild(f->folder, answers[0], questions[1]));
	}
	close(questions[1]);
	close(answers[0]);
	f->in = questions[0];
	f->out = answers[1];
}

/* Reads a question; false: there are no more. ret borrows until the next. */
static bool read_question(struct fixture *f, struct event *ret)
{
	struct reader r;

	if (exchange_read(f->in, &f->question) != 1)
		return false;
	r = reader_of(buf_span(&f->question));
	CHECK_INT(event_decode(&r, ret), 0);
	f->first_asked = f->first_asked ? f->first_asked : ret->ticket;
	f->asked = ret->ticket;
	return true;
}

static void answer(struct fixture *f, const struct event *e)
{
	struct event_spec spec = spec_of(e->ticket);
	struct verified v;
	struct buf b;

	spec.host_id = e->host_id;
	verified_make(&spec, &f->frame, &v);
	CHECK_SPAN(e->frame, v.frame);
	v.host_seq = e->host_seq;
	buf_init(&b, LIMIT_MESSAGE);
	verified_encode(&b, &v);
	CHECK_INT(exchange_write(f->out, buf_span(&b)), 0);
	buf_release(&b);
}

/* Answers up to this event, whose question is read and not answered. */
static void answer_until(struct fixture *f, uint64_t seq, struct event *ret_held)
{
	while (read_question(f, ret_held) && ret_held->ticket < seq)
		answer(f, ret_held);
	CHECK_INT(f->asked, seq);
}

/* Answers all that is asked; what rebuild says. */
static int finish_rebuild(struct fixture *f)
{
	struct event e;
	int status = -1;

	while (read_question(f, &e))
		answer(f, &e);
	close(f->in);
	close(f->out);
	CHECK_INT(waitpid(f->rebuild, &status, 0), f->rebuild);
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
}

static int run_rebuild(struct fixture *f)
{
	start_rebuild(f);
	return finish_rebuild(f);
}

/* Every account has its last commit, and the log goes on after the last event. */
static void check_state(struct fixture *f)
{
	struct account a = {0};
	struct head head = {0};

	CHECK_INT(open_storage(f), 0);
	if (!f->storage)
		return;
	event_log_head(storage_log(f->storage), &head);
	CHECK_INT(head.first_seq, 1);
	CHECK_INT(head.next_seq, EVENTS + 1);
	CHECK_INT(storage_accounts(f->storage), ARRAY_SIZE(dids));
	for (uint64_t seq = EVENTS; seq > EVENTS - ARRAY_SIZE(dids); seq--) {
		uint8_t rev[TID_SIZE];

		verified_rev((unsigned)seq, rev);
		CHECK_INT(storage_get_account(f->storage, span_str(spec_of(seq).did), &a), 0);
		CHECK(memcmp(a.rev, rev, TID_SIZE) == 0);
	}
	put(f, EVENTS + 1);
}

TEST(every_event_is_asked_for)
{
	struct fixture f;

	start(&f);
	lose_state(&f);
	CHECK_INT(run_rebuild(&f), 0);
	CHECK_INT(f.first_asked, 1);
	CHECK_INT(f.asked, EVENTS);
	check_state(&f);
	end(&f);
}

/* In the middle of the log: gone, empty, short, or with bytes behind its records. */
TEST(an_older_index_is_made_anew)
{
	static const long bytes[] = {-1, 0, LOG_INDEX_RECORD_SIZE - 1, 2 * LOG_INDEX_RECORD_SIZE};

	for (size_t i = 0; i < ARRAY_SIZE(bytes); i++) {
		struct fixture f;

		start(&f);
		lose_state(&f);
		if (bytes[i] < 0)
			CHECK_INT(unlink(log_path(&f, 3, LOG_FILE_INDEX)), 0);
		else
			resize(&f, 3, LOG_FILE_INDEX, (uint64_t)bytes[i]);
		CHECK_INT(run_rebuild(&f), 0);
		CHECK_INT(f.first_asked, 1);
		CHECK_INT(f.asked, EVENTS);
		CHECK_INT(size_of(&f, 3, LOG_FILE_INDEX), LOG_INDEX_RECORD_SIZE);
		check_state(&f);
		end(&f);
	}
}

/* A file is gone, or has lost its end. Nothing is asked, and the state stays lost. */
TEST(a_log_with_a_hole_is_refused)
{
	for (unsigned is_gone = 0; is_gone < 2; is_gone++) {
		struct fixture f;

		start(&f);
		lose_state(&f);
		if (is_gone) {
			CHECK_INT(unlink(log_path(&f, 3, LOG_FILE_MESSAGES)), 0);
			CHECK_INT(unlink(log_path(&f, 3, LOG_FILE_INDEX)), 0);
		} else {
			resize(&f, 3, LOG_FILE_MESSAGES, size_of(&f, 3, LOG_FILE_MESSAGES) - 1);
		}
		CHECK_INT(run_rebuild(&f), -EUCLEAN);
		CHECK_INT(f.asked, 0);
		CHECK_INT(open_storage(&f), -EEXIST);
		/* What is left out is for somebody to decide. */
		for (uint64_t seq = 1; seq <= 3; seq++) {
			unlink(log_path(&f, seq, LOG_FILE_MESSAGES));
			unlink(log_path(&f, seq, LOG_FILE_INDEX));
		}
		CHECK_INT(run_rebuild(&f), 0);
		CHECK_INT(f.first_asked, 4);
		CHECK_INT(f.asked, EVENTS);
		CHECK_INT(open_storage(&f), 0);
		end(&f);
	}
}

/* An unlink that was cut short is no hole. */
TEST(an_index_without_messages_before_the_log_is_none_of_it)
{
	struct fixture f;

	start(&f);
	lose_state(&f);
	CHECK_INT(unlink(log_path(&f, 1, LOG_FILE_MESSAGES)), 0);
	CHECK_INT(run_rebuild(&f), 0);
	CHECK_INT(f.first_asked, 2);
	CHECK_INT(open_storage(&f), 0);
	end(&f);
}

/* It changes nothing, however often it is tried, and the rebuild goes on. */
TEST(store_does_not_start_while_a_rebuild_runs)
{
	struct event held = {0};
	struct fixture f;

	start(&f);
	lose_state(&f);
	start_rebuild(&f);
	answer_until(&f, HELD, &held);
	for (int i = 0; i < 3; i++)
		CHECK_INT(open_storage(&f), -EAGAIN);
	answer(&f, &held);
	CHECK_INT(finish_rebuild(&f), 0);
	CHECK_INT(f.asked, EVENTS);
	check_state(&f);
	end(&f);
}

TEST(a_rebuild_that_was_killed_is_in_nobodys_way)
{
	struct event held = {0};
	struct fixture f;
	int status;

	start(&f);
	lose_state(&f);
	start_rebuild(&f);
	answer_until(&f, HELD, &held);
	kill(f.rebuild, SIGKILL);
	CHECK_INT(waitpid(f.rebuild, &status, 0), f.rebuild);
	close(f.in);
	close(f.out);
	CHECK_INT(open_storage(&f), -EEXIST);
	CHECK_INT(run_rebuild(&f), 0);
	CHECK_INT(f.first_asked, 1);
	check_state(&f);
	end(&f);
}

TEST(a_rebuild_does_not_run_while_another_does)
{
	struct event held = {0};
	struct fixture f, second;

	start(&f);
	lose_state(&f);
	start_rebuild(&f);
	answer_until(&f, HELD, &held);
	second = f;
	buf_init(&second.question, LIMIT_MESSAGE);
	CHECK_INT(run_rebuild(&second), -EAGAIN);
	CHECK_INT(second.asked, 0);
	buf_release(&second.question);
	answer(&f, &held);
	CHECK_INT(finish_rebuild(&f), 0);
	check_state(&f);
	end(&f);
}

/* Though its state was moved away under it, so that there seems to be none. */
TEST(a_rebuild_does_not_run_while_store_does)
{
	struct fixture f;
	char from[PATH_MAX], to[PATH_MAX];

	start(&f);
	CHECK_INT(run_rebuild(&f), -EAGAIN);
	snprintf(from, sizeof(from), "%s/state", f.folder);
	snprintf(to, sizeof(to), "%s/lost", f.folder);
	CHECK_INT(rename(from, to), 0);
	CHECK_INT(run_rebuild(&f), -EAGAIN);
	CHECK_INT(f.asked, 0);
	CHECK_INT(access(from, F_OK), -1);
	CHECK_INT(rename(to, from), 0);
	check_state(&f);
	end(&f);
}

TEST(a_state_that_is_there_stays)
{
	struct fixture f;

	start(&f);
	storage_close(f.storage);
	f.storage = NULL;
	CHECK_INT(run_rebuild(&f), -EEXIST);
	CHECK_INT(f.asked, 0);
	check_state(&f);
	end(&f);
}
