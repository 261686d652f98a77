#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "fanout/port.h"
#include "fanout/tunnels.h"

#include "tests/lib/certificate.h"
#include "tests/lib/fanout_rig.h"
#include "tests/lib/stream_client.h"
#include "tests/test.h"

/* The public port with TLS: whatever a client does, the others read on. */

#define SUBSCRIBE "GET /xrpc/com.atproto.sync.subscribeRepos"
#define UPGRADE                                                                                    \
	" HTTP/1.1\r\nHost: relay\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"                \
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
#define HEALTH "GET /_health HTTP/1.1\r\nHost: relay\r\n\r\n"

#define TLS_CONNECTIONS(kernel) "relay_tls_connections{" INSTANCE ",kernel=\"" kernel "\"}"
#define HANDSHAKES(result)      "relay_tls_handshakes_total{" INSTANCE ",result=\"" result "\"}"

/* ---- a client ---- */

struct client {
	struct stream_client tcp;
	SSL_CTX *context;
	SSL *ssl;
};

static bool client_open_version(struct client *c, uint16_t port, int version, int receive_bytes)
{
	stream_connect(&c->tcp, port, receive_bytes);
	c->context = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_security_level(c->context, 0); /* old versions may be offered */
	SSL_CTX_set_min_proto_version(c->context, version);
	SSL_CTX_set_max_proto_version(c->context, version);
	SSL_CTX_set_cipher_list(c->context, "ALL:@SECLEVEL=0");
	c->ssl = SSL_new(c->context);
	SSL_set_fd(c->ssl, c->tcp.fd);
	bool ok = SSL_connect(c->ssl) == 1;
	ERR_clear_error();
	return ok;
}

static void client_open(struct client *c, uint16_t port)
{
	CHECK(client_open_version(c, port, TLS1_3_VERSION, 0));
}

static void client_close(struct client *c)
{
	SSL_free(c->ssl);
	SSL_CTX_free(c->context);
	stream_close(&c->tcp);
}

static void client_send(struct client *c, const char *text)
{
	CHECK_INT(SSL_write(c->ssl, text, (int)strlen(text)), strlen(text));
}

static bool client_read(struct client *c, void *ret, size_t size)
{
	for (size_t at = 0; at < size;) {
		int n = SSL_read(c->ssl, (char *)ret + at, (int)(size - at));
		if (n <= 0) {
			ERR_clear_error();
			return false;
		}
		at += (size_t)n;
	}
	return true;
}

/* An answer's status; its body is read past. 0: the connection ended. */
static int client_answer(struct client *c)
{
	char head[2048];
	size_t len = 0, body = 0;
	int status = 0;

	while (len < sizeof(head) - 1 && (len < 4 || memcmp(head + len - 4, "\r\n\r\n", 4) != 0))
		if (!client_read(c, head + len++, 1))
			return 0;
	head[len] = '\0';
	CHECK_INT(sscanf(head, "HTTP/1.1 %d", &status), 1);
	const char *at = strstr(head, "Content-Length: ");
	if (at)
		CHECK_INT(sscanf(at, "Content-Length: %zu", &body), 1);
	for (; body > 0; body--)
		client_read(c, head, 1);
	return status;
}

static int client_ask(struct client *c, const char *request)
{
	client_send(c, request);
	return client_answer(c);
}

/* A frame of the server's: opcode, and its payload in buf. -1: the connection ended. */
static int client_frame(struct client *c, struct buf *ret)
{
	uint8_t head[10];
	size_t len;

	buf_clear(ret);
	if (!client_read(c, head, 2))
		return -1;
	size_t more = head[1] == 127 ? 8 : head[1] == 126 ? 2 : 0;
	if (!client_read(c, head + 2, more))
		return -1;
	len = more ? 0 : head[1];
	for (size_t i = 0; i < more; i++)
		len = len << 8 | head[2 + i];
	if (!client_read(c, buf_extend(ret, len), len))
		return -1;
	return head[0] & 0x0f;
}

