#include "common/config.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <ini.h>

#include "common/address.h"

#define TEXT_MAX       "16384" /* bytes; some hundreds of hosts in one list */
#define LINE_MAX_BYTES (16384 + 256)
#define PREFIX         "STANDPIPE_"

/* A text's own rule: what is wrong with it ("is no ..."), or NULL. */
typedef const char *text_rule(const char *text);

static text_rule check_level, check_url, check_urls, check_address, check_networks, check_lane_pipe,
	check_near_lane_pipe, check_stage_pipe, check_pipe;

/*
 * Every key. Default, minimum and maximum are written as a user would write them; of a text,
 * minimum and maximum are its length in bytes. run_dir and the pipes are short because a socket's
 * path has at most 107 bytes, and so that what config_pipe_url makes of them always fits
 * CONFIG_URL_SIZE.
 */
static const struct key {
	const char *section, *name;
	enum config_type type;
	const char *fallback, *minimum, *maximum;
	text_rule *rule;
	const char *meaning;
} keys[] = {
	/* clang-format off */
{"group", "data_dir", CONFIG_TEXT, "/var/lib/standpipe", "1", "1024", NULL,
	"Folder of all that lasts: DIR/ingest, DIR/resolve and DIR/store."},
{"group", "run_dir", CONFIG_TEXT, "/run/standpipe", "1", "80", NULL,
	"Folder of the sockets between the stages."},
{"group", "lanes", CONFIG_NUMBER, "1", "1", "64", NULL,
	"Number of validate processes; each has its own share of the accounts."},
{"group", "replicas", CONFIG_NUMBER, "1", "1", "64", NULL,
	"Number of fanout processes; they share the public port."},
{"group", "log_level", CONFIG_TEXT, "info", "1", "16", check_level,
	"Which lines are written: error, warning, notice, info or debug, each with those before it."},
{"group", "leak_report", CONFIG_FLAG, "false", "", "", NULL,
	"Write to the log, when a stage ends as asked, what it never freed, by call site. Costs memory\n"
	"and time: for experiments."},

{"network", "plain_hosts", CONFIG_TEXT, "", "0", TEXT_MAX, NULL,
	"Hosts that are reached by http: and ws:, also at private addresses. Patterns, separated by\n"
	"spaces or commas: name, name:port, *.suffix, name:*, or * for all."},
{"network", "private_hosts", CONFIG_TEXT, "", "0", TEXT_MAX, NULL,
	"Hosts that are reached by TLS, also at private addresses. Patterns as above."},
{"network", "ca_file", CONFIG_TEXT, "", "0", "1024", NULL,
	"Certificates (PEM) of authorities that are trusted beside those of the system; empty: none."},
{"network", "hosts_file", CONFIG_TEXT, "", "0", "1024", NULL,
	"Addresses by host name, in the form of hosts(5), asked before DNS; empty: none."},

{"pipes", "events", CONFIG_TEXT, "ipc://{run}/events-{lane}", "7", "128", check_near_lane_pipe,
	"ingest to validate. {run} is group.run_dir, {lane} a number. ipc://PATH; of the others, but\n"
	"identities, tcp://HOST:PORT too: those stages may be on another machine."},
{"pipes", "verified", CONFIG_TEXT, "ipc://{run}/verified-{lane}", "7", "128", check_lane_pipe,
	"validate to store."},
{"pipes", "identities", CONFIG_TEXT, "ipc://{run}/identities-{lane}", "7", "128", check_near_lane_pipe,
	"validate to resolve."},
{"pipes", "head", CONFIG_TEXT, "ipc://{run}/head", "7", "128", check_pipe,
	"store to fanout: how far the log goes."},
{"pipes", "calls", CONFIG_TEXT, "ipc://{run}/calls-{stage}", "7", "128", check_stage_pipe,
	"Calls of one stage to another. {stage} is the name of the one that answers."},
{"pipes", "control", CONFIG_TEXT, "ipc://{run}/control-{stage}", "7", "128", check_stage_pipe,
	"Calls of the standpipe command. {stage} is ingest, validate-0, ..."},

{"ingest", "metrics_port", CONFIG_NUMBER, "2471", "0", "65535", NULL,
	"Port of the metrics on 127.0.0.1; 0: none."},
{"ingest", "window", CONFIG_SIZE, "64M", "64K", "64G", NULL,
	"Events, per lane, that may be on their way to the log before the hosts have to wait."},
{"ingest", "host_window", CONFIG_SIZE, "8M", "64K", "64G", NULL,
	"Events of one host that may be on their way; a host with more (they wait for identities that\n"
	"cannot be had, say) waits alone."},
{"ingest", "unread", CONFIG_SIZE, "256M", "16M", "64G", NULL,
	"What all hosts together may have sent of messages that are incomplete, or wait for room in a\n"
	"window; the connection that has held much of it longest is ended."},
{"ingest", "bootstrap", CONFIG_TEXT, "", "0", "512", check_url,
	"URL of a relay whose list of hosts gives this one its first hosts; empty: none."},
{"ingest", "hosts", CONFIG_TEXT, "", "0", TEXT_MAX, NULL,
	"Hosts that are always subscribed to, separated by spaces or commas."},
{"ingest", "backfill", CONFIG_FLAG, "false", "", "", NULL,
	"Ask a new host for its whole backlog, not only for what comes from now on."},
{"ingest", "max_hosts", CONFIG_NUMBER, "10000", "1", "1000000", NULL,
	"Hosts at most."},
{"ingest", "connect_timeout", CONFIG_TIME, "10s", "100ms", "5m", NULL,
	"For a host to be resolved, to take the connection and to answer the handshake."},
{"ingest", "ping_interval", CONFIG_TIME, "30s", "100ms", "1h", NULL,
	"A host that says nothing for so long is pinged."},
{"ingest", "read_timeout", CONFIG_TIME, "90s", "100ms", "1d", NULL,
	"A host that says nothing for so long is disconnected. More than ping_interval."},
{"ingest", "backoff_min", CONFIG_TIME, "1s", "1ms", "1d", NULL,
	"The first wait before a host is dialled again; it grows with every failure,"},
{"ingest", "backoff_max", CONFIG_TIME, "30m", "1ms", "7d", NULL,
	"up to this."},
{"ingest", "cursor_interval", CONFIG_TIME, "1s", "1ms", "1h", NULL,
	"How often the hosts' cursors are written to disk."},
{"ingest", "cache", CONFIG_SIZE, "4M", "64K", "64G", NULL,
	"Block cache of the hosts' database: for what is beyond the 8 GB that LevelDB maps."},

{"resolve", "metrics_port", CONFIG_NUMBER, "2472", "0", "65535", NULL,
	"Port of the metrics on 127.0.0.1; 0: none."},
{"resolve", "plc_url", CONFIG_TEXT, "https://plc.directory", "1", "2048", check_urls,
	"The PLC directory; or several, separated by spaces or commas: one that follows is asked while\n"
	"those before it fail."},
{"resolve", "directory_rate", CONFIG_NUMBER, "500", "0", "100000", NULL,
	"Requests a second to one directory at most; 0: no limit."},
{"resolve", "refresh_interval", CONFIG_TIME, "1s", "0s", "1d", NULL,
	"The least time between two requests for the document of one DID, whoever asks for news of it."},
{"resolve", "identities_max", CONFIG_NUMBER, "10000000", "1000", "1000000000", NULL,
	"Identities kept on disk, about 150 bytes each; beyond, old ones make room."},
{"resolve", "concurrency", CONFIG_NUMBER, "64", "0", "4096", NULL,
	"Requests under way at most; 0 switches resolution off: whatever is not in the cache waits."},
{"resolve", "keep_alive", CONFIG_FLAG, "true", "", "", NULL,
	"Whether connections are used again."},
{"resolve", "recycle_interval", CONFIG_NUMBER, "0", "0", "1000000000", NULL,
	"Requests of one HTTP client before it is destroyed and made anew, with its connections; 0: no\n"
	"limit."},
{"resolve", "recycle_memory", CONFIG_SIZE, "0", "0", "64G", NULL,
	"When the process holds more than this (its memory that is not of files), it answers what it has\n"
	"in hand, ends, and is started again; 0: no limit."},
{"resolve", "timeout", CONFIG_TIME, "10s", "10ms", "5m", NULL,
	"For one request."},
{"resolve", "ttl_found", CONFIG_TIME, "24h", "0s", "365d", NULL,
	"How long a found identity is kept,"},
{"resolve", "ttl_missing", CONFIG_TIME, "10m", "0s", "365d", NULL,
	"and the answer that there is none,"},
{"resolve", "ttl_failed", CONFIG_TIME, "5s", "0s", "1d", NULL,
	"and that it could not be found out."},
{"resolve", "cache", CONFIG_SIZE, "8M", "64K", "64G", NULL,
	"Block cache of the identities' database: for what is beyond the 8 GB that LevelDB maps."},

{"validate", "metrics_port", CONFIG_NUMBER, "2500", "0", "65535", NULL,
	"Port of the metrics on 127.0.0.1 of instance 0; instance N has N more; 0: none."},
{"validate", "key_cache", CONFIG_SIZE, "32M", "64K", "64G", NULL,
	"Identities kept in memory."},
{"validate", "identity_wait", CONFIG_TIME, "10m", "10ms", "7d", NULL,
	"An event whose account cannot be resolved for so long is refused."},
{"validate", "rev_drift", CONFIG_TIME, "5m", "0s", "1d", NULL,
	"How far in the future a rev may be."},
{"validate", "refresh_interval", CONFIG_TIME, "60s", "0s", "1d", NULL,
	"At most one identity refresh an account in this time because of a bad signature or wrong host."},
{"validate", "legacy_hosts", CONFIG_TEXT, "", "0", TEXT_MAX, NULL,
	"Hosts whose commits may lack prevData. Patterns as in [network]."},

{"store", "metrics_port", CONFIG_NUMBER, "2473", "0", "65535", NULL,
	"Port of the metrics on 127.0.0.1; 0: none."},
{"store", "first_seq", CONFIG_NUMBER, "1", "1", "9007199254740991", NULL,
	"The first sequence number of an empty log. A relay that takes another's place begins above it."},
{"store", "retention_age", CONFIG_TIME, "72h", "1s", "3650d", NULL,
	"Events older than this leave the log,"},
{"store", "retention_bytes", CONFIG_SIZE, "0", "0", "1048576G", NULL,
	"and so do the oldest when the log has more bytes than this; 0: no limit."},
{"store", "file_size", CONFIG_SIZE, "256M", "64K", "2G", NULL,
	"Size of one file of the log; whole files leave."},
{"store", "cache", CONFIG_SIZE, "32M", "64K", "64G", NULL,
	"Block cache of the accounts' database: for what is beyond the 8 GB that LevelDB maps."},

{"fanout", "metrics_port", CONFIG_NUMBER, "2600", "0", "65535", NULL,
	"Port of the metrics on 127.0.0.1 of instance 0; instance N has N more; 0: none."},
{"fanout", "address", CONFIG_TEXT, "[::]", "1", "64", check_address,
	"Address of the public port: IPv4, or IPv6 in brackets; [::] is both."},
{"fanout", "port", CONFIG_NUMBER, "2470", "1", "65535", NULL,
	"The public port. A socket that systemd passes comes before it."},
{"fanout", "own_ports", CONFIG_FLAG, "false", "", "", NULL,
	"Instance N listens at fanout.port + N, for a load balancer, instead of all at one port."},
{"fanout", "tls_certificate", CONFIG_TEXT, "", "0", "1024", NULL,
	"File (PEM) of the public port's certificate, and those that lead to its authority; empty: no\n"
	"TLS. It is read again when it changes."},
{"fanout", "tls_key", CONFIG_TEXT, "", "0", "1024", NULL,
	"File (PEM) of its private key."},
{"fanout", "max_consumers", CONFIG_NUMBER, "10000", "1", "1000000", NULL,
	"Consumers of one fanout process at most."},
{"fanout", "max_consumers_per_client", CONFIG_NUMBER, "100", "0", "1000000", NULL,
	"Of these, those of one client (an IPv4 address, or a /64 of IPv6); 0: no limit."},
{"fanout", "max_connections_per_client", CONFIG_NUMBER, "100", "0", "1024", NULL,
	"Other connections of one client at one fanout process, of 1,024 in all; 0: no limit."},
{"fanout", "trusted_proxies", CONFIG_TEXT, "127.0.0.0/8 ::1", "0", TEXT_MAX, check_networks,
	"Proxies whose X-Forwarded-For is believed, and which have no limit as clients themselves.\n"
	"Addresses, or networks with a prefix length, separated by spaces or commas; empty: none."},
{"fanout", "ping_interval", CONFIG_TIME, "30s", "100ms", "1h", NULL,
	"A consumer from and to which nothing goes for so long is pinged, and has as long to answer."},
{"fanout", "progress_timeout", CONFIG_TIME, "60s", "100ms", "1d", NULL,
	"A consumer that takes no byte for so long is closed as too slow."},
{"fanout", "drain_time", CONFIG_TIME, "10s", "0s", "10m", NULL,
	"When a process is asked to end it closes its consumers one after another in this time, or at a\n"
	"hundred a second if that is sooner."},
{"fanout", "server_name", CONFIG_TEXT, "", "0", "253", NULL,
	"The relay's own host name, for people; empty: none."},
	/* clang-format on */
};

