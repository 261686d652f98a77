#include "fanout/fanout.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "common/log.h"

static int64_t get_head_seq(void *arg)
{
	const struct fanout *f = arg;
	return f->window.known ? (int64_t)f->window.head.next_seq - 1 : 0;
}

static int64_t get_head_age(void *arg)
{
	return (int64_t)(fanout_silence_usec(arg) / USEC_PER_SEC);
}

static int64_t get_file_bytes(void *arg)
{
	const struct fanout *f = arg;
	return (int64_t)(f->window.files.open_count * sizeof(struct file));
}

static void register_metrics(struct fanout *f, struct metrics *m, struct memory *a)
{
	metrics_gauge_call(m, "relay_head_seq", "Number of the newest event of the log.", NULL,
			   get_head_seq, f);
	metrics_gauge_call(m, "relay_head_age_seconds",
			   "Time since store last said how far the log is.", NULL, get_head_age, f);
	f->heads_refused = metrics_counter(m, "relay_head_notices_refused_total",
					   "Notices of store that do not decode.", NULL);
	lag_register(&f->lag, m);
	memory_register(a, "files", get_file_bytes, f);
}

/* A store of another version says so several times a second. */
static void refuse_head(struct fanout *f)
{
	unsigned left_out;

	++*f->heads_refused;
	if (log_limit_pass(&f->head_log, &left_out))
		log_error("head notice does not decode left_out=%u", left_out);
}

/* Who comes while the first notice is on its way is not sent away, but has to wait for it. */
static void on_hold_over(void *arg)
{
	struct fanout *f = arg;

	loop_timer_cancel(f->loop, &f->hold);
	port_hold(f->port, false);
}

static void on_head(void *arg, struct span message)
{
	struct fanout *f = arg;
	uint64_t old_seq = f->window.head.next_seq;
	enum window_change change;

	if (window_take(&f->window, message, loop_now_usec(f->loop), &change) < 0) {
		refuse_head(f);
		return;
	}
	if (change == WINDOW_RESET) {
		log_error("the log went back from seq=%" PRIu64 " to seq=%" PRIu64
			  ": all consumers are closed",
			  old_seq, f->window.head.next_seq);
		consumers_close_all(&f->consumers, END_LOG_RESET);
	}
	consumers_judge_ahead(&f->consumers);
	if (change != WINDOW_MORE)
		return;
	if (old_seq == 0)
		on_hold_over(f);
	consumers_wake(&f->consumers);
	if (old_seq > 0 && f->window.head.received_usec > 0)
		lag_note(&f->lag, f->window.head.next_seq - old_seq, f->window.head.received_usec,
			 clock_usec());
}

static int open_tls(struct fanout *f, const struct tls_server_settings *settings)
{
	char reason[1024];
	int error = tls_server_new(f->loop, f->metrics, settings, reason, sizeof(reason), &f->tls);

	if (error < 0)
		log_error("TLS: %s", reason);
	return error;
}

int fanout_open(struct fanout *f, struct loop *l, struct metrics *m, struct memory *a,
		const struct fanout_settings *settings)
{
	const char *const urls[GATEWAY_STAGES] = {
		[GATEWAY_STORE] = settings->store_url,
		[GATEWAY_INGEST] = settings->ingest_url,
	};
	const struct pipe_handler handler = {.message = on_head, .arg = f};

	*f = (struct fanout){
		.loop = l,
		.metrics = m,
		.name = xstrdup(settings->name),
		.head_log = {.burst = 1, .period_usec = 60 * USEC_PER_SEC},
	};
	loop_timer_init(&f->hold, on_hold_over, f);
	window_init(&f->window, settings->log_folder, loop_now_usec(l));
	consumers_init(&f->consumers, l, &f->window, &settings->consumers, m, a);
	int error = gateway_open(&f->gateway, l, urls);
	if (error == 0)
		error = pipe_dial_sub(l, settings->head_url, &handler, &f->head);
	if (error == 0 && settings->port.tls.certificate)
		error = open_tls(f, &settings->port.tls);
	if (error == 0)
		error = port_open(f, a, &settings->port, &f->port);
	if (error < 0) {
		fanout_close(f);
		return error;
	}
	loop_timer_set(l, &f->hold, FANOUT_HOLD_USEC);
	register_metrics(f, m, a);
	return 0;
}

static void on_finished(void *arg)
{
	struct fanout *f = arg;

	loop_quit(f->loop, 0);
}

static void on_stopped(void *arg)
{
	struct fanout *f = arg;

	port_finish(f->port, on_finished, f);
}

void fanout_stop(struct fanout *f)
{
	port_stop(f->port);
	consumers_stop(&f->consumers, on_stopped, f);
}

/* Calls end before the port does: their requests hold its connections. */
void fanout_close(struct fanout *f)
{
	loop_timer_cancel(f->loop, &f->hold);
	pipe_close(f->head);
	gateway_close(&f->gateway);
	port_close(f->port);
	consumers_release(&f->consumers);
	tls_server_free(f->tls);
	window_release(&f->window);
	free(f->name);
	*f = (struct fanout){0};
}

uint64_t fanout_silence_usec(const struct fanout *f)
{
	return loop_now_usec(f->loop) - f->window.heard_usec;
}