static void client_events(struct client *c, uint64_t from, uint64_t to)
{
	struct buf payload;

	buf_init(&payload, MIB(8));
	for (uint64_t seq = from; seq <= to && !test_has_failed(); seq++) {
		CHECK_INT(client_frame(c, &payload), 2);
		CHECK_INT(log_maker_seq(buf_span(&payload)), seq);
	}
	buf_release(&payload);
}

static void client_subscribe(struct client *c, uint16_t port, const char *query)
{
	char request[1024];

	client_open(c, port);
	snprintf(request, sizeof(request), SUBSCRIBE "%s" UPGRADE, query);
	CHECK_INT(client_ask(c, request), 101);
}

/* ---- the server ---- */

struct secure {
	struct server server;
	char certificate[512], key[512];
};

static void write_certificate(const struct secure *s, const char *name)
{
	struct certificate c;

	certificate_init_authority(&c, name, "DNS:localhost");
	certificate_write(&c, s->certificate);
	certificate_write_key(&c, s->key);
	certificate_release(&c);
}

static void secure_start(struct secure *s, const struct server_settings *base)
{
	struct server_settings settings = *base;
	const char *folder = test_folder();

	snprintf(s->certificate, sizeof(s->certificate), "%s/certificate", folder);
	snprintf(s->key, sizeof(s->key), "%s/key", folder);
	write_certificate(s, "first");
	if (!settings.tls.check_usec)
		settings.tls.check_usec = 60 * USEC_PER_SEC;
	if (!settings.tls.handshake_usec)
		settings.tls.handshake_usec = 60 * USEC_PER_SEC;
	settings.tls.certificate = s->certificate;
	settings.tls.key = s->key;
	server_start(&s->server, &settings);
}

TEST(http_is_answered_by_tls)
{
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	struct secure s;
	struct client c;

	secure_start(&s, &server_ordinary);
	server_add(&s.server, 1, 100);
	for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
		CHECK(client_open_version(&c, s.server.port, versions[i], 0));
		for (int n = 0; n < 3; n++)
			CHECK_INT(client_ask(&c, HEALTH), 200);
		client_close(&c);
	}
	server_reaches(&s.server, TLS_CONNECTIONS("no"), 0);
	CHECK_INT(server_metric(&s.server, HANDSHAKES("done")), 2);
	server_stop(&s.server);
}

TEST(old_versions_are_refused)
{
	struct secure s;
	struct client c;

	secure_start(&s, &server_ordinary);
	CHECK(!client_open_version(&c, s.server.port, TLS1_1_VERSION, 0));
	client_close(&c);
	server_reaches(&s.server, HANDSHAKES("failed"), 1);
	server_stop(&s.server);
}

TEST(a_consumer_reads_over_files_and_lives_on)
{
	struct secure s;
	struct client c;

	secure_start(&s, &server_ordinary);
	server_add(&s.server, 25, 40000);
	client_subscribe(&c, s.server.port, "?cursor=3");
	client_events(&c, 4, 25);
	server_add(&s.server, 5, 100);
	client_events(&c, 26, 30);
	CHECK_INT(server_metric(&s.server, METRIC("relay_consumers")), 1);
	client_close(&c);
	server_reaches(&s.server, METRIC("relay_consumers"), 0);
	server_stop(&s.server);
}

/* It stops in the middle of records, and goes on with the same bytes. */
TEST(who_does_not_read_for_a_while_gets_all_of_it)
{
	struct secure s;
	struct client c;

	secure_start(&s, &server_ordinary);
	server_add(&s.server, 1, 100);
	CHECK(client_open_version(&c, s.server.port, TLS1_3_VERSION, 4096));
	CHECK_INT(client_ask(&c, SUBSCRIBE "?cursor=1" UPGRADE), 101);
	for (int i = 0; i < 40; i++)
		server_add(&s.server, 10, 30001);
	int64_t sent = server_metric(&s.server, METRIC("relay_bytes_sent_total"));
	CHECK(sent < 400 * 30001 / 2);
	client_events(&c, 2, 401);
	client_close(&c);
	server_stop(&s.server);
}