/* Keys that can be changed while their stage runs. */
static const char *const live_keys[] = {
	"resolve.concurrency",    "resolve.directory_rate", "resolve.refresh_interval",
	"resolve.identities_max", "resolve.keep_alive",     "resolve.recycle_interval",
	"resolve.recycle_memory", "resolve.timeout",        "resolve.ttl_found",
	"resolve.ttl_missing",    "resolve.ttl_failed",     "resolve.cache",
};

struct value {
	char *text;
	uint64_t number; /* bytes, microseconds, 0 or 1 */
	bool in_file;    /* the file being read gave it already */
	char *where;     /* "FILE:LINE" that gave it; NULL: nothing or something else did */
};

struct config {
	struct value values[ARRAY_SIZE(keys)];
};

/* Names in the environment that begin like ours and are no keys. */
static const char *const other_variables[] = {
	"STANDPIPE_BUILD",   /* where the tests find the programs, */
	"STANDPIPE_VECTORS", /* the interoperability vectors, */
	"STANDPIPE_CORPORA", /* and recorded traffic */
};

int config_fail(char *ret_error, size_t size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(ret_error, size, format, args);
	va_end(args);
	return -EINVAL;
}

/* Rules of texts. */

static const char *check_level(const char *text)
{
	static const char *const levels[] = {"error", "warning", "notice", "info", "debug"};

	for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
		if (strcmp(text, levels[i]) == 0)
			return NULL;
	return "is none of error, warning, notice, info, debug";
}

