/*
 * Bytes: borrowed (span), owned (buf), and being parsed (reader).
 *
 * A span borrows; whoever made it says until when. A buf owns its memory and never grows past its
 * stated maximum. A reader is the only way in which bytes from outside are parsed: a getter takes
 * all that it names and returns 0, or changes nothing and returns -EBADMSG.
 *
 * Running out of memory ends the process (a stage survives kill -9 anyway); sizes from outside are
 * checked before they get here.
 */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MUST_CHECK   __attribute__((warn_unused_result))
#define PRINTF(f, a) __attribute__((format(printf, f, a)))

#define KIB(n)        ((size_t)(n) << 10)
#define MIB(n)        ((size_t)(n) << 20)
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

struct span {
	const uint8_t *ptr;
	size_t len;
};

#define SPAN_EMPTY      ((struct span){NULL, 0})
/* A span over a string literal, without its NUL. */
#define SPAN_LITERAL(s) ((struct span){(const uint8_t *)(s), sizeof(s) - 1})

/* Borrows. */
static inline struct span span_of(const void *ptr, size_t len)
{
	return (struct span){ptr, len};
}

/* Borrows a C string, without its NUL. */
static inline struct span span_str(const char *s)
{
	return (struct span){(const uint8_t *)s, strlen(s)};
}

static inline bool span_equal(struct span a, struct span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool span_is(struct span a, const char *s)
{
	return span_equal(a, span_str(s));
}

/* Bytewise order, a prefix before what it begins: negative, 0 or positive. */
int span_compare(struct span a, struct span b);
bool span_starts_with(struct span s, struct span prefix);
/* Copies into a C string of size bytes. -EBADMSG if it holds a NUL, -ENOSPC if it does not fit;
 * *ret is untouched then. */
int span_to_str(struct span s, char *ret, size_t size) MUST_CHECK;
/* FNV-1a with a final mix; the same in every process and run (lanes depend on it). */
uint64_t span_hash(struct span s);

struct buf {
	uint8_t *ptr;
	size_t len;
	size_t cap;
	size_t max; /* asserted: checks against limits come before */
};

void buf_init(struct buf *b, size_t max);
void buf_release(struct buf *b);
/* Empties it and keeps the memory. */
void buf_clear(struct buf *b);
/* Empties it, and gives memory above keep bytes back. */
void buf_trim(struct buf *b, size_t keep);
/* Memory for len more bytes. */
void buf_reserve(struct buf *b, size_t len);

/* Room for len more bytes; gives where they go, and counts them in. Borrows until the next change.
 * Inline, as is buf_append: a node of a tree is a hundred short pieces. */
static inline uint8_t *buf_extend(struct buf *b, size_t len)
{
	uint8_t *at;

	if (len > b->cap - b->len || !b->ptr)
		buf_reserve(b, len);
	at = b->ptr + b->len;
	b->len += len;
	return at;
}

static inline void buf_append(struct buf *b, struct span s)
{
	if (s.len > 0)
		memcpy(buf_extend(b, s.len), s.ptr, s.len);
}

void buf_append_str(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *format, ...) PRINTF(2, 3);
/* Takes len bytes off the front. */
void buf_consume(struct buf *b, size_t len);
/* Little-endian. */
void buf_put_u8(struct buf *b, uint8_t v);
void buf_put_u16(struct buf *b, uint16_t v);
void buf_put_u32(struct buf *b, uint32_t v);
void buf_put_u64(struct buf *b, uint64_t v);
/* Borrows until the next change. */
static inline struct span buf_span(const struct buf *b)
{
	return (struct span){b->ptr, b->len};
}

struct reader {
	const uint8_t *ptr;
	size_t left;
};

static inline struct reader reader_of(struct span s)
{
	return (struct reader){s.ptr, s.len};
}

/* Little-endian. */
int reader_get_u8(struct reader *r, uint8_t *ret) MUST_CHECK;
int reader_get_u16(struct reader *r, uint16_t *ret) MUST_CHECK;
int reader_get_u32(struct reader *r, uint32_t *ret) MUST_CHECK;
int reader_get_u64(struct reader *r, uint64_t *ret) MUST_CHECK;
/* Borrows from what the reader reads. Inline, since a reader that stays in registers is much
 * quicker. */
static inline MUST_CHECK int reader_get_span(struct reader *r, size_t len, struct span *ret)
{
	if (len > r->left)
		return -EBADMSG;
	*ret = span_of(r->ptr, len);
	if (len > 0)
		r->ptr += len;
	r->left -= len;
	return 0;
}
/* Unsigned LEB128, at most 9 bytes and in its shortest form (CAR lengths, multicodecs). */
int reader_get_varint(struct reader *r, uint64_t *ret) MUST_CHECK;

/* Memory that is there, or the end of the process. Free with free(). */
void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *ptr, size_t size);
char *xstrdup(const char *s);
