#include "common/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define LINE_SIZE  4096 /* a line holds at most a few pieces of outside text */
#define TEXT_SIZE  512  /* a DID may have 2,048 bytes; people know it by its first hundreds */
#define TEXT_COUNT 8

static enum log_level threshold = LOG_LEVEL_INFO;

void log_set_level(enum log_level level)
{
	threshold = level;
}

bool log_is_on(enum log_level level)
{
	return level <= threshold;
}

/* One write a line: lines of processes that share a descriptor do not mix. */
void log_write(enum log_level level, const char *format, ...)
{
	char line[LINE_SIZE];
	size_t head, len;
	va_list args;
	int n, saved = errno;

	if (!log_is_on(level))
		return;
	head = (size_t)snprintf(line, sizeof(line), "<%d>", (int)level);
	va_start(args, format);
	n = vsnprintf(line + head, sizeof(line) - head, format, args);
	va_end(args);
	if (n < 0)
		return;
	len = head + (size_t)n;
	if (len > sizeof(line) - 1)
		len = sizeof(line) - 1;
	/* A line break would begin a line of another level. */
	for (size_t i = head; i < len; i++)
		if (line[i] == '\n' || line[i] == '\r')
			line[i] = ' ';
	line[len++] = '\n';
	(void)!write(STDERR_FILENO, line, len);
	errno = saved;
}

/* Appends what stands for one byte: itself, or an escape of at most four characters. */
static size_t put_escaped(char *out, uint8_t c)
{
	static const char digits[] = "0123456789abcdef";

	if (c == '"' || c == '\\') {
		out[0] = '\\';
		out[1] = (char)c;
		return 2;
	}
	if (c >= ' ' && c < 0x7f) {
		out[0] = (char)c;
		return 1;
	}
	out[0] = '\\';
	out[1] = 'x';
	out[2] = digits[c >> 4];
	out[3] = digits[c & 15];
	return 4;
}

static bool needs_quotes(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] == ' ' || s.ptr[i] == '=' || s.ptr[i] == '"')
			return true;
	return s.len == 0;
}

const char *log_text(struct span s)
{
	static char texts[TEXT_COUNT][TEXT_SIZE];
	static unsigned turn;
	char *text = texts[turn++ % TEXT_COUNT];
	bool quoted = needs_quotes(s);
	size_t n = 0;

	if (quoted)
		text[n++] = '"';
	for (size_t i = 0; i < s.len; i++) {
		/* Room for the longest escape, the dots, the quote and the NUL. */
		if (n + 4 + 3 + 1 + 1 > TEXT_SIZE) {
			memcpy(text + n, "...", 3);
			n += 3;
			break;
		}
		n += put_escaped(text + n, s.ptr[i]);
	}
	if (quoted)
		text[n++] = '"';
	text[n] = '\0';
	return text;
}

static uint64_t monotonic_usec(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

bool log_limit_pass(struct log_limit *l, unsigned *ret_left_out)
{
	uint64_t now = monotonic_usec();

	if (l->since_usec == 0 || now - l->since_usec >= l->period_usec) {
		l->since_usec = now;
		l->written = 0;
	}
	if (l->written >= l->burst) {
		l->left_out++;
		return false;
	}
	l->written++;
	*ret_left_out = l->left_out;
	l->left_out = 0;
	return true;
}