static bool begins(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

static const char *check_url(const char *text)
{
	if (*text && !begins(text, "http://") && !begins(text, "https://"))
		return "does not begin with http:// or https://";
	return NULL;
}

static const char *check_urls(const char *text)
{
	for (const char *p = text; *p;) {
		size_t len = strcspn(p, " ,");

		if (len > 0 && check_url(p))
			return check_url(p);
		p += len + (p[len] ? 1 : 0);
	}
	return NULL;
}

static const char *check_address(const char *text)
{
	struct in6_addr address;
	size_t len = strlen(text);
	char inner[INET6_ADDRSTRLEN];

	if (inet_pton(AF_INET, text, &address) == 1)
		return NULL;
	if (text[0] == '[' && text[len - 1] == ']' && len - 2 < sizeof(inner)) {
		memcpy(inner, text + 1, len - 2);
		inner[len - 2] = '\0';
		if (inet_pton(AF_INET6, inner, &address) == 1)
			return NULL;
	}
	return "is no IPv4 address, and no IPv6 address in brackets";
}

static const char *check_networks(const char *text)
{
	struct networks *n;

	if (networks_new(text, &n) < 0)
		return "is no list of addresses and networks (192.0.2.1, 2001:db8::/32)";
	networks_free(n);
	return NULL;
}

/* The places that may stand in a pipe's URL; one of each at most, which bounds what config_pipe_url
 * makes of it. */
static const char *check_places(const char *text, const char *needed, const char *missing)
{
	bool run = false, has_needed = false;

	if (!begins(text, "ipc://") && !begins(text, "tcp://"))
		return "does not begin with ipc:// or tcp://";
	for (const char *p = text; (p = strchr(p, '{')); p++) {
		if (begins(p, "{run}") && !run)
			run = true;
		else if (needed && begins(p, needed) && !has_needed)
			has_needed = true;
		else
			return "has a {place} that has no meaning here";
	}
	return needed && !has_needed ? missing : NULL;
}

static const char *check_lane_pipe(const char *text)
{
	return check_places(text, "{lane}", "lacks {lane}");
}

/* ingest, validate and resolve tell what came first by the time since their machine's start. */
static const char *check_near_lane_pipe(const char *text)
{
	if (!begins(text, "ipc://"))
		return "does not begin with ipc://: both ends are on one machine";
	return check_lane_pipe(text);
}

static const char *check_stage_pipe(const char *text)
{
	return check_places(text, "{stage}", "lacks {stage}");
}

static const char *check_pipe(const char *text)
{
	return check_places(text, NULL, NULL);
}

/* Values. */

/* Digits. false: none, or more than 64 bits. ret_rest: what follows them. */
static bool parse_digits(const char *text, uint64_t *ret, const char **ret_rest)
{
	uint64_t n = 0;
	const char *p = text;

	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n))
			return false;
	*ret = n;
	*ret_rest = p;
	return p > text;
}

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit no_units[] = {{"", 1}, {NULL, 0}};
static const struct unit size_units[] = {
	{"", 1}, {"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {NULL, 0}};
static const struct unit time_units[] = {{"us", 1},
					 {"ms", 1000},
					 {"s", 1000000},
					 {"m", 60000000},
					 {"h", UINT64_C(3600000000)},
					 {"d", UINT64_C(86400000000)},
					 {NULL, 0}};

static bool parse_units(const char *text, const struct unit *units, uint64_t *ret)
{
	uint64_t n;
	const char *rest;

	if (!parse_digits(text, &n, &rest))
		return false;
	for (const struct unit *u = units; u->name; u++)
		if (strcmp(rest, u->name) == 0)
			return !__builtin_mul_overflow(n, u->factor, ret);
	return false;
}

static bool parse_flag(const char *text, uint64_t *ret)
{
	bool is_true = strcmp(text, "true") == 0;

	if (!is_true && strcmp(text, "false") != 0)
		return false;
	*ret = is_true;
	return true;
}

static const struct {
	const char *name;     /* "A number, 1 to 64" */
	const char *is_wrong; /* said of a value of another form */
} types[] = {
	[CONFIG_TEXT] = {"Text", ""},
	[CONFIG_NUMBER] = {"A number", "is no number"},
	[CONFIG_SIZE] = {"A size", "is no size: digits, and K, M or G or nothing"},
	[CONFIG_TIME] = {"A time", "is no time: digits, and us, ms, s, m, h or d"},
	[CONFIG_FLAG] = {"A flag", "is neither true nor false"},
};

static bool parse_typed(enum config_type type, const char *text, uint64_t *ret)
{
	switch (type) {
	case CONFIG_NUMBER:
		return parse_units(text, no_units, ret);
	case CONFIG_SIZE:
		return parse_units(text, size_units, ret);
	case CONFIG_TIME:
		return parse_units(text, time_units, ret);
	case CONFIG_FLAG:
		return parse_flag(text, ret);
	case CONFIG_TEXT:
		*ret = strlen(text);
		return true;
	}
	return false;
}

static bool is_within(const struct key *k, uint64_t n)
{
	enum config_type type = k->type == CONFIG_TEXT ? CONFIG_NUMBER : k->type;
	uint64_t minimum = 0, maximum = 0;
	bool ok;

	if (k->type == CONFIG_FLAG)
		return true;
	ok = parse_typed(type, k->minimum, &minimum) && parse_typed(type, k->maximum, &maximum);
	assert(ok);
	return n >= minimum && n <= maximum;
}

static bool is_printable(const char *text)
{
	for (; *text; text++)
		if (iscntrl((unsigned char)*text))
			return false;
	return true;
}

/* Checks and keeps a value. The reason alone in ret_error; whoever calls says where. */
static int set_value(struct config *c, const struct key *k, const char *text, char *ret_error,
		     size_t size)
{
	struct value *v = &c->values[k - keys];
	const char *wrong = NULL;
	uint64_t n;

	if (!is_printable(text))
		return config_fail(ret_error, size, "the value has a control character");
	if (!parse_typed(k->type, text, &n))
		return config_fail(ret_error, size, "\"%s\" %s", text, types[k->type].is_wrong);
	if (!is_within(k, n) && k->type == CONFIG_TEXT)
		return config_fail(ret_error, size,
				   "a text of %s to %s bytes is needed, not of %ju", k->minimum,
				   k->maximum, (uintmax_t)n);
	if (!is_within(k, n))
		return config_fail(ret_error, size, "\"%s\" is not within %s to %s", text,
				   k->minimum, k->maximum);
	if (k->rule)
		wrong = k->rule(text);
	if (wrong)
		return config_fail(ret_error, size, "\"%s\" %s", text, wrong);
	free(v->text);
	v->text = xstrdup(text);
	v->number = n;
	free(v->where);
	v->where = NULL;
	return 0;
}

static const struct key *find_key(struct span section, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (span_is(section, keys[i].section) && strcmp(name, keys[i].name) == 0)
			return &keys[i];
	return NULL;
}

static bool is_section(struct span name)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (span_is(name, keys[i].section))
			return true;
	return false;
}

struct config *config_new(void)
{
	struct config *c = xcalloc(1, sizeof(*c));
	char error[256];

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		int wrong = set_value(c, &keys[i], keys[i].fallback, error, sizeof(error));

		assert(!wrong);
	}
	return c;
}

