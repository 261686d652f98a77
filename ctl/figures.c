#include "ctl/figures.h"

#include <inttypes.h>

#include "common/loop.h"
#include "ctl/exposition.h"

double figure_sum(const struct answer *a, const char *metric)
{
	double value = 0;

	if (exposition_sum(buf_span(&a->body), metric, &value) != 0)
		return 0;
	return value;
}

bool figure_find(const struct answer *a, const char *metric, const char *label, double *ret)
{
	return exposition_find(buf_span(&a->body), metric, label, ret) == 0;
}

double figure_uptime(const struct answer *a)
{
	return (double)clock_usec() / 1e6 - figure_sum(a, "relay_process_start_time_seconds");
}

const char *figure_time(double seconds, char ret[static FIGURE_SIZE])
{
	uint64_t s = seconds > 0 ? (uint64_t)seconds : 0;

	if (s < 60)
		snprintf(ret, FIGURE_SIZE, "%" PRIu64 "s", s);
	else if (s < 3600)
		snprintf(ret, FIGURE_SIZE, "%" PRIu64 "m%02" PRIu64 "s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(ret, FIGURE_SIZE, "%" PRIu64 "h%02" PRIu64 "m", s / 3600, s / 60 % 60);
	else
		snprintf(ret, FIGURE_SIZE, "%" PRIu64 "d%02" PRIu64 "h", s / 86400, s / 3600 % 24);
	return ret;
}

const char *figure_bytes(double bytes, char ret[static FIGURE_SIZE])
{
	static const char units[] = "KMGT";
	size_t u = 0;

	for (bytes /= 1024; (bytes >= 1000 || bytes <= -1000) && units[u + 1]; u++)
		bytes /= 1024;
	snprintf(ret, FIGURE_SIZE, bytes < 100 && bytes > -100 ? "%.1f%c" : "%.0f%c", bytes,
		 units[u]);
	return ret;
}