TEST(who_takes_nothing_is_cut_off)
{
	struct server_settings settings = server_ordinary;
	struct secure s;
	struct client c, other;

	settings.progress_usec = USEC_PER_SEC;
	secure_start(&s, &settings);
	server_add(&s.server, 1, 100);
	CHECK(client_open_version(&c, s.server.port, TLS1_3_VERSION, 4096));
	CHECK_INT(client_ask(&c, SUBSCRIBE "?cursor=1" UPGRADE), 101);
	client_subscribe(&other, s.server.port, "?cursor=1");
	for (int i = 0; i < 40; i++) {
		server_add(&s.server, 10, 30001);
		client_events(&other, 2 + 10 * (uint64_t)i, 11 + 10 * (uint64_t)i);
	}
	server_reaches(&s.server, CLOSES("stalled"), 1);
	CHECK_INT(server_metric(&s.server, METRIC("relay_consumers")), 1);
	client_close(&other);
	client_close(&c);
	server_stop(&s.server);
}

TEST(who_answers_no_ping_is_cut_off)
{
	struct server_settings settings = server_ordinary;
	struct buf payload;
	struct secure s;
	struct client c;

	settings.ping_usec = 300 * USEC_PER_MSEC;
	secure_start(&s, &settings);
	server_add(&s.server, 1, 100);
	client_subscribe(&c, s.server.port, "");
	buf_init(&payload, 1024);
	CHECK_INT(client_frame(&c, &payload), 9);
	CHECK_INT(client_frame(&c, &payload), -1);
	server_reaches(&s.server, CLOSES("silent"), 1);
	buf_release(&payload);
	client_close(&c);
	server_stop(&s.server);
}

/* All in one piece: requests, the one that makes it a consumer, and its first ping. */
TEST(what_comes_behind_the_handshake_is_not_lost)
{
	static const uint8_t ping[] = {0x89, 0x82, 0, 0, 0, 0, 'h', 'i'};
	struct secure s;
	struct client c;
	struct buf text;

	secure_start(&s, &server_ordinary);
	server_add(&s.server, 3, 100);
	client_open(&c, s.server.port);
	buf_init(&text, KIB(64));
	for (int i = 0; i < 5; i++)
		buf_append_str(&text, HEALTH);
	buf_append_str(&text, SUBSCRIBE "?cursor=3" UPGRADE);
	buf_append(&text, span_of(ping, sizeof(ping)));
	CHECK_INT(SSL_write(c.ssl, text.ptr, (int)text.len), text.len);
	for (int i = 0; i < 5; i++)
		CHECK_INT(client_answer(&c), 200);
	CHECK_INT(client_answer(&c), 101);
	CHECK_INT(client_frame(&c, &text), 10);
	CHECK_SPAN(buf_span(&text), span_str("hi"));
	server_add(&s.server, 1, 100);
	client_events(&c, 4, 4);
	buf_release(&text);
	client_close(&c);
	server_stop(&s.server);
}

