#include "ingest/counters.h"

static const char *const drop_names[DROP_COUNT] = {
	[DROP_SEQUENCE] = "sequence_not_rising",
	[DROP_UNKNOWN_KIND] = "unknown_kind",
	[DROP_BAD_FIELDS] = "bad_fields",
	[DROP_BAD_CBOR] = "bad_cbor",
	[DROP_TEXT] = "text_frame",
	[DROP_OVERSIZE] = "oversize",
	[DROP_FRAMING] = "framing",
};

static const char *const crawl_names[CRAWL_COUNT] = {
	[CRAWL_ADDED] = "added",
	[CRAWL_KNOWN] = "known",
	[CRAWL_BAD_NAME] = "bad_name",
	[CRAWL_UNREACHABLE] = "unreachable",
	[CRAWL_NOT_PDS] = "not_pds",
	[CRAWL_RELAY] = "relay",
	[CRAWL_FORBIDDEN] = "forbidden_address",
	[CRAWL_BUSY] = "busy",
	[CRAWL_FAILED] = "failed",
};

static uint64_t *labelled(struct metrics *m, const char *name, const char *help, const char *label,
			  const char *value)
{
	char labels[96];

	snprintf(labels, sizeof(labels), "%s=\"%s\"", label, value);
	return metrics_counter(m, name, help, labels);
}

/* Numbers that are no verdict share one counter. */
static void register_verdicts(struct counters *c, struct metrics *m)
{
	static const char name[] = "relay_events_acknowledged_total";
	static const char help[] = "Events that validate or store is done with.";
	uint64_t *unknown = NULL;

	for (unsigned v = 0; v < VERDICT_MAX; v++) {
		const char *verdict = verdict_info((enum verdict)v)->name;

		if (strcmp(verdict, "unknown") != 0) {
			c->acknowledged[v] = labelled(m, name, help, "verdict", verdict);
			continue;
		}
		if (!unknown)
			unknown = labelled(m, name, help, "verdict", verdict);
		c->acknowledged[v] = unknown;
	}
}

void counters_register(struct counters *c, struct metrics *m)
{
	c->frames = metrics_counter(m, "relay_frames_received_total",
				    "Event stream frames of hosts.", NULL);
	c->frame_bytes = metrics_counter(m, "relay_frame_bytes_received_total",
					 "Bytes of event stream frames of hosts.", NULL);
	for (unsigned i = 0; i < DROP_COUNT; i++)
		c->dropped[i] = labelled(m, "relay_frames_dropped_total",
					 "Frames that ingest itself drops.", "reason",
					 drop_names[i]);
	register_verdicts(c, m);
	for (unsigned i = 0; i < END_COUNT; i++)
		c->failures[i] = labelled(m, "relay_connection_failures_total",
					  "Ends of connections to hosts, and dials that failed.",
					  "reason", connection_end_name((enum connection_end)i));
	for (unsigned i = 0; i < CRAWL_COUNT; i++)
		c->crawls[i] = labelled(m, "relay_requests_crawl_total", "Answers to requestCrawl.",
					"result", crawl_names[i]);
	c->lane_sessions = metrics_counter(m, "relay_lane_sessions_total",
					   "Sessions opened with validate, over all lanes.", NULL);
	c->foreign = metrics_counter(m, "relay_foreign_connections_total",
				     "Connections with stages of another version, which are of no "
				     "use.",
				     "peer=\"validate\"");
	c->host_resets = metrics_counter(m, "relay_host_resets_total",
					 "Hosts whose sequence numbers began anew.", NULL);
}
