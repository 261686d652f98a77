#include "common/syntax.h"

#include <assert.h>

#include "common/limits.h"

#define LABEL_MAX         63 /* bytes of one label of a DNS name or segment of an NSID */
#define NSID_SEGMENTS_MIN 3  /* [NSID] */
#define PLC_SIZE          24 /* characters after did:plc: */
#define TID_BITS          5  /* of one character */
#define TID_CLOCK_BITS    10 /* the rest of the 64 is microseconds */

static bool is_lower(uint8_t c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_letter(uint8_t c)
{
	return is_lower(c | 0x20);
}

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(uint8_t c)
{
	return is_letter(c) || is_digit(c);
}

/* Takes what is before the next separator, or all. False when nothing is left to take. */
static bool next_part(struct span *rest, char separator, struct span *ret_part)
{
	const uint8_t *at;

	if (!rest->ptr)
		return false;
	at = rest->len > 0 ? memchr(rest->ptr, separator, rest->len) : NULL;
	if (!at) {
		*ret_part = *rest;
		*rest = SPAN_EMPTY;
		return true;
	}
	ret_part->ptr = rest->ptr;
	ret_part->len = (size_t)(at - rest->ptr);
	*rest = span_of(at + 1, rest->len - ret_part->len - 1);
	return true;
}

/* Letters, digits and hyphens, with no hyphen at either end. */
static bool is_label(struct span s)
{
	if (s.len == 0 || s.len > LABEL_MAX || s.ptr[0] == '-' || s.ptr[s.len - 1] == '-')
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (!is_alnum(s.ptr[i]) && s.ptr[i] != '-')
			return false;
	return true;
}

static bool is_did_char(uint8_t c)
{
	return is_alnum(c) || c == '.' || c == '_' || c == ':' || c == '%' || c == '-';
}

bool did_is_valid(struct span s)
{
	size_t i = 4;

	if (s.len > LIMIT_DID || !span_starts_with(s, SPAN_LITERAL("did:")))
		return false;
	while (i < s.len && is_lower(s.ptr[i]))
		i++;
	if (i == 4 || i + 1 >= s.len || s.ptr[i] != ':')
		return false;
	for (i++; i < s.len; i++)
		if (!is_did_char(s.ptr[i]))
			return false;
	return s.ptr[s.len - 1] != ':' && s.ptr[s.len - 1] != '%';
}

bool did_is_plc(struct span s)
{
	struct span method = SPAN_LITERAL("did:plc:");

	if (s.len != method.len + PLC_SIZE || !span_starts_with(s, method))
		return false;
	for (size_t i = method.len; i < s.len; i++)
		if (!is_lower(s.ptr[i]) && (s.ptr[i] < '2' || s.ptr[i] > '7'))
			return false;
	return true;
}

static bool is_port(struct span s)
{
	unsigned port = 0;

	if (s.len == 0 || s.len > 5 || s.ptr[0] == '0')
		return false;
	for (size_t i = 0; i < s.len; i++) {
		if (!is_digit(s.ptr[i]))
			return false;
		port = port * 10 + (unsigned)(s.ptr[i] - '0');
	}
	return port <= UINT16_MAX;
}

/* localhost, and what stands under the top-level domain for tests (RFC 6761, sections 6.2 and 6.3):
 * the names that no DNS leads to. */
static bool is_development_name(struct span name)
{
	struct span test = SPAN_LITERAL(".test");

	return span_is(name, "localhost") ||
	       (name.len > test.len && hostname_is_valid(name) &&
		span_equal(span_of(name.ptr + name.len - test.len, test.len), test));
}

bool did_is_web(struct span s)
{
	struct span method = SPAN_LITERAL("did:web:"), port_mark = SPAN_LITERAL("%3A");
	struct span name;
	const uint8_t *mark;
	size_t size;

	if (!span_starts_with(s, method))
		return false;
	name = span_of(s.ptr + method.len, s.len - method.len);
	mark = name.len > 0 ? memmem(name.ptr, name.len, port_mark.ptr, port_mark.len) : NULL;
	if (!mark)
		return span_is(name, "localhost") ||
		       (hostname_is_valid(name) && memchr(name.ptr, '.', name.len));
	size = (size_t)(mark - name.ptr);
	return is_development_name(span_of(name.ptr, size)) &&
	       is_port(span_of(mark + port_mark.len, name.len - size - port_mark.len));
}

/* -1 for what is no character of a TID [TID: base32-sortable]. */
static int tid_value(uint8_t c)
{
	if (c >= '2' && c <= '7')
		return c - '2';
	if (is_lower(c))
		return c - 'a' + 6;
	return -1;
}

bool tid_is_valid(struct span s)
{
	/* 13 characters have 65 bits: the first one holds four. */
	if (s.len != TID_SIZE || tid_value(s.ptr[0]) > 15)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (tid_value(s.ptr[i]) < 0)
			return false;
	return true;
}

uint64_t tid_usec(struct span s)
{
	uint64_t v = 0;

	assert(tid_is_valid(s));
	for (size_t i = 0; i < TID_SIZE; i++)
		v = v << TID_BITS | (uint64_t)tid_value(s.ptr[i]);
	return v >> TID_CLOCK_BITS;
}

void tid_format(uint64_t usec, unsigned clock_id, uint8_t ret[static TID_SIZE])
{
	static const char digits[] = "234567abcdefghijklmnopqrstuvwxyz";
	uint64_t v = (usec << TID_CLOCK_BITS | (clock_id & ((1u << TID_CLOCK_BITS) - 1))) &
		     INT64_MAX;

	for (size_t i = TID_SIZE; i-- > 0; v >>= TID_BITS)
		ret[i] = (uint8_t)digits[v & 31];
}

/* The last segment is a name: letters and digits, a letter first. */
static bool is_nsid_name(struct span s)
{
	if (!is_label(s) || !is_letter(s.ptr[0]))
		return false;
	return !memchr(s.ptr, '-', s.len);
}

/* Only the whole has a limit: the fixtures hold an authority of 283 bytes to be valid. */
bool nsid_is_valid(struct span s)
{
	struct span rest = s, part = SPAN_EMPTY;
	size_t count = 0;

	if (s.len == 0 || s.len > LIMIT_NSID || !is_letter(s.ptr[0]))
		return false;
	for (; next_part(&rest, '.', &part); count++)
		if (!is_label(part))
			return false;
	return count >= NSID_SEGMENTS_MIN && is_nsid_name(part);
}

static bool is_record_key_char(uint8_t c)
{
	return is_alnum(c) || c == '_' || c == '~' || c == '.' || c == ':' || c == '-';
}

bool record_key_is_valid(struct span s)
{
	if (s.len == 0 || s.len > LIMIT_RECORD_KEY || span_is(s, ".") || span_is(s, ".."))
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (!is_record_key_char(s.ptr[i]))
			return false;
	return true;
}

bool repo_path_is_valid(struct span s, struct span *ret_collection)
{
	struct span rest = s, collection;

	/* A record key holds no slash, so that a second one is refused with it. */
	if (s.len == 0 || !next_part(&rest, '/', &collection) || !nsid_is_valid(collection) ||
	    !record_key_is_valid(rest))
		return false;
	if (ret_collection)
		*ret_collection = collection;
	return true;
}

bool handle_is_valid(struct span s)
{
	struct span rest = s, part = SPAN_EMPTY;
	size_t count = 0;

	if (s.len == 0 || s.len > LIMIT_HANDLE)
		return false;
	for (; next_part(&rest, '.', &part); count++)
		if (!is_label(part))
			return false;
	return count >= 2 && is_letter(part.ptr[0]);
}

/* A last label that is a number, decimal or 0x..., makes an address of the name for common
 * resolvers. */
static bool is_number(struct span s)
{
	bool is_hex = s.len >= 2 && s.ptr[0] == '0' && s.ptr[1] == 'x';

	for (size_t i = is_hex ? 2 : 0; i < s.len; i++)
		if (!is_digit(s.ptr[i]) && !(is_hex && s.ptr[i] >= 'a' && s.ptr[i] <= 'f'))
			return false;
	return true;
}

bool hostname_is_valid(struct span s)
{
	struct span rest = s, part = SPAN_EMPTY;

	if (s.len == 0 || s.len > LIMIT_HOSTNAME)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (is_letter(s.ptr[i]) && !is_lower(s.ptr[i]))
			return false;
	while (next_part(&rest, '.', &part))
		if (!is_label(part))
			return false;
	return !is_number(part);
}

struct datetime {
	unsigned year, month, day, hour, minute, second;
	unsigned zone_minutes;
	bool zone_is_east;
};

/* Exactly so many digits. */
static bool get_digits(struct reader *r, size_t count, unsigned *ret)
{
	struct span digits;
	unsigned v = 0;

	if (reader_get_span(r, count, &digits) < 0)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (!is_digit(digits.ptr[i]))
			return false;
		v = v * 10 + (unsigned)(digits.ptr[i] - '0');
	}
	*ret = v;
	return true;
}

