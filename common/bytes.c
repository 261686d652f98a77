#include "common/bytes.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Smaller allocations are not worth their own round to the allocator. */
#define BUF_FIRST_CAP 64

/* The process manager may start the process again, so the status is "try again". */
#define EXIT_OUT_OF_MEMORY 111

int span_compare(struct span a, struct span b)
{
	size_t common = a.len < b.len ? a.len : b.len;
	int order = common > 0 ? memcmp(a.ptr, b.ptr, common) : 0;

	return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

bool span_starts_with(struct span s, struct span prefix)
{
	return s.len >= prefix.len && span_equal(span_of(s.ptr, prefix.len), prefix);
}

int span_to_str(struct span s, char *ret, size_t size)
{
	if (s.len > 0 && memchr(s.ptr, '\0', s.len))
		return -EBADMSG;
	if (s.len >= size)
		return -ENOSPC;
	if (s.len > 0)
		memcpy(ret, s.ptr, s.len);
	ret[s.len] = '\0';
	return 0;
}

uint64_t span_hash(struct span s)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (size_t i = 0; i < s.len; i++)
		hash = (hash ^ s.ptr[i]) * 0x100000001b3u;
	/* FNV-1a leaves its low bits weak, and lanes are taken from them. */
	hash = (hash ^ (hash >> 33)) * 0xff51afd7ed558ccdu;
	hash = (hash ^ (hash >> 33)) * 0xc4ceb9fe1a85ec53u;
	return hash ^ (hash >> 33);
}

void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){.max = max};
}

void buf_release(struct buf *b)
{
	if (!b)
		return;
	free(b->ptr);
	*b = (struct buf){.max = b->max};
}

void buf_clear(struct buf *b)
{
	b->len = 0;
}

void buf_trim(struct buf *b, size_t keep)
{
	b->len = 0;
	if (b->cap <= keep)
		return;
	free(b->ptr);
	b->ptr = keep > 0 ? xmalloc(keep) : NULL;
	b->cap = keep;
}

void buf_reserve(struct buf *b, size_t len)
{
	size_t need = b->len + len, cap = b->cap > b->max / 2 ? b->max : b->cap * 2;

	assert(len <= b->max - b->len);
	if (b->ptr && need <= b->cap)
		return;
	if (cap < BUF_FIRST_CAP)
		cap = BUF_FIRST_CAP;
	if (cap > b->max)
		cap = b->max;
	if (cap < need)
		cap = need;
	b->ptr = xrealloc(b->ptr, cap);
	b->cap = cap;
}

void buf_append_str(struct buf *b, const char *s)
{
	buf_append(b, span_str(s));
}

void buf_printf(struct buf *b, const char *format, ...)
{
	char line[512], *text = line;
	va_list args, again;
	int len;

	va_start(args, format);
	va_copy(again, args);
	len = vsnprintf(line, sizeof(line), format, args);
	assert(len >= 0);
	if ((size_t)len >= sizeof(line)) {
		text = xmalloc((size_t)len + 1);
		vsnprintf(text, (size_t)len + 1, format, again);
	}
	va_end(again);
	va_end(args);
	buf_append(b, span_of(text, (size_t)len));
	if (text != line)
		free(text);
}

void buf_consume(struct buf *b, size_t len)
{
	assert(len <= b->len);
	b->len -= len;
	if (b->len > 0)
		memmove(b->ptr, b->ptr + len, b->len);
}

static void put_little_endian(struct buf *b, uint64_t v, size_t size)
{
	uint8_t *at = buf_extend(b, size);

	for (size_t i = 0; i < size; i++)
		at[i] = (uint8_t)(v >> (8 * i));
}

void buf_put_u8(struct buf *b, uint8_t v)
{
	*buf_extend(b, 1) = v;
}

void buf_put_u16(struct buf *b, uint16_t v)
{
	put_little_endian(b, v, sizeof(v));
}

void buf_put_u32(struct buf *b, uint32_t v)
{
	put_little_endian(b, v, sizeof(v));
}

void buf_put_u64(struct buf *b, uint64_t v)
{
	put_little_endian(b, v, sizeof(v));
}

static inline int get_little_endian(struct reader *r, uint64_t *ret, size_t size)
{
	uint64_t v = 0;

	if (r->left < size)
		return -EBADMSG;
	for (size_t i = 0; i < size; i++)
		v |= (uint64_t)r->ptr[i] << (8 * i);
	r->ptr += size;
	r->left -= size;
	*ret = v;
	return 0;
}

int reader_get_u8(struct reader *r, uint8_t *ret)
{
	uint64_t v;

	if (get_little_endian(r, &v, sizeof(*ret)) < 0)
		return -EBADMSG;
	*ret = (uint8_t)v;
	return 0;
}

int reader_get_u16(struct reader *r, uint16_t *ret)
{
	uint64_t v;

	if (get_little_endian(r, &v, sizeof(*ret)) < 0)
		return -EBADMSG;
	*ret = (uint16_t)v;
	return 0;
}

int reader_get_u32(struct reader *r, uint32_t *ret)
{
	uint64_t v;

	if (get_little_endian(r, &v, sizeof(*ret)) < 0)
		return -EBADMSG;
	*ret = (uint32_t)v;
	return 0;
}

int reader_get_u64(struct reader *r, uint64_t *ret)
{
	return get_little_endian(r, ret, sizeof(*ret));
}

int reader_get_varint(struct reader *r, uint64_t *ret)
{
	uint64_t v = 0;

	/* Nine bytes hold 63 bits; a tenth would not fit. */
	for (size_t i = 0; i < 9 && i < r->left; i++) {
		uint8_t byte = r->ptr[i];

		v |= (uint64_t)(byte & 0x7f) << (7 * i);
		if (byte & 0x80)
			continue;
		if (byte == 0 && i > 0)
			return -EBADMSG;
		r->ptr += i + 1;
		r->left -= i + 1;
		*ret = v;
		return 0;
	}
	return -EBADMSG;
}

static void *there(void *ptr)
{
	static const char text[] = "<2>out of memory\n";

	if (ptr)
		return ptr;
	(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
	_exit(EXIT_OUT_OF_MEMORY);
}

void *xmalloc(size_t size)
{
	return there(malloc(size > 0 ? size : 1));
}

void *xcalloc(size_t count, size_t size)
{
	return there(count > 0 && size > 0 ? calloc(count, size) : calloc(1, 1));
}

void *xrealloc(void *ptr, size_t size)
{
	return there(realloc(ptr, size > 0 ? size : 1));
}

char *xstrdup(const char *s)
{
	return there(strdup(s));
}