void config_free(struct config *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		free(c->values[i].text);
		free(c->values[i].where);
	}
	free(c);
}

/* The file. */

struct file {
	struct config *config;
	const char *path;
	FILE *stream;
	char *line;
	size_t line_size;
	unsigned number; /* of the line */
	char *ret_error;
	size_t size;
	bool failed; /* ret_error says why */
};

static void fail_line(struct file *f, const char *reason)
{
	if (f->failed)
		return;
	f->failed = true;
	config_fail(f->ret_error, f->size, "%s:%u: %s", f->path, f->number, reason);
}

/* Gives the parser its lines, and counts them: the library as Debian builds it does not tell its
 * handler. */
static char *next_line(char *out, int size, void *arg)
{
	struct file *f = arg;
	ssize_t n;

	if (f->failed || (n = getline(&f->line, &f->line_size, f->stream)) < 0)
		return NULL;
	f->number++;
	if (memchr(f->line, '\0', (size_t)n))
		fail_line(f, "the line has a NUL byte");
	else if (n >= size)
		fail_line(f, "the line is too long");
	if (f->failed)
		return NULL;
	memcpy(out, f->line, (size_t)n + 1);
	return out;
}

/* Returns 0 to stop, as the library has it. */
static int take_entry(void *arg, const char *section, const char *name, const char *value)
{
	struct file *f = arg;
	const struct key *k = find_key(span_str(section), name);
	char reason[512], text[768];
	int error = -EINVAL;

	if (!*section)
		config_fail(reason, sizeof(reason), "stands before any section");
	else if (!is_section(span_str(section)))
		config_fail(reason, sizeof(reason), "unknown section");
	else if (!k)
		config_fail(reason, sizeof(reason), "unknown key");
	else if (f->config->values[k - keys].in_file)
		config_fail(reason, sizeof(reason), "given twice");
	else
		error = set_value(f->config, k, value, reason, sizeof(reason));
	if (error) {
		snprintf(text, sizeof(text), "[%s] %s: %s", section, name, reason);
		fail_line(f, text);
		return 0;
	}
	f->config->values[k - keys].in_file = true;
	if (asprintf(&f->config->values[k - keys].where, "%s:%u", f->path, f->number) < 0)
		abort();
	return 1;
}