/* More than any one buffer on the way holds, so that it is in all of them. */
TEST(nothing_is_lost_in_between)
{
	struct secure s;
	struct client c;
	struct buf text;
	char payload[126], last[126];

	secure_start(&s, &server_ordinary);
	server_add(&s.server, 3, 100);
	client_open(&c, s.server.port);
	buf_init(&text, KIB(128));
	buf_append_str(&text, SUBSCRIBE "?cursor=3" UPGRADE);
	for (int i = 0; i < 600; i++) {
		static const uint8_t head[] = {0x89, 0x80 | 125, 0, 0, 0, 0};

		snprintf(payload, sizeof(payload), "%0125d", i);
		buf_append(&text, span_of(head, sizeof(head)));
		buf_append_str(&text, payload);
	}
	for (size_t at = 0; at < text.len;) {
		int n = SSL_write(c.ssl, text.ptr + at, (int)(text.len - at));
		CHECK(n > 0);
		at += n > 0 ? (size_t)n : text.len;
	}
	CHECK_INT(client_answer(&c), 101);
	do {
		CHECK_INT(client_frame(&c, &text), 10);
		CHECK_INT(span_to_str(buf_span(&text), last, sizeof(last)), 0);
	} while (strcmp(last, payload) != 0 && !test_has_failed());
	buf_release(&text);
	client_close(&c);
	server_stop(&s.server);
}

