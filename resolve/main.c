/*
 * standpipe-resolve: the stage that makes every outgoing HTTP request of the group.
 *
 * It trusts the configuration and the other stages' pipes. It trusts nothing that comes by HTTP:
 * documents, lists and heads are bounded, parsed strictly, and no address is connected to that the
 * configuration does not allow.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "common/log.h"
#include "common/stage.h"
#include "resolve/calls.h"
#include "resolve/lanes.h"
#include "resolve/recycle.h"

struct resolve {
	struct stage stage;
	struct host_policy *policy;
	struct cache *cache;
	struct http *http;
	struct names *names;
	struct directories *directories;
	struct resolver *resolver;
	struct lanes *lanes;
	struct calls *calls;
	struct recycle recycle;
};

static int open_client(struct resolve *r)
{
	struct stage *s = &r->stage;
	char reason[512];

	if (host_policy_new(s->config, reason, sizeof(reason), &r->policy) < 0) {
		log_error("network configuration: %s", reason);
		return STAGE_EXIT_CONFIG;
	}
	if (http_new(s->config, r->policy, s->loop, s->metrics, s->memory, &r->http) < 0) {
		log_error("network.ca_file cannot be used: %s",
			  config_text(s->config, "network.ca_file"));
		return STAGE_EXIT_CONFIG;
	}
	r->names = names_new(s->loop, NULL);
	return STAGE_GO;
}

static int open_cache(struct resolve *r)
{
	char folder[PATH_MAX], path[PATH_MAX + 16];

	if (stage_data_dir(&r->stage, "resolve", folder) < 0)
		return STAGE_EXIT_AGAIN;
	snprintf(path, sizeof(path), "%s/identities", folder);
	if (cache_open(path, r->stage.config, &r->cache) < 0) {
		log_error("identity cache %s: %s", path, cache_error(NULL));
		return STAGE_EXIT_AGAIN;
	}
	return STAGE_GO;
}

static int open_resolver(struct resolve *r)
{
	struct stage *s = &r->stage;
	char bad[512];
	struct resolver_options options = {
		.config = s->config,
		.loop = s->loop,
		.metrics = s->metrics,
		.memory = s->memory,
		.policy = r->policy,
		.cache = r->cache,
		.http = r->http,
		.names = r->names,
		.answer = lanes_answer,
	};

	if (directories_new(s->config, r->policy, bad, sizeof(bad), &r->directories) < 0) {
		log_error("resolve.plc_url: no URL of a host, or http: of a host that is not in "
			  "network.plain_hosts: %s",
			  bad);
		return STAGE_EXIT_CONFIG;
	}
	options.directories = r->directories;
	r->resolver = resolver_new(&options);
	return STAGE_GO;
}

static int open_pipes(struct resolve *r)
{
	struct stage *s = &r->stage;
	unsigned lanes = (unsigned)config_number(s->config, "group.lanes");
	char url[CONFIG_URL_SIZE];
	int error;

	r->lanes = lanes_new(s->loop, s->metrics, s->memory);
	for (unsigned i = 0; i < lanes; i++) {
		stage_pipe_url(s, "identities", s->name, i, url);
		error = lanes_add(r->lanes, r->resolver, url);
		if (error < 0)
			goto out;
	}
	stage_pipe_url(s, "calls", s->name, 0, url);
	error = calls_open(s->loop, url, r->http, r->policy, s->metrics, &r->calls);
out:
	if (error < 0)
		log_error("pipe %s: %s", url, strerror(-error));
	return error < 0 ? STAGE_EXIT_AGAIN : STAGE_GO;
}

static void stop(void *arg)
{
	struct resolve *r = arg;

	recycle_drain(&r->recycle);
}

/* Whichever it was: all of them read what is theirs. */
static void setting_changed(void *arg, const char *key)
{
	struct resolve *r = arg;
	const struct config *c = r->stage.config;

	(void)key;
	http_configure(r->http, c);
	directories_configure(r->directories, c);
	resolver_configure(r->resolver, c);
	recycle_configure(&r->recycle, c);
	if (cache_configure(r->cache, c) < 0)
		log_error("identity cache not opened again: %s", cache_error(r->cache));
}

static int run(struct resolve *r)
{
	recycle_init(&r->recycle, &r->stage, r->resolver, r->lanes, r->calls);
	settings_on_change(r->stage.settings, setting_changed, r);
	return stage_run(&r->stage, stop, r);
}

static void release(struct resolve *r)
{
	recycle_release(&r->recycle);
	http_free(r->http); /* before those who wait for it */
	names_free(r->names);
	calls_close(r->calls);
	lanes_close(r->lanes);
	resolver_free(r->resolver);
	directories_free(r->directories);
	cache_close(r->cache);
	host_policy_free(r->policy);
	stage_release(&r->stage);
}

int main(int argc, char **argv)
{
	struct resolve r = {0};
	int status = stage_init(&r.stage, "resolve", STAGE_SINGLE, argc, argv);

	if (status != STAGE_GO)
		return status;
	status = open_client(&r);
	if (status == STAGE_GO)
		status = open_cache(&r);
	if (status == STAGE_GO)
		status = open_resolver(&r);
	if (status == STAGE_GO)
		status = open_pipes(&r);
	if (status == STAGE_GO)
		status = run(&r);
	release(&r);
	return status;
}