/* Lines of a configuration are long, and a value is what stands on its line, semicolons included.
 */
static void set_up_parser(void)
{
	ini_use_stack = false;
	ini_allow_realloc = false;
	ini_initial_alloc = LINE_MAX_BYTES;
	ini_max_line = LINE_MAX_BYTES;
	ini_allow_inline_comments = false;
	ini_allow_multiline = false;
	ini_stop_on_first_error = true;
}

int config_read_file(struct config *c, const char *path, char *ret_error, size_t size)
{
	struct file f = {.config = c, .path = path, .ret_error = ret_error, .size = size};
	int error = 0;

	f.stream = fopen(path, "re");
	if (!f.stream) {
		error = -errno;
		config_fail(ret_error, size, "%s: %s", path, strerror(errno));
		return error;
	}
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		c->values[i].in_file = false;
	set_up_parser();
	if (ini_parse_stream(next_line, &f, take_entry, &f) != 0)
		fail_line(&f, "neither a [section], nor key = value, nor a comment");
	if (!f.failed && ferror(f.stream)) {
		error = -EIO;
		config_fail(ret_error, size, "%s: cannot be read", path);
	}
	fclose(f.stream);
	free(f.line);
	return f.failed ? -EINVAL : error;
}

/* The environment and --set. */

/* "STANDPIPE_INGEST_WINDOW" for ingest.window. */
static bool is_variable_of(const struct key *k, struct span name)
{
	char text[128];
	int n = snprintf(text, sizeof(text), PREFIX "%s_%s", k->section, k->name);

	assert(n > 0 && (size_t)n < sizeof(text));
	for (char *p = text; *p; p++)
		*p = (char)toupper((unsigned char)*p);
	return span_is(name, text);
}