TEST(a_close_is_answered_and_then_tls_is_closed)
{
	static const uint8_t close_frame[] = {0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8};
	struct secure s;
	struct client c;
	struct buf payload;

	secure_start(&s, &server_ordinary);
	server_add(&s.server, 1, 100);
	client_subscribe(&c, s.server.port, "");
	CHECK_INT(SSL_write(c.ssl, close_frame, sizeof(close_frame)), sizeof(close_frame));
	buf_init(&payload, 1024);
	CHECK_INT(client_frame(&c, &payload), 8);
	CHECK_INT(SSL_read(c.ssl, payload.ptr, 1), 0);
	CHECK_INT(SSL_get_shutdown(c.ssl) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
	server_reaches(&s.server, CLOSES("closed"), 1);
	server_reaches(&s.server, TLS_CONNECTIONS("no"), 0);
	buf_release(&payload);
	client_close(&c);
	server_stop(&s.server);
}

TEST(a_handshake_that_never_ends_is_cut_off)
{
	/* The head of a record that is to have 512 bytes. */
	static const uint8_t begun[] = {0x16, 0x03, 0x01, 0x02, 0x00, 0x01};
	struct server_settings settings = server_ordinary;
	struct secure s;
	struct stream_client silent, half;

	settings.tls.handshake_usec = 500 * USEC_PER_MSEC;
	secure_start(&s, &settings);
	stream_connect(&silent, s.server.port, 0);
	stream_connect(&half, s.server.port, 0);
	stream_send(&half, span_of(begun, sizeof(begun)));
	CHECK_INT(stream_rest(&silent).len, 0);
	CHECK_INT(stream_rest(&half).len, 0);
	stream_close(&silent);
	stream_close(&half);
	server_stop(&s.server);
}

/* Without a word, or with an alert, as OpenSSL sees fit. */
#define HELD  "relay_accounted_bytes{" INSTANCE ",what=\"tunnels\"}"
#define EXTRA 8
#define TURNS 30 /* of its loop; whoever it takes is taken in the next */

/* Nobody is accepted beyond them, until one ends. */
TEST(handshakes_under_way_are_bounded)
{
	static struct stream_client silent[PORT_CONNECTIONS_MAX + EXTRA];
	struct server_settings settings = server_ordinary;
	struct secure s;
	struct client c;
	int64_t one;

	server_raise_limit();
	settings.tls.handshake_usec = 600 * USEC_PER_SEC;
	secure_start(&s, &settings);
	server_add(&s.server, 1, 100);
	stream_connect(&silent[0], s.server.port, 0);
	for (int i = 0; i < 4000 && server_metric(&s.server, HELD) == 0; i++)
		usleep(5000);
	one = server_metric(&s.server, HELD);
	CHECK(one > 0 && one < (int64_t)KIB(1));
	for (size_t i = 1; i < ARRAY_SIZE(silent); i++)
		stream_connect(&silent[i], s.server.port, 0);
	server_reaches(&s.server, HELD, PORT_CONNECTIONS_MAX * one);
	for (int i = 0; i < TURNS; i++)
		CHECK_INT(server_metric(&s.server, HELD), PORT_CONNECTIONS_MAX * one);
	for (size_t i = 0; i < 2 * (size_t)EXTRA; i++)
		stream_close(&silent[i]);
	client_open(&c, s.server.port);
	CHECK_INT(client_ask(&c, HEALTH), 200);
	client_close(&c);
	for (size_t i = 2 * (size_t)EXTRA; i < ARRAY_SIZE(silent); i++)
		stream_close(&silent[i]);
	server_stop(&s.server);
}

#define PUSHERS 8

/* They ask for much, do not read it, and send more. */
TEST(what_a_connection_holds_is_bounded)
{
	static char more[KIB(48)];
	struct client c[PUSHERS];
	struct secure s;
	int64_t held = 0;

	memset(more, 'x', sizeof(more) - 1);
	secure_start(&s, &server_ordinary);
	server_add(&s.server, 1, 100);
	for (size_t i = 0; i < PUSHERS; i++) {
		CHECK(client_open_version(&c[i], s.server.port, TLS1_3_VERSION, 4096));
		client_send(&c[i], "GET /xrpc/com.atproto.sync.getRepoStatus?did=large HTTP/1.1\r\n"
				   "Host: relay\r\n\r\n");
		client_send(&c[i], more);
	}
	for (int i = 0; i < 4000 && held < PUSHERS * 2 * (int64_t)TUNNEL_BYTES; i++) {
		usleep(5000);
		held = server_metric(&s.server, HELD);
	}
	CHECK(held >= PUSHERS * 2 * (int64_t)TUNNEL_BYTES);
	CHECK(held <= PUSHERS * (2 * (int64_t)TUNNEL_BYTES + (int64_t)KIB(1)));
	for (size_t i = 0; i < PUSHERS; i++)
		client_close(&c[i]);
	server_reaches(&s.server, HELD, 0);
	server_stop(&s.server);
}

TEST(a_plain_client_is_cut_off)
{
	struct secure s;
	struct stream_client c;

	secure_start(&s, &server_ordinary);
	stream_connect(&c, s.server.port, 0);
	stream_send(&c, span_str(HEALTH));
	struct span rest = stream_rest(&c);
	CHECK(rest.len == 0 || rest.ptr[0] == 0x15);
	stream_close(&c);
	server_reaches(&s.server, HANDSHAKES("failed"), 1);
	server_stop(&s.server);
}

TEST(renegotiation_is_refused)
{
	struct secure s;
	struct client c;

	secure_start(&s, &server_ordinary);
	server_add(&s.server, 1, 100);
	CHECK(client_open_version(&c, s.server.port, TLS1_2_VERSION, 0));
	CHECK_INT(client_ask(&c, HEALTH), 200);
	CHECK_INT(SSL_renegotiate(c.ssl), 1);
	CHECK(SSL_do_handshake(c.ssl) <= 0);
	ERR_clear_error();
	client_close(&c);
	client_open(&c, s.server.port);
	CHECK_INT(client_ask(&c, HEALTH), 200);
	client_close(&c);
	server_stop(&s.server);
}

/* Without a pause, as fast as they go. */
static void change_keys_until_cut_off(struct client *c)
{
	for (int i = 0; i < 1000000; i++)
		if (SSL_key_update(c->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) != 1 ||
		    SSL_do_handshake(c->ssl) != 1)
			break;
	ERR_clear_error();
}

TEST(keys_are_changed_now_and_then_and_not_for_ever)
{
	struct secure s;
	struct client some, many, visitor;

	secure_start(&s, &server_ordinary);
	server_add(&s.server, 1, 100);
	client_subscribe(&some, s.server.port, "");
	for (int i = 0; i < 50; i++) {
		CHECK_INT(SSL_key_update(some.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
		CHECK_INT(SSL_do_handshake(some.ssl), 1);
	}
	client_subscribe(&many, s.server.port, "");
	change_keys_until_cut_off(&many);
	server_reaches(&s.server, CLOSES("flood"), 1);
	client_open(&visitor, s.server.port);
	change_keys_until_cut_off(&visitor);
	server_reaches(&s.server, TLS_CONNECTIONS("no"), 1);
	server_add(&s.server, 1, 100);
	client_events(&some, 2, 2);
	client_close(&some);
	client_close(&many);
	client_close(&visitor);
	server_stop(&s.server);
}

TEST(an_answer_that_is_not_read_has_an_end)
{
	struct server_settings settings = server_ordinary;
	struct secure s;
	struct client c;

	settings.tls.handshake_usec = 500 * USEC_PER_MSEC;
	settings.request_usec = USEC_PER_SEC;
	secure_start(&s, &settings);
	server_add(&s.server, 1, 100);
	CHECK(client_open_version(&c, s.server.port, TLS1_3_VERSION, 4096));
	client_send(&c, "GET /xrpc/com.atproto.sync.getRepoStatus?did=large HTTP/1.1\r\n"
			"Host: relay\r\n\r\n");
	server_reaches(&s.server, TLS_CONNECTIONS("no"), 1);
	server_reaches(&s.server, TLS_CONNECTIONS("no"), 0);
	client_close(&c);
	server_stop(&s.server);
}

/* More than the client's socket takes is in the kernel when the server ends. */
TEST(answers_outlive_the_server)
{
	enum { COUNT = 100 };
	struct secure s;
	struct client c, other;
	int queued = 1;

	secure_start(&s, &server_ordinary);
	server_add(&s.server, 1, 100);
	CHECK(client_open_version(&c, s.server.port, TLS1_3_VERSION, 4096));
	for (int i = 0; i < COUNT; i++)
		client_send(&c, HEALTH);
	while (queued > 0 && !test_has_failed())
		CHECK_INT(ioctl(c.tcp.fd, SIOCOUTQ, &queued), 0);
	/* What has come is taken by the loop in order; each of these is a turn of it at least. */
	for (int i = 0; i < 10; i++) {
		client_open(&other, s.server.port);
		CHECK_INT(client_ask(&other, HEALTH), 200);
		client_close(&other);
	}
	server_stop(&s.server);
	for (int i = 0; i < COUNT && !test_has_failed(); i++)
		CHECK_INT(client_answer(&c), 200);
	client_close(&c);
}

/* ---- the certificate ---- */

/* Connects until it is this one that is shown. */
static void wait_certificate(uint16_t port, const char *name)
{
	char shown[64] = "";

	for (int i = 0; i < 1000 && strcmp(shown, name) != 0; i++) {
		struct client c;

		if (i > 0)
			usleep(10000);
		client_open(&c, port);
		X509 *x = SSL_get1_peer_certificate(c.ssl);
		X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, shown,
					  sizeof(shown));
		X509_free(x);
		client_close(&c);
	}
	CHECK_STR(shown, name);
}

TEST(a_renewed_certificate_is_taken_and_a_bad_one_is_not)
{
	struct server_settings settings = server_ordinary;
	struct secure s;
	struct client old;

	settings.tls.check_usec = 20 * USEC_PER_MSEC;
	secure_start(&s, &settings);
	server_add(&s.server, 1, 100);
	client_subscribe(&old, s.server.port, "");
	wait_certificate(s.server.port, "first");
	write_certificate(&s, "second");
	wait_certificate(s.server.port, "second");
	/* A certificate without its key. */
	struct certificate other;
	certificate_init_authority(&other, "other", "DNS:localhost");
	certificate_write(&other, s.certificate);
	server_reaches(&s.server, "relay_tls_reloads_total{" INSTANCE ",result=\"failed\"}", 1);
	wait_certificate(s.server.port, "second");
	certificate_write_key(&other, s.key);
	wait_certificate(s.server.port, "other");
	certificate_release(&other);
	server_add(&s.server, 1, 100);
	client_events(&old, 2, 2);
	client_close(&old);
	server_stop(&s.server);
}

/* With as many bytes, and of the same time, as before: only when it was changed tells. */
static void write_alike(const struct secure *s, const char *name)
{
	const char *const paths[] = {s->certificate, s->key};
	const struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};

	write_certificate(s, name);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		FILE *f = fopen(paths[i], "ae");

		fseek(f, 0, SEEK_END);
		for (long size = ftell(f); size < (long)KIB(4); size++)
			fputc('\n', f);
		fclose(f);
		CHECK_INT(utimensat(AT_FDCWD, paths[i], times, 0), 0);
	}
}