static bool get_char(struct reader *r, char c)
{
	if (r->left == 0 || r->ptr[0] != (uint8_t)c)
		return false;
	r->ptr++;
	r->left--;
	return true;
}

static bool get_fraction(struct reader *r)
{
	unsigned digit;

	if (!get_char(r, '.'))
		return true;
	if (!get_digits(r, 1, &digit))
		return false;
	while (r->left > 0 && is_digit(r->ptr[0]))
		if (!get_digits(r, 1, &digit))
			return false;
	return true;
}

static bool get_zone(struct reader *r, struct datetime *ret)
{
	unsigned hours, minutes;

	ret->zone_minutes = 0;
	ret->zone_is_east = true;
	if (get_char(r, 'Z'))
		return true;
	if (!get_char(r, '+')) {
		if (!get_char(r, '-'))
			return false;
		ret->zone_is_east = false;
	}
	if (!get_digits(r, 2, &hours) || !get_char(r, ':') || !get_digits(r, 2, &minutes) ||
	    hours > 23 || minutes > 59)
		return false;
	ret->zone_minutes = hours * 60 + minutes;
	return ret->zone_is_east || ret->zone_minutes > 0;
}

static unsigned days_in_month(unsigned year, unsigned month)
{
	static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return month == 2 && is_leap ? 29 : days[month - 1];
}