static bool is_other_variable(struct span name)
{
	for (size_t i = 0; i < ARRAY_SIZE(other_variables); i++)
		if (span_is(name, other_variables[i]))
			return true;
	return false;
}

static int set_variable(struct config *c, const char *variable, char *ret_error, size_t size)
{
	const char *equals = strchr(variable, '=');
	struct span name = span_of(variable, equals ? (size_t)(equals - variable) : 0);
	char reason[512] = "unknown key";
	int error = -EINVAL;

	if (!equals || is_other_variable(name))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (is_variable_of(&keys[i], name))
			error = set_value(c, &keys[i], equals + 1, reason, sizeof(reason));
	if (error)
		config_fail(ret_error, size, "%.*s: %s", (int)name.len, (const char *)name.ptr,
			    reason);
	return error;
}

int config_read_environment(struct config *c, char *ret_error, size_t size)
{
	int error = 0;

	for (char **e = environ; *e && !error; e++)
		if (begins(*e, PREFIX))
			error = set_variable(c, *e, ret_error, size);
	return error;
}

int config_set(struct config *c, const char *assignment, char *ret_error, size_t size)
{
	const char *equals = strchr(assignment, '='), *dot = strchr(assignment, '.');
	struct span section;
	const struct key *k;
	char name[64] = "", reason[512];
	int error = -EINVAL;

	if (!equals || !dot || dot > equals)
		return config_fail(ret_error, size, "%s: not of the form section.key=value",
				   assignment);
	section = span_of(assignment, (size_t)(dot - assignment));
	if ((size_t)(equals - dot) <= sizeof(name))
		memcpy(name, dot + 1, (size_t)(equals - dot - 1));
	k = find_key(section, name);
	if (k)
		error = set_value(c, k, equals + 1, reason, sizeof(reason));
	else
		config_fail(reason, sizeof(reason),
			    is_section(section) ? "unknown key" : "unknown section");
	if (error)
		config_fail(ret_error, size, "%.*s: %s", (int)(equals - assignment), assignment,
			    reason);
	return error;
}