TEST(a_renewed_certificate_that_looks_alike_is_taken)
{
	struct server_settings settings = server_ordinary;
	struct secure s;

	settings.tls.check_usec = 20 * USEC_PER_MSEC;
	secure_start(&s, &settings);
	server_add(&s.server, 1, 100);
	write_alike(&s, "second");
	wait_certificate(s.server.port, "second");
	write_alike(&s, "third");
	wait_certificate(s.server.port, "third");
	server_stop(&s.server);
}

TEST(a_certificate_that_cannot_be_opened_is_tried_again)
{
	struct server_settings settings = server_ordinary;
	struct rlimit none, before;
	struct secure s;

	settings.tls.check_usec = 20 * USEC_PER_MSEC;
	secure_start(&s, &settings);
	server_add(&s.server, 1, 100);
	CHECK_INT(prlimit(s.server.pid, RLIMIT_NOFILE, NULL, &before), 0);
	none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
	CHECK_INT(prlimit(s.server.pid, RLIMIT_NOFILE, &none, NULL), 0);
	write_certificate(&s, "second");
	while (server_metric(&s.server,
			     "relay_tls_reloads_total{" INSTANCE ",result=\"failed\"}") == 0)
		usleep(10000);
	CHECK_INT(prlimit(s.server.pid, RLIMIT_NOFILE, &before, NULL), 0);
	wait_certificate(s.server.port, "second");
	server_stop(&s.server);
}

