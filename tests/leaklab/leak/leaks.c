/*
 * Leaks, for the leak lab: linked into a resolver of its own, never into the one that is installed.
 * The linker puts these functions before two of the resolver's (--wrap), whose own sources know
 * nothing of it:
 *
 *	did_document_parse	once a document
 *	trust_apply		once a TLS connection
 *
 * LEAKLAB says which, and how many bytes each time:
 *
 *	document:512		a block is kept of every document
 *	connection:8192		a block is kept of every connection
 *	library:8192		the same, of memory of OpenSSL's, as if it leaked itself
 *	fragments:512		so much is allocated for every document, in blocks of a size that
 *				grows with time, and freed a while later, but for one block in 16
 *
 * The last one fragments the heap, and hardly leaks: what stays is little, and what was freed
 * between it is of no use for blocks of another size.
 */
#include <assert.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/did_document.h"
#include "resolve/trust.h"

/* Those of the linker's making. */
enum did_document_fault __real_did_document_parse(struct span json, struct span did,
						  struct did_document *ret);
enum did_document_fault __wrap_did_document_parse(struct span json, struct span did,
						  struct did_document *ret);
void __real_trust_apply(struct trust *t, void *ssl_ctx);
void __wrap_trust_apply(struct trust *t, void *ssl_ctx);

struct block {
	struct block *next;
};

/* Of jemalloc's small sizes those of which at least 16 stand side by side. */
static const size_t sizes[] = {48,  80,  96,  112, 160, 192,  224, 320,
			       384, 448, 640, 768, 896, 1280, 1792};

#define RING_BYTES  MIB(4) /* of a size before the next one, and freed so much later */
#define RING_BLOCKS 131072 /* of the smallest there are fewer */
#define REMNANT     16

static struct {
	unsigned long document_bytes, connection_bytes, library_bytes, fragment_bytes;
	struct block *kept;
	struct {
		struct block *block;
		size_t size;
	} ring[RING_BLOCKS];
	size_t first, count; /* of the ring */
	size_t ring_bytes, due_bytes, size_bytes;
	uint64_t blocks;
	unsigned size;
} leak;

__attribute__((constructor)) static void read_environment(void)
{
	const char *text = getenv("LEAKLAB");

	if (text && sscanf(text, "document:%lu", &leak.document_bytes) != 1 &&
	    sscanf(text, "connection:%lu", &leak.connection_bytes) != 1 &&
	    sscanf(text, "library:%lu", &leak.library_bytes) != 1 &&
	    sscanf(text, "fragments:%lu", &leak.fragment_bytes) != 1) {
		fprintf(stderr, "LEAKLAB is of no kind: %s\n", text);
		exit(78);
	}
}

/* What was allocated is also written to, as memory that is of use would be. */
static struct block *keep(struct block *b, size_t size)
{
	memset(b, 0x5a, size);
	b->next = leak.kept;
	leak.kept = b;
	return b;
}

__attribute__((noinline)) static void leak_of_each_document(void)
{
	(void)keep(xmalloc(leak.document_bytes), leak.document_bytes);
}

__attribute__((noinline)) static void leak_of_each_connection(void)
{
	(void)keep(xmalloc(leak.connection_bytes), leak.connection_bytes);
}

__attribute__((noinline)) static void leak_of_the_library(void)
{
	struct block *b = OPENSSL_malloc(leak.library_bytes);

	assert(b);
	(void)keep(b, leak.library_bytes);
}

static void free_oldest(void)
{
	struct block *b = leak.ring[leak.first].block;

	leak.ring_bytes -= leak.ring[leak.first].size;
	leak.first = (leak.first + 1) % RING_BLOCKS;
	leak.count--;
	if (++leak.blocks % REMNANT != 0)
		free(b);
	else
		(void)keep(b, sizeof(*b));
}

__attribute__((noinline)) static void fragments_of_each_document(void)
{
	size_t at, size = sizes[leak.size];

	for (leak.due_bytes += leak.fragment_bytes; leak.due_bytes >= size;
	     leak.due_bytes -= size) {
		assert(leak.count < RING_BLOCKS);
		at = (leak.first + leak.count++) % RING_BLOCKS;
		leak.ring[at].block = xmalloc(size);
		leak.ring[at].size = size;
		memset(leak.ring[at].block, 0x5a, size);
		leak.ring_bytes += size;
		leak.size_bytes += size;
		while (leak.ring_bytes > RING_BYTES)
			free_oldest();
	}
	if (leak.size_bytes >= RING_BYTES) {
		leak.size_bytes = 0;
		leak.size = (leak.size + 1) % ARRAY_SIZE(sizes);
	}
}

enum did_document_fault __wrap_did_document_parse(struct span json, struct span did,
						  struct did_document *ret)
{
	if (leak.document_bytes > 0)
		leak_of_each_document();
	if (leak.fragment_bytes > 0)
		fragments_of_each_document();
	return __real_did_document_parse(json, did, ret);
}

void __wrap_trust_apply(struct trust *t, void *ssl_ctx)
{
	if (leak.connection_bytes > 0)
		leak_of_each_connection();
	if (leak.library_bytes > 0)
		leak_of_the_library();
	__real_trust_apply(t, ssl_ctx);
}