/* What one key says of another. */

static const struct value *find_value(const struct config *c, const char *key);

/* With file and line, if the key stands in the file. */
int config_fail_key(const struct config *c, const char *key, char *ret_error, size_t size,
		    const char *format, ...)
{
	const struct value *v = find_value(c, key);
	char reason[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	if (v->where)
		return config_fail(ret_error, size, "%s: %s%s", v->where, key, reason);
	return config_fail(ret_error, size, "%s%s", key, reason);
}

static int check_order(const struct config *c, const char *smaller, const char *larger,
		       char *ret_error, size_t size)
{
	if (config_time(c, smaller) <= config_time(c, larger))
		return 0;
	return config_fail_key(c, smaller, ret_error, size, " is longer than %s", larger);
}

static uint64_t count_of(const struct config *c, const char *stage)
{
	if (strcmp(stage, "validate") == 0)
		return config_number(c, "group.lanes");
	return strcmp(stage, "fanout") == 0 ? config_number(c, "group.replicas") : 1;
}

/* The ports of a stage's instances follow each other. */
struct ports {
	const char *key;
	uint64_t first, count; /* 0: none */
};

static int check_ports_pair(const struct config *c, const struct ports *a, const struct ports *b,
			    char *ret_error, size_t size)
{
	if (a->first < b->first + b->count && b->first < a->first + a->count)
		return config_fail_key(c, a->key, ret_error, size,
				       " takes a port that %s takes: %ju to %ju, and %ju to %ju",
				       b->key, (uintmax_t)a->first,
				       (uintmax_t)(a->first + a->count - 1), (uintmax_t)b->first,
				       (uintmax_t)(b->first + b->count - 1));
	return 0;
}

/* The ports of all instances exist, and no two processes need the same. */
static int check_ports(const struct config *c, char *ret_error, size_t size)
{
	static const char *const stages[] = {"ingest", "resolve", "validate", "store", "fanout"};
	struct ports ports[ARRAY_SIZE(stages) + 1];
	char names[ARRAY_SIZE(ports)][32];
	int error = 0;

	for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
		const char *stage = i < ARRAY_SIZE(stages) ? stages[i] : "fanout";
		bool one = i == ARRAY_SIZE(stages) && !config_flag(c, "fanout.own_ports");

		snprintf(names[i], sizeof(names[i]), "%s.%s", stage,
			 i < ARRAY_SIZE(stages) ? "metrics_port" : "port");
		ports[i] = (struct ports){names[i], config_number(c, names[i]), 0};
		ports[i].count = ports[i].first == 0 ? 0 : one ? 1 : count_of(c, stage);
		if (ports[i].count > 0 && ports[i].first + ports[i].count - 1 > UINT16_MAX)
			error = config_fail_key(c, ports[i].key, ret_error, size,
						" is too high for %ju instances",
						(uintmax_t)ports[i].count);
		for (size_t k = 0; k < i && !error; k++)
			error = check_ports_pair(c, &ports[i], &ports[k], ret_error, size);
		if (error)
			return error;
	}
	return 0;
}

int config_check(const struct config *c, char *ret_error, size_t size)
{
	const char *ca_file = config_text(c, "network.ca_file");
	int error;

	error = check_order(c, "ingest.backoff_min", "ingest.backoff_max", ret_error, size);
	if (!error)
		error = check_order(c, "ingest.ping_interval", "ingest.read_timeout", ret_error,
				    size);
	if (!error)
		error = check_ports(c, ret_error, size);
	if (!error &&
	    !*config_text(c, "fanout.tls_certificate") != !*config_text(c, "fanout.tls_key"))
		error = config_fail_key(
			c,
			*config_text(c, "fanout.tls_key") ? "fanout.tls_key"
							  : "fanout.tls_certificate",
			ret_error, size,
			": a certificate and its key go together, and one is missing");
	if (!error && *ca_file && access(ca_file, R_OK) < 0)
		error = config_fail_key(c, "network.ca_file", ret_error, size, ": %s: %s", ca_file,
					strerror(errno));
	return error;
}

