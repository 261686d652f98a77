/*
 * standpipe-ingest: reads the event streams of all hosts and feeds them into the lanes. It trusts
 * nothing that a host sends: it checks that a frame is CBOR, reads its kind, number and account,
 * and leaves everything else to validate.
 */
#include <string.h>

#include "common/log.h"
#include "ingest/bootstrap.h"
#include "ingest/calls.h"

struct ingest {
	struct stage stage;
	struct crawler crawler;
	struct calls calls;
	struct bootstrap bootstrap;
	struct pipe *resolve;
};

static void stopped(void *arg)
{
	struct ingest *i = arg;

	loop_quit(i->stage.loop, 0);
}

static void stop(void *arg)
{
	struct ingest *i = arg;

	bootstrap_release(&i->bootstrap);
	crawler_stop(&i->crawler, stopped, i);
}

static int dial_resolve(struct ingest *i)
{
	char url[CONFIG_URL_SIZE];
	int error;

	stage_pipe_url(&i->stage, "calls", "resolve", 0, url);
	error = pipe_dial_req(i->stage.loop, url, &i->resolve);
	if (error)
		log_error("the pipe to resolve cannot be opened: %s: %s", url, strerror(-error));
	return error ? STAGE_EXIT_AGAIN : 0;
}

static int run(struct ingest *i)
{
	int status = crawler_init(&i->crawler, &i->stage);

	if (!status)
		status = dial_resolve(i);
	if (!status)
		status = crawler_start(&i->crawler);
	if (!status)
		status = calls_init(&i->calls, &i->crawler, i->resolve);
	if (status)
		return status;
	bootstrap_init(&i->bootstrap, &i->crawler, i->resolve);
	return stage_run(&i->stage, stop, i);
}

/* The pipe to resolve first: it ends the calls that the others wait for. */
static void release(struct ingest *i)
{
	pipe_close(i->resolve);
	bootstrap_release(&i->bootstrap);
	calls_release(&i->calls);
	crawler_release(&i->crawler);
	stage_release(&i->stage);
}

int main(int argc, char **argv)
{
	struct ingest ingest = {0};
	int status = stage_init(&ingest.stage, "ingest", STAGE_SINGLE, argc, argv);

	if (status != STAGE_GO)
		return status;
	status = run(&ingest);
	release(&ingest);
	return status;
}
