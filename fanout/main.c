/*
 * standpipe-fanout: the public port. It sends the log to consumers, and passes XRPC calls on to the
 * stages that own the answers.
 *
 * Trusts store's notices and the log's files. Consumers and HTTP clients are hostile until shown
 * otherwise: what they send is bounded, ignored where it can be, and never passed on but as
 * parameters of a call.
 */
#include <errno.h>
#include <limits.h>
#include <sys/socket.h>

#include <systemd/sd-daemon.h>

#include "common/log.h"
#include "common/stage.h"

#include "fanout/consumer_list.h"
#include "fanout/fanout.h"

#define TLS_CHECK_USEC     (10 * USEC_PER_SEC) /* whether the certificate was renewed */
#define TLS_HANDSHAKE_USEC (10 * USEC_PER_SEC) /* three messages lost on the way, and sent again */
#define REQUEST_USEC       (60 * USEC_PER_SEC) /* the slowest call, requestCrawl, takes 15 s */

/* To stop, beside the time in which consumers are told: the last has its time to go, then requests
 * have theirs; neither is looked at more than once a second. */
#define STOP_USEC (CONSUMER_CLOSE_USEC + PORT_FINISH_USEC + 2 * USEC_PER_SEC)
_Static_assert(STOP_USEC >= STAGE_STOP_USEC, "no less than other stages have");

static void on_stop(void *arg)
{
	fanout_stop(arg);
}

/* The listening socket that systemd passed, or -1 in ret. -EINVAL: it is none that fits. */
static int take_passed_socket(int *ret)
{
	int count = sd_listen_fds(1);

	*ret = -1;
	if (count <= 0)
		return 0;
	if (count > 1 ||
	    sd_is_socket_inet(SD_LISTEN_FDS_START, AF_UNSPEC, SOCK_STREAM, 1, 0) <= 0) {
		log_error("%d sockets were passed: one listening TCP socket is needed", count);
		return -EINVAL;
	}
	*ret = SD_LISTEN_FDS_START;
	return 0;
}

static int check_tls(const struct stage *s)
{
	char reason[1024];
	int error = tls_server_check(s->config, reason, sizeof(reason));

	if (error < 0)
		log_error("%s", reason);
	return error;
}

static int open_from_config(struct fanout *f, const struct stage *s, int passed_fd)
{
	const struct config *c = s->config;
	const char *certificate = config_text(c, "fanout.tls_certificate");
	char folder[PATH_MAX];
	char urls[3][CONFIG_URL_SIZE];

	snprintf(folder, sizeof(folder), "%s/store/log", config_text(c, "group.data_dir"));
	const struct fanout_settings settings = {
		.port =
			{
				.address = config_text(c, "fanout.address"),
				.number = config_public_port(c, s->instance),
				.passed_fd = passed_fd,
				.trusted = config_text(c, "fanout.trusted_proxies"),
				.max_per_client = (size_t)config_number(
					c, "fanout.max_connections_per_client"),
				.request_usec = REQUEST_USEC,
				.tls = {*certificate ? certificate : NULL,
					config_text(c, "fanout.tls_key"), TLS_CHECK_USEC,
					TLS_HANDSHAKE_USEC},
			},
		.name = config_text(c, "fanout.server_name"),
		.log_folder = folder,
		.head_url = stage_pipe_url(s, "head", "store", 0, urls[0]),
		.store_url = stage_pipe_url(s, "calls", "store", 0, urls[1]),
		.ingest_url = stage_pipe_url(s, "calls", "ingest", 0, urls[2]),
		.consumers =
			{
				.max = (size_t)config_number(c, "fanout.max_consumers"),
				.max_per_client = (size_t)config_number(
					c, "fanout.max_consumers_per_client"),
				.ping_usec = config_time(c, "fanout.ping_interval"),
				.progress_usec = config_time(c, "fanout.progress_timeout"),
				.drain_usec = config_time(c, "fanout.drain_time"),
			},
	};
	return fanout_open(f, s->loop, s->metrics, s->memory, &settings);
}

int main(int argc, char **argv)
{
	struct stage stage;
	struct fanout fanout;
	int status = stage_init(&stage, "fanout", STAGE_INSTANCES, argc, argv);

	if (status != STAGE_GO)
		return status;
	int passed_fd, error = take_passed_socket(&passed_fd);
	if (error < 0) {
		stage_release(&stage);
		return STAGE_EXIT_CONFIG;
	}
	/* These files are changed while all runs, and may be right later. */
	error = check_tls(&stage);
	if (error < 0) {
		stage_release(&stage);
		return STAGE_EXIT_AGAIN;
	}
	error = open_from_config(&fanout, &stage, passed_fd);
	if (error < 0) {
		log_error("cannot open the public port or a pipe: %s", strerror(-error));
		stage_release(&stage);
		return STAGE_EXIT_AGAIN;
	}
	control_on_request(stage.control, MESSAGE_CONSUMERS, consumer_list_answer,
			   &fanout.consumers);
	stage.stop_usec = config_time(stage.config, "fanout.drain_time") + STOP_USEC;
	status = stage_run(&stage, on_stop, &fanout);
	fanout_close(&fanout);
	stage_release(&stage);
	return status;
}