uint16_t config_public_port(const struct config *c, unsigned instance)
{
	uint64_t port = config_number(c, "fanout.port");

	return (uint16_t)(config_flag(c, "fanout.own_ports") ? port + instance : port);
}

/* Getters. */

static const struct value *get(const struct config *c, const char *key, enum config_type type)
{
	const char *dot = strchr(key, '.');
	const struct key *k;

	assert(dot);
	k = find_key(span_of(key, (size_t)(dot - key)), dot + 1);
	assert(k && k->type == type);
	return &c->values[k - keys];
}

const char *config_text(const struct config *c, const char *key)
{
	return get(c, key, CONFIG_TEXT)->text;
}

uint64_t config_number(const struct config *c, const char *key)
{
	return get(c, key, CONFIG_NUMBER)->number;
}

uint64_t config_size(const struct config *c, const char *key)
{
	return get(c, key, CONFIG_SIZE)->number;
}

uint64_t config_time(const struct config *c, const char *key)
{
	return get(c, key, CONFIG_TIME)->number;
}

bool config_flag(const struct config *c, const char *key)
{
	return get(c, key, CONFIG_FLAG)->number != 0;
}

static const struct value *find_value(const struct config *c, const char *key)
{
	const char *dot = strchr(key, '.');
	const struct key *k = dot ? find_key(span_of(key, (size_t)(dot - key)), dot + 1) : NULL;

	return k ? &c->values[k - keys] : NULL;
}

const char *config_value(const struct config *c, const char *key)
{
	const struct value *v = find_value(c, key);

	return v ? v->text : NULL;
}

bool config_was_in_file(const struct config *c, const char *key)
{
	const struct value *v = find_value(c, key);

	return v && v->in_file;
}

const char *config_live_key(size_t i)
{
	return i < ARRAY_SIZE(live_keys) ? live_keys[i] : NULL;
}

const char *config_pipe_url(const struct config *c, const char *name, const char *stage,
			    unsigned lane, char *ret)
{
	char key[64], number[16];
	struct buf out;

	snprintf(key, sizeof(key), "pipes.%s", name);
	snprintf(number, sizeof(number), "%u", lane);
	buf_init(&out, CONFIG_URL_SIZE);
	for (const char *p = config_text(c, key); *p;) {
		const char *put = NULL;

		if (begins(p, "{run}"))
			put = config_text(c, "group.run_dir");
		else if (begins(p, "{lane}"))
			put = number;
		else if (begins(p, "{stage}"))
			put = stage;
		if (put)
			buf_append_str(&out, put);
		else
			buf_put_u8(&out, (uint8_t)*p);
		p = put ? strchr(p, '}') + 1 : p + 1;
	}
	buf_put_u8(&out, '\0');
	memcpy(ret, out.ptr, out.len);
	buf_release(&out);
	return ret;
}

static bool is_live(const struct key *k)
{
	char name[128];

	snprintf(name, sizeof(name), "%s.%s", k->section, k->name);
	for (size_t i = 0; i < ARRAY_SIZE(live_keys); i++)
		if (strcmp(live_keys[i], name) == 0)
			return true;
	return false;
}

/* Each line of the meaning as a comment. */
static void print_meaning(const char *meaning, FILE *out)
{
	for (;;) {
		size_t n = strcspn(meaning, "\n");

		fprintf(out, "# %.*s\n", (int)n, meaning);
		if (!meaning[n])
			break;
		meaning += n + 1;
	}
}

void config_print(const struct config *c, FILE *out)
{
	fputs("# Configuration of Standpipe: one file for all stages. Every key may also be given "
	      "in the\n"
	      "# environment (STANDPIPE_SECTION_KEY), which goes before this file, and as --set\n"
	      "# section.key=value, which goes before both.\n",
	      out);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const struct key *k = &keys[i];

		if (i == 0 || strcmp(k->section, keys[i - 1].section) != 0)
			fprintf(out, "\n[%s]\n", k->section);
		fputc('\n', out);
		print_meaning(k->meaning, out);
		fprintf(out, "# %s", types[k->type].name);
		if (k->type != CONFIG_TEXT && k->type != CONFIG_FLAG)
			fprintf(out, ", %s to %s", k->minimum, k->maximum);
		fprintf(out, "; default %s%s\n", *k->fallback ? k->fallback : "empty",
			is_live(k) ? "; may be changed while the stage runs" : "");
		fprintf(out, "%s =%s%s\n", k->name, *c->values[i].text ? " " : "",
			c->values[i].text);
	}
}