TEST(a_key_of_another_kind_is_refused)
{
	char text[1024], error[1024];
	const char *folder = test_folder();
	struct certificate c;
	struct config *config = config_new();

	certificate_init_authority(&c, "a", "DNS:a");
	EVP_PKEY_free(c.key);
	c.key = EVP_RSA_gen(2048);
	snprintf(text, sizeof(text), "fanout.tls_certificate=%s/certificate", folder);
	CHECK_INT(config_set(config, text, error, sizeof(error)), 0);
	certificate_write(&c, strchr(text, '=') + 1);
	snprintf(text, sizeof(text), "fanout.tls_key=%s/key", folder);
	CHECK_INT(config_set(config, text, error, sizeof(error)), 0);
	certificate_write_key(&c, strchr(text, '=') + 1);
	CHECK_INT(tls_server_check(config, error, sizeof(error)), -EINVAL);
	CHECK(strstr(error, "not the kind of key"));
	certificate_release(&c);
	config_free(config);
}

TEST(a_bad_certificate_is_refused_with_its_line)
{
	char path[600], text[2048], error[1024];
	const char *folder = test_folder();
	struct certificate a, b;
	struct config *c = config_new();

	certificate_init_authority(&a, "a", "DNS:a");
	certificate_init_authority(&b, "b", "DNS:b");
	snprintf(path, sizeof(path), "%s/certificate", folder);
	certificate_write(&a, path);
	snprintf(path, sizeof(path), "%s/key", folder);
	certificate_write_key(&b, path);
	snprintf(path, sizeof(path), "%s/conf", folder);
	FILE *f = fopen(path, "we");
	fprintf(f, "[fanout]\ntls_certificate = %s/certificate\ntls_key = %s/key\n", folder,
		folder);
	fclose(f);
	CHECK_INT(config_read_file(c, path, error, sizeof(error)), 0);
	CHECK_INT(config_check(c, error, sizeof(error)), 0);
	CHECK_INT(tls_server_check(c, error, sizeof(error)), -EINVAL);
	snprintf(text, sizeof(text), "%s:3: fanout.tls_key: %s/key: key values mismatch", path,
		 folder);
	CHECK_STR(error, text);
	snprintf(text, sizeof(text), "fanout.tls_certificate=%s/nothing", folder);
	CHECK_INT(config_set(c, text, error, sizeof(error)), 0);
	CHECK_INT(tls_server_check(c, error, sizeof(error)), -EINVAL);
	CHECK(strstr(error, "No such file or directory"));
	CHECK_INT(config_set(c, "fanout.tls_certificate=", error, sizeof(error)), 0);
	CHECK_INT(config_check(c, error, sizeof(error)), -EINVAL);
	CHECK(strstr(error, "go together"));
	certificate_release(&a);
	certificate_release(&b);
	config_free(c);
}

