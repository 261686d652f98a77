#include "validate/facts.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/exchange.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/stage.h"
#include "validate/check.h"

/* A host may have been one whose commits may lack prevData, and its clock is no matter now. */
static const struct check_rules rules = {.received_usec = UINT64_MAX / 2, .is_legacy = true};

static enum verdict find_facts(struct checker *c, struct frame *f, const struct event *e,
			       struct verified *ret)
{
	enum verdict v = frame_decode(e->frame, f);

	*ret = (struct verified){
		.ticket = e->ticket,
		.host_id = e->host_id,
		.host_epoch = e->host_epoch,
		.host_seq = e->host_seq,
		.received_usec = e->received_usec,
		.kind = f->kind,
		.seq_offset = f->seq_offset,
		.seq_size = f->seq_size,
		.did = f->did,
		.frame = f->bytes,
	};
	if (v != VERDICT_ACCEPTED)
		return v;
	if (f->kind == EVENT_ACCOUNT) {
		ret->active = f->active;
		ret->status = account_status_parse(f->active, f->status);
	}
	v = check_fields(f, &rules);
	if (v == VERDICT_ACCEPTED && (f->kind == EVENT_COMMIT || f->kind == EVENT_SYNC))
		v = check_unsigned_blocks(c, f, &rules, ret);
	return v;
}

static int answer(struct checker *c, struct frame *f, struct span question, struct buf *out)
{
	struct reader r = reader_of(question);
	struct verified verified;
	struct event e;

	if (event_decode(&r, &e) < 0 || r.left > 0)
		return -EBADMSG;
	buf_clear(out);
	if (find_facts(c, f, &e, &verified) == VERDICT_ACCEPTED)
		verified_encode(out, &verified);
	return exchange_write(STDOUT_FILENO, buf_span(out));
}

int facts_main(void)
{
	struct checker *c = checker_new();
	struct frame *f = xcalloc(1, sizeof(*f));
	struct buf in, out;
	int r;

	buf_init(&in, LIMIT_MESSAGE);
	buf_init(&out, LIMIT_MESSAGE);
	while ((r = exchange_read(STDIN_FILENO, &in)) > 0) {
		r = answer(c, f, buf_span(&in), &out);
		if (r < 0)
			break;
	}
	if (r < 0)
		log_error("cannot tell store what is in events: %s", strerror(-r));
	buf_release(&in);
	buf_release(&out);
	free(f);
	checker_free(c);
	return r < 0 ? STAGE_EXIT_AGAIN : 0;
}
