#include "resolve/names.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/test.h"

#define RCODE_OK       0
#define RCODE_SERVFAIL 2
#define RCODE_NXDOMAIN 3

/* A DNS server on the test's loop: one answer for every question. */
struct dns {
	struct loop *loop;
	struct loop_io io;
	char address[64];
	uint8_t rcode;
	bool with_address;
	bool silent;
	unsigned questions;
};

/* The question comes back with an answer behind it: to A questions 192.0.2.1, if so told. */
static void answer(void *arg, uint32_t events)
{
	static const uint8_t record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1};
	struct dns *d = arg;
	uint8_t message[600];
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	ssize_t n = recvfrom(d->io.fd, message, 512, 0, (struct sockaddr *)&from, &from_len);
	size_t end = 12;

	(void)events;
	d->questions++;
	if (n < 17 || d->silent)
		return;
	while (end < (size_t)n && message[end] != 0)
		end += message[end] + 1u;
	end += 5;
	message[2] = 0x81;
	message[3] = 0x80 | d->rcode;
	memset(message + 6, 0, 6); /* no answers, nothing additional */
	if (d->with_address && message[end - 3] == 1) {
		message[7] = 1;
		memcpy(message + end, record, sizeof(record));
		end += sizeof(record);
	}
	sendto(d->io.fd, message, end, 0, (struct sockaddr *)&from, from_len);
}

static void dns_open(struct dns *d)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	*d = (struct dns){.loop = loop_new()};
	CHECK_INT(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	getsockname(fd, (struct sockaddr *)&address, &len);
	snprintf(d->address, sizeof(d->address), "127.0.0.1:%u", ntohs(address.sin_port));
	loop_io_init(&d->io, answer, d);
	loop_io_add(d->loop, &d->io, fd, EPOLLIN);
}

static void dns_close(struct dns *d)
{
	int fd = d->io.fd;

	loop_io_remove(d->loop, &d->io);
	close(fd);
	loop_free(d->loop);
}

struct result {
	struct loop *loop;
	unsigned count;
	enum name_state state;
};

static void take(void *arg, enum name_state state)
{
	struct result *r = arg;

	r->count++;
	r->state = state;
	loop_quit(r->loop, 0);
}

static enum name_state ask(struct dns *d)
{
	struct names *n = names_new(d->loop, d->address);
	struct result r = {.loop = d->loop};

	names_ask(n, "host.example.com", take, &r);
	if (r.count == 0)
		loop_run(d->loop);
	CHECK_INT(r.count, 1);
	names_free(n);
	return r.state;
}

TEST(what_dns_says_of_a_name)
{
	static const struct {
		const char *name;
		uint8_t rcode;
		bool with_address;
		enum name_state state;
	} cases[] = {
		{"an address", RCODE_OK, true, NAME_EXISTS},
		{"no address", RCODE_OK, false, NAME_MISSING},
		{"no such name", RCODE_NXDOMAIN, false, NAME_MISSING},
		{"a server that fails", RCODE_SERVFAIL, false, NAME_UNKNOWN},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		enum name_state got;
		struct dns d;

		dns_open(&d);
		d.rcode = cases[i].rcode;
		d.with_address = cases[i].with_address;
		got = ask(&d);
		if (got != cases[i].state)
			test_fail(__FILE__, __LINE__, "%s: %d", cases[i].name, (int)got);
		CHECK(d.questions > 0);
		dns_close(&d);
	}
}

TEST(a_silent_server_says_nothing_of_a_name)
{
	struct dns d;

	dns_open(&d);
	d.silent = true;
	CHECK_INT(ask(&d), NAME_UNKNOWN);
	dns_close(&d);
}

TEST(questions_under_way_end_without_a_word)
{
	struct result r = {0};
	struct names *n;
	struct dns d;

	dns_open(&d);
	r.loop = d.loop;
	n = names_new(d.loop, d.address);
	names_ask(n, "host.example.com", take, &r);
	names_free(n);
	CHECK_INT(r.count, 0);
	dns_close(&d);
}