/* ---- what it costs ---- */

/* TLS_CONSUMERS=2000 is the figure of standpipe-fanout(8). */
TEST(an_idle_consumer_costs_little_memory)
{
	const char *text = getenv("TLS_CONSUMERS");
	size_t count = 300;
	struct secure s;
	struct client *clients;

	if (text)
		CHECK_INT(sscanf(text, "%zu", &count), 1);
	clients = xcalloc(count, sizeof(*clients));
	struct server_settings settings = server_ordinary;
	settings.max = count;
	settings.ping_usec = 3600 * USEC_PER_SEC;
	secure_start(&s, &settings);
	server_add(&s.server, 1, 100);
	client_subscribe(&clients[0], s.server.port, "");
	int64_t before = server_metric(&s.server, METRIC("relay_process_anonymous_bytes"));
	for (size_t i = 1; i < count; i++)
		client_subscribe(&clients[i], s.server.port, "");
	server_add(&s.server, 1, 100);
	for (size_t i = 0; i < count; i++)
		client_events(&clients[i], 2, 2);
	server_reaches(&s.server, METRIC("relay_consumers"), (int64_t)count);
	int64_t each = (server_metric(&s.server, METRIC("relay_process_anonymous_bytes")) -
			before) /
		       (int64_t)(count - 1);
	CHECK_INT(server_metric(&s.server, "relay_accounted_bytes{" INSTANCE ",what=\"tunnels\"}"),
		  0);
	printf("# %zu consumers, %" PRId64 " bytes each\n", count, each);
#ifndef __SANITIZE_ADDRESS__
	CHECK(each > 0 && each < (int64_t)KIB(24));
#endif
	for (size_t i = 0; i < count; i++)
		client_close(&clients[i]);
	free(clients);
	server_stop(&s.server);
}

static bool kernel_has_tls(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);
	bool ok = bind(listener, (struct sockaddr *)&address, len) == 0 &&
		  listen(listener, 1) == 0 &&
		  getsockname(listener, (struct sockaddr *)&address, &len) == 0 &&
		  connect(fd, (struct sockaddr *)&address, len) == 0 &&
		  setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) == 0;

	close(fd);
	close(listener);
	return ok;
}

TEST(the_kernel_encrypts_where_it_can)
{
	struct secure s;
	struct client c;

	if (!kernel_has_tls())
		SKIP("this kernel has no TLS (CONFIG_TLS)");
	secure_start(&s, &server_ordinary);
	server_add(&s.server, 25, 40000);
	client_subscribe(&c, s.server.port, "?cursor=0");
	CHECK_INT(server_metric(&s.server, TLS_CONNECTIONS("yes")), 1);
	client_events(&c, 1, 25);
	client_close(&c);
	server_stop(&s.server);
}