/* A time of day and a zone that reach back before the year 0 have no date. */
static bool is_before_year_zero(const struct datetime *d)
{
	return d->year == 0 && d->month == 1 && d->day == 1 && d->zone_is_east &&
	       d->hour * 60 + d->minute < d->zone_minutes;
}

bool datetime_is_valid(struct span s)
{
	struct reader r = reader_of(s);
	struct datetime d;

	if (s.len > LIMIT_DATETIME)
		return false;
	if (!get_digits(&r, 4, &d.year) || !get_char(&r, '-') || !get_digits(&r, 2, &d.month) ||
	    !get_char(&r, '-') || !get_digits(&r, 2, &d.day) || !get_char(&r, 'T'))
		return false;
	if (!get_digits(&r, 2, &d.hour) || !get_char(&r, ':') || !get_digits(&r, 2, &d.minute) ||
	    !get_char(&r, ':') || !get_digits(&r, 2, &d.second))
		return false;
	if (!get_fraction(&r) || !get_zone(&r, &d) || r.left > 0)
		return false;
	if (d.month < 1 || d.month > 12 || d.day < 1 || d.day > days_in_month(d.year, d.month))
		return false;
	return d.hour <= 23 && d.minute <= 59 && d.second <= 59 && !is_before_year_zero(&d);
}
