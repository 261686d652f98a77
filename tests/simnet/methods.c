#include "tests/simnet/methods.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define XRPC             "/xrpc/com.atproto."
#define HOSTS_MAX        1000 /* of a page [listHosts] */
#define HOSTS_DEFAULT    200
#define ACCOUNTS_COUNTED (1u << 22) /* in larger worlds nobody says how many a host has */
#define MISSING          "missing"

void methods_init(struct methods *m, struct world *w, const struct pds *hosts)
{
	*m = (struct methods){.world = w, .hosts = hosts};
}

void methods_release(struct methods *m)
{
	for (size_t i = 0; i < m->status_count; i++)
		free(m->statuses[i].status);
	free(m->statuses);
	free(m->accounts);
}

/* Statuses. */

/* The place of the account, or where it belongs. */
static size_t find_status(const struct methods *m, uint32_t account)
{
	size_t low = 0, high = m->status_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (m->statuses[middle].account < account)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool has_status(const struct methods *m, size_t i, uint32_t account)
{
	return i < m->status_count && m->statuses[i].account == account;
}

void methods_set_status(struct methods *m, uint32_t account, const char *status)
{
	size_t i = find_status(m, account);

	if (!has_status(m, i, account)) {
		if (m->status_count == m->status_cap) {
			m->status_cap = m->status_cap ? 2 * m->status_cap : 16;
			m->statuses = xrealloc(m->statuses, m->status_cap * sizeof(*m->statuses));
		}
		memmove(m->statuses + i + 1, m->statuses + i,
			(m->status_count - i) * sizeof(*m->statuses));
		m->statuses[i] = (struct account_status){account, NULL};
		m->status_count++;
	}
	free(m->statuses[i].status);
	m->statuses[i].status = status ? xstrdup(status) : NULL;
}

/* NULL: active. */
static const char *status_of(const struct methods *m, uint32_t host, uint32_t account)
{
	size_t i = find_status(m, account);
	struct world_identity identity;

	world_identity(m->world, account, &identity);
	if (identity.host != host || identity.state != WORLD_IDENTITY_PRESENT)
		return MISSING;
	return has_status(m, i, account) ? m->statuses[i].status : NULL;
}

/* Methods. */

static int refuse(struct buf *json, int status, const char *error, const char *message)
{
	answer_put_error(json, error, message);
	return status;
}

static int describe_server(const struct methods *m, uint32_t host, struct buf *json)
{
	char name[LIMIT_HOST + 1];
	size_t len;

	world_host_name(m->world, host, name);
	len = strcspn(name, ":");
	buf_printf(json, "{\"did\":\"did:web:%.*s", (int)len, name);
	if (name[len])
		buf_printf(json, "%%3A%s", name + len + 1);
	buf_append_str(json, "\",\"availableUserDomains\":[\".sim.test\"],"
			     "\"inviteCodeRequired\":false}");
	return 200;
}

static int get_repo_status(const struct methods *m, uint32_t host, const struct request *q,
			   struct buf *json)
{
	char did[LIMIT_DID + 1];
	const char *status;
	uint32_t account;

	if (request_param(q, "did", did, sizeof(did)) != 0)
		return refuse(json, 400, "InvalidRequest", "did is missing or too long");
	if (world_find(m->world, span_str(did), &account) != 0)
		return refuse(json, 400, "RepoNotFound", "no such repo");
	status = status_of(m, host, account);
	if (status && strcmp(status, MISSING) == 0)
		return refuse(json, 400, "RepoNotFound", "no such repo");
	buf_printf(json, "{\"did\":\"%s\",\"active\":%s", did, status ? "false" : "true");
	if (status)
		buf_printf(json, ",\"status\":\"%s\"", status);
	buf_append_str(json, "}");
	return 200;
}

static void count_accounts(struct methods *m)
{
	const struct world_settings *s = world_settings(m->world);
	struct world_identity identity;

	if (m->accounts || s->accounts > ACCOUNTS_COUNTED)
		return;
	m->accounts = xcalloc(s->hosts, sizeof(*m->accounts));
	for (uint32_t a = 0; a < s->accounts; a++) {
		world_identity(m->world, a, &identity);
		m->accounts[identity.host]++;
	}
}

/* A number of the query; fallback if it is not there. */
static int number_param(const struct request *q, const char *name, uint32_t fallback, uint32_t *ret)
{
	char text[16];
	int error = request_param(q, name, text, sizeof(text));
	uint64_t v = 0;

	if (error == -ENOENT)
		*ret = fallback;
	if (error)
		return error == -ENOENT ? 0 : error;
	for (const char *p = text; *p; p++) {
		if (*p < '0' || *p > '9')
			return -EBADMSG;
		v = v * 10 + (uint64_t)(*p - '0');
		if (v > UINT32_MAX)
			return -EBADMSG;
	}
	*ret = (uint32_t)v;
	return *text ? 0 : -EBADMSG;
}

static void put_host(const struct methods *m, uint32_t host, struct buf *json)
{
	const struct pds *h = &m->hosts[host];
	char name[LIMIT_HOST + 1];

	buf_printf(json, "{\"hostname\":\"%s\",\"seq\":%" PRIu64 ",\"status\":\"%s\"",
		   world_host_name(m->world, host, name), backlog_seq(&h->backlog),
		   h->manner == VANISH ? "offline" : "active");
	if (m->accounts)
		buf_printf(json, ",\"accountCount\":%" PRIu32, m->accounts[host]);
	buf_append_str(json, "}");
}

/* The cursor is the number of the page's first host. */
static int list_hosts(struct methods *m, const struct request *q, struct buf *json)
{
	uint32_t hosts = world_settings(m->world)->hosts, limit, first;

	if (number_param(q, "limit", HOSTS_DEFAULT, &limit) != 0 || limit < 1 || limit > HOSTS_MAX)
		return refuse(json, 400, "InvalidRequest", "limit is not within 1 to 1000");
	if (number_param(q, "cursor", 0, &first) != 0)
		return refuse(json, 400, "InvalidRequest", "the cursor is none of this list");
	count_accounts(m);
	buf_append_str(json, "{\"hosts\":[");
	for (uint32_t i = 0; i < limit && first < hosts; i++, first++) {
		if (i > 0)
			buf_append_str(json, ",");
		put_host(m, first, json);
	}
	buf_append_str(json, "]");
	if (first < hosts)
		buf_printf(json, ",\"cursor\":\"%" PRIu32 "\"", first);
	buf_append_str(json, "}");
	return 200;
}

int methods_answer(struct methods *m, uint32_t host, const struct request *q, struct buf *json)
{
	if (span_is(q->path, XRPC "server.describeServer"))
		return describe_server(m, host, json);
	if (span_is(q->path, XRPC "sync.getRepoStatus"))
		return get_repo_status(m, host, q, json);
	if (span_is(q->path, XRPC "sync.listHosts"))
		return list_hosts(m, q, json);
	return refuse(json, 404, "MethodNotImplemented", "this is no method of a simulated host");
}
