#include "fanout/listener.h"

#include <arpa/inet.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fanout/consumer.h"
#include "fanout/port.h"

#include "tests/lib/fanout_rig.h"
#include "tests/lib/stream_client.h"
#include "tests/lib/wait.h"
#include "tests/test.h"

/* Real servers at one port: who gets connections, and what happens when one of them ends. */

#define REPLICAS 3

static int listen_somewhere(uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons(port),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK_INT(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	CHECK_INT(listen(fd, 1024), 0);
	return fd;
}

static void start_all(struct server *servers, const struct server_settings *settings)
{
	for (size_t i = 0; i < REPLICAS; i++) {
		server_start(&servers[i], settings);
		server_add(&servers[i], 1, 100);
	}
}

/* Each has its share, more or less, and all have these. */
static void check_shares(struct server *servers, size_t from, size_t count)
{
	size_t sum = 0;

	for (size_t i = from; i < REPLICAS; i++) {
		int64_t own = server_metric(&servers[i], METRIC("relay_consumers"));

		CHECK(own >= 6);
		sum += (size_t)own;
	}
	CHECK_INT(sum, count);
}

static void check_restart(struct stream_client *c)
{
	struct stream_frame f = {0};

	CHECK_INT(stream_read(c, &f), 1);
	CHECK_INT(f.opcode, 8);
	CHECK(f.payload.len > 2 && f.payload.ptr[0] == 1012 >> 8 &&
	      f.payload.ptr[1] == (1012 & 255));
}

/* All replicas but the first stay. */
static void check_replicas(const struct server_settings *settings)
{
	static struct stream_client before[60], after[30];
	struct server servers[REPLICAS];
	size_t left = 0;

	start_all(servers, settings);
	for (size_t i = 0; i < ARRAY_SIZE(before); i++)
		CHECK(stream_open(&before[i], servers[0].port, "", ""));
	check_shares(servers, 0, ARRAY_SIZE(before));
	left = ARRAY_SIZE(before) - (size_t)server_metric(&servers[0], METRIC("relay_consumers"));
	server_ask_to_stop(&servers[0]);
	/* Now it has been told, and is there still: nobody has answered its close frames. */
	CHECK_INT(server_metric(&servers[0], METRIC("relay_consumers")), ARRAY_SIZE(before) - left);
	for (size_t i = 0; i < ARRAY_SIZE(after); i++)
		CHECK(stream_open(&after[i], servers[1].port, "", ""));
	check_shares(servers, 1, left + ARRAY_SIZE(after));
	for (size_t i = 0; i < ARRAY_SIZE(before); i++)
		stream_close(&before[i]);
	for (size_t i = 0; i < ARRAY_SIZE(after); i++)
		stream_close(&after[i]);
	for (size_t i = 0; i < REPLICAS; i++)
		i ? server_stop(&servers[i]) : server_wait(&servers[i]);
}

TEST(replicas_share_a_port)
{
	struct server_settings settings = server_ordinary;

	settings.port = free_port();
	check_replicas(&settings);
}

TEST(replicas_share_a_socket)
{
	struct server_settings settings = server_ordinary;
	uint16_t port = free_port();

	settings.passed_fd = listen_somewhere(port);
	check_replicas(&settings);
	/* It outlives them: who comes now waits for the next. */
	struct stream_client c;
	struct server s;

	stream_connect(&c, port, 0);
	server_start(&s, &settings);
	server_add(&s, 1, 100);
	CHECK(stream_handshake(&c, "", ""));
	server_ask_to_stop(&s);
	check_restart(&c);
	stream_close(&c);
	server_wait(&s);
	close(settings.passed_fd);
}

/* A replica that has just been started knows how far the log is within moments. */
TEST(who_comes_before_the_log_is_known_waits)
{
	struct stream_client c;
	struct server s;

	server_start(&s, &server_ordinary);
	stream_connect(&c, s.port, 0);
	stream_send(&c, SPAN_LITERAL("GET /xrpc/com.atproto.sync.subscribeRepos HTTP/1.1\r\n"
				     "Host: relay\r\nUpgrade: websocket\r\n"
				     "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
				     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"));
	server_add(&s, 1, 100);
	CHECK(test_contains(stream_head(&c), " 101 "));
	stream_close(&c);
	server_stop(&s);
}

/* Connected before the socket closes, in the kernel's queue: they are answered. */
TEST(who_has_connected_is_answered_by_a_server_that_stops)
{
	struct stream_client clients[20];
	struct server s;

	server_start(&s, &server_ordinary);
	server_add(&s, 1, 100);
	kill(s.pid, SIGSTOP);
	server_ask_to_stop(&s);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
		stream_connect(&clients[i], s.port, 0);
		if (i % 2 == 0)
			stream_send(&clients[i],
				    SPAN_LITERAL("GET /xrpc/com.atproto.sync.getRepoStatus?did=a "
						 "HTTP/1.1\r\n"
						 "Host: relay\r\n\r\n"));
		else
			stream_send(&clients[i],
				    SPAN_LITERAL(
					    "GET /xrpc/com.atproto.sync.subscribeRepos HTTP/1.1\r\n"
					    "Host: relay\r\nUpgrade: websocket\r\nConnection: "
					    "Upgrade\r\n"
					    "Sec-WebSocket-Version: 13\r\n"
					    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"));
	}
	kill(s.pid, SIGCONT);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
		struct span answer = stream_rest(&clients[i]);

		CHECK(test_contains(answer, i % 2 ? "HTTP/1.1 503 " : "HTTP/1.1 200 "));
		CHECK(test_contains(answer, "Connection: close"));
		stream_close(&clients[i]);
	}
	server_wait(&s);
}

/* ---- the program ---- */

#define NOTIFY_MARGIN_USEC (5 * USEC_PER_SEC) /* the service manager's, beyond the stage's own */

static pid_t start_program(const char *folder)
{
	char self[PATH_MAX] = "", program[PATH_MAX + 64], text[6][700];
	unsigned port = free_port(), metrics_port = free_port();

	CHECK(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	/* Two folders above the tests. */
	for (int i = 0; i < 3 && strrchr(self, '/'); i++)
		*strrchr(self, '/') = '\0';
	snprintf(program, sizeof(program), "%s/standpipe-fanout", self);
	snprintf(text[0], sizeof(text[0]), "group.data_dir=%s/data", folder);
	snprintf(text[1], sizeof(text[1]), "group.run_dir=%s/run", folder);
	snprintf(text[2], sizeof(text[2]), "fanout.address=127.0.0.1");
	snprintf(text[3], sizeof(text[3]), "fanout.port=%u", port);
	snprintf(text[4], sizeof(text[4]), "fanout.metrics_port=%u", metrics_port);
	snprintf(text[5], sizeof(text[5]), "fanout.drain_time=3s");
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		execl(program, program, "--set", text[0], "--set", text[1], "--set", text[2],
		      "--set", text[3], "--set", text[4], "--set", text[5], NULL);
		_exit(127);
	}
	return pid;
}

/* The last thing that may happen in time does. */
TEST(the_time_to_stop_is_that_of_all_its_parts)
{
	const uint64_t parts_usec = 3 * USEC_PER_SEC + CONSUMER_CLOSE_USEC + PORT_FINISH_USEC +
				    2 * USEC_PER_SEC;
	const struct timeval patience = {.tv_sec = 60};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *folder = test_folder(), *at = NULL;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), status = -1;
	uint64_t usec = 0;
	char text[512];

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", folder);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	CHECK_INT(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	setenv("NOTIFY_SOCKET", address.sun_path, 1);
	pid_t pid = start_program(folder);
	unsetenv("NOTIFY_SOCKET");
	while (!at && !test_has_failed()) {
		ssize_t n = recv(fd, text, sizeof(text) - 1, 0);
		text[n > 0 ? n : 0] = '\0';
		CHECK(n > 0);
		if (strstr(text, "READY=1"))
			kill(pid, SIGTERM);
		at = strstr(text, "EXTEND_TIMEOUT_USEC=");
	}
	CHECK(at && sscanf(at, "EXTEND_TIMEOUT_USEC=%" SCNu64, &usec) == 1);
	CHECK(usec >= parts_usec + NOTIFY_MARGIN_USEC);
	if (!at)
		kill(pid, SIGKILL);
	CHECK_INT(waitpid(pid, &status, 0), pid);
	CHECK_INT(status, 0);
	close(fd);
}
