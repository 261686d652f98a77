#include "tests/lib/wait.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/test.h"

#define ASK_USEC (10 * USEC_PER_MSEC)

uint16_t free_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &size) < 0) {
		printf("Bail out! no free port: %s\n", strerror(errno));
		exit(1);
	}
	close(fd);
	return ntohs(address.sin_port);
}

bool port_is_free(uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons(port),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool is_free = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;

	if (fd >= 0)
		close(fd);
	return is_free;
}

/* Waiting: the loop runs on, and the condition is asked every few milliseconds. */
struct wait {
	struct loop *loop;
	struct loop_timer timer;
	bool (*condition)(void *arg);
	void *arg;
	uint64_t until_usec;
};

static void ask(void *arg)
{
	struct wait *w = arg;

	if (w->condition(w->arg))
		loop_quit(w->loop, 1);
	else if (loop_now_usec(w->loop) > w->until_usec)
		loop_quit(w->loop, 0);
	else
		loop_timer_set(w->loop, &w->timer, ASK_USEC);
}

bool wait_until(struct loop *l, bool (*condition)(void *arg), void *arg, const char *what)
{
	struct wait w = {.loop = l,
			 .condition = condition,
			 .arg = arg,
			 .until_usec = loop_now_usec(l) + WAIT_USEC};
	bool held;

	loop_timer_init(&w.timer, ask, &w);
	loop_timer_set(l, &w.timer, 0);
	held = loop_run(l) == 1;
	loop_timer_cancel(l, &w.timer);
	if (!held)
		test_fail(__FILE__, __LINE__, "waited too long: %s", what);
	return held;
}

static void guard_fires(void *arg)
{
	struct guard *g = arg;

	g->has_fired = true;
	loop_quit(g->loop, 0);
}

void guard_set(struct guard *g, struct loop *l, uint64_t usec)
{
	*g = (struct guard){.loop = l};
	loop_timer_init(&g->timer, guard_fires, g);
	loop_timer_set(l, &g->timer, usec);
}

void guard_cancel(struct guard *g)
{
	loop_timer_cancel(g->loop, &g->timer);
}
