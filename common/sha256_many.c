#include "common/sha256_many.h"

#include <endian.h>
#include <stdalign.h>

#if defined(__x86_64__)

#define BLOCK_SIZE  SHA256_BLOCK_SIZE
#define WORDS       16 /* of a block */
#define ROUNDS      64
#define LANES       SHA256_LANES
#define STATE       SHA256_STATE_WORDS
/* So few messages are faster one after another, in OpenSSL, */
#define ALONE_MAX   2
/* and so is a longer one, of which not all states could be kept. */
#define MESSAGE_MAX (SHA256_TRACE_STEPS * BLOCK_SIZE)

/* One number of each lane. */
typedef uint32_t lanes __attribute__((vector_size(LANES * sizeof(uint32_t))));

/* [FIPS 180-4, sections 4.2.2 and 5.3.3] */
static const uint32_t constants[ROUNDS] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
	0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
	0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
	0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
	0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
	0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
	0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
	0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
	0xc67178f2,
};
static const uint32_t initial[STATE] = {
	0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
	0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

struct lane {
	struct sha256_work *work; /* NULL: idle */
	const uint8_t *next;      /* block; of the message, then of the tail */
	size_t left;              /* blocks there */
	size_t tail_blocks;       /* still to come after these */
	uint8_t tail[2 * BLOCK_SIZE];
};

struct hasher {
	alignas(lanes) uint32_t state[STATE][LANES];
	struct lane lanes[LANES];
	struct sha256_work *todo;
	size_t todo_count;
	size_t busy;
	size_t step;
	struct sha256_trace *trace;
};

#define ROTATE(x, n) ((x) >> (n) | (x) << (32 - (n)))

/* The schedule word of a round from 16 on [FIPS 180-4, section 6.2.2]; w holds the last 16. */
#define EXPAND(w, i)                                                                               \
	((w)[(i)&15] += (ROTATE((w)[((i)-15) & 15], 7) ^ ROTATE((w)[((i)-15) & 15], 18) ^          \
			 (w)[((i)-15) & 15] >> 3) +                                                \
			(w)[((i)-7) & 15] +                                                        \
			(ROTATE((w)[((i)-2) & 15], 17) ^ ROTATE((w)[((i)-2) & 15], 19) ^           \
			 (w)[((i)-2) & 15] >> 10))

/* One block of each lane. Not with AVX-512: it is somewhat
 * faster, and what runs after it slower by more than that, as measured on a commit's signature. */
__attribute__((target("avx2"))) static void compress(uint32_t state[][LANES],
						     const uint8_t *const blocks[LANES])
{
	alignas(lanes) uint32_t words[WORDS][LANES];
	lanes w[WORDS], s[STATE];
	lanes a, b, c, d, e, f, g, h;

	for (size_t l = 0; l < LANES; l++)
		for (size_t i = 0; i < WORDS; i++) {
			uint32_t word;

			memcpy(&word, blocks[l] + i * sizeof(word), sizeof(word));
			words[i][l] = be32toh(word);
		}
	memcpy(w, words, sizeof(w));
	memcpy(s, state, sizeof(s));
	a = s[0], b = s[1], c = s[2], d = s[3], e = s[4], f = s[5], g = s[6], h = s[7];
#pragma GCC unroll 64
	for (size_t i = 0; i < ROUNDS; i++) {
		lanes t1 = h + (ROTATE(e, 6) ^ ROTATE(e, 11) ^ ROTATE(e, 25)) +
			   ((e & f) ^ (~e & g)) + constants[i] + (i < WORDS ? w[i] : EXPAND(w, i));
		lanes t2 = (ROTATE(a, 2) ^ ROTATE(a, 13) ^ ROTATE(a, 22)) +
			   ((a & b) | (c & (a | b)));

		h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
	}
	s[0] += a, s[1] += b, s[2] += c, s[3] += d, s[4] += e, s[5] += f, s[6] += g, s[7] += h;
	memcpy(state, s, sizeof(s));
}

/* What follows the last whole block: the rest, a 1 bit, zeros, and the length in bits. */
static void fill_tail(struct lane *l, struct span message)
{
	size_t rest = message.len % BLOCK_SIZE;
	uint64_t bits = htobe64((uint64_t)message.len * 8);
	size_t end;

	l->tail_blocks = rest + 1 + sizeof(bits) <= BLOCK_SIZE ? 1 : 2;
	end = l->tail_blocks * BLOCK_SIZE;
	memset(l->tail, 0, end);
	if (rest > 0)
		memcpy(l->tail, message.ptr + message.len - rest, rest);
	l->tail[rest] = 0x80;
	memcpy(l->tail + end - sizeof(bits), &bits, sizeof(bits));
}

static void start(struct lane *l, struct span message)
{
	l->next = message.ptr;
	l->left = message.len / BLOCK_SIZE;
	fill_tail(l, message);
}

static bool is_done(const struct lane *l)
{
	return l->left + l->tail_blocks == 0;
}

static const uint8_t *next_block(struct lane *l)
{
	const uint8_t *block;

	if (l->left == 0) {
		l->next = l->tail;
		l->left = l->tail_blocks;
		l->tail_blocks = 0;
	}
	block = l->next;
	l->next += BLOCK_SIZE;
	l->left--;
	return block;
}

static void put_digest(const uint32_t state[STATE], uint8_t ret[static SHA256_SIZE])
{
	for (size_t i = 0; i < STATE; i++) {
		uint32_t word = htobe32(state[i]);

		memcpy(ret + i * sizeof(word), &word, sizeof(word));
	}
}

/* No state of it is kept. */
static void hash_at_once(struct sha256_work *work)
{
	sha256(work->message, work->digest);
	work->step = SHA256_TRACE_STEPS;
}

/* Gives the lane the next message that is not too long. */
static void begin(struct hasher *h, size_t number)
{
	struct lane *l = &h->lanes[number];

	l->work = NULL;
	for (; h->todo_count > 0 && h->todo->message.len > MESSAGE_MAX; h->todo++, h->todo_count--)
		hash_at_once(h->todo);
	if (h->todo_count == 0)
		return;
	l->work = h->todo++;
	l->work->step = h->step;
	l->work->lane = number;
	h->todo_count--;
	h->busy++;
	start(l, l->work->message);
	for (size_t i = 0; i < STATE; i++)
		h->state[i][number] = initial[i];
}

static void get_state(const uint32_t states[STATE][LANES], size_t number, uint32_t ret[STATE])
{
	for (size_t i = 0; i < STATE; i++)
		ret[i] = states[i][number];
}

static void finish(struct hasher *h, size_t number)
{
	uint32_t state[STATE];

	get_state(h->state, number, state);
	put_digest(state, h->lanes[number].work->digest);
	h->busy--;
	begin(h, number);
}

/* One block of each lane. */
static void step(struct hasher *h)
{
	static const uint8_t idle[BLOCK_SIZE];
	const uint8_t *blocks[LANES];

	for (size_t i = 0; i < LANES; i++)
		blocks[i] = h->lanes[i].work ? next_block(&h->lanes[i]) : idle;
	compress(h->state, blocks);
	if (h->step < SHA256_TRACE_STEPS)
		memcpy(h->trace->states[h->step], h->state, sizeof(h->state));
	h->step++;
	for (size_t i = 0; i < LANES; i++)
		if (h->lanes[i].work && is_done(&h->lanes[i]))
			finish(h, i);
}

static void finish_alone(struct hasher *h, size_t number)
{
	struct lane *l = &h->lanes[number];
	uint32_t state[STATE];

	get_state(h->state, number, state);
	for (size_t n = h->step; !is_done(l); n++) {
		sha256_compress(state, next_block(l));
		for (size_t i = 0; n < SHA256_TRACE_STEPS && i < STATE; i++)
			h->trace->states[n][i][number] = state[i];
	}
	put_digest(state, l->work->digest);
}

static void hash(struct hasher *h)
{
	for (size_t i = 0; i < LANES; i++)
		begin(h, i);
	while (h->busy > ALONE_MAX)
		step(h);
	for (size_t i = 0; i < LANES; i++)
		if (h->lanes[i].work)
			finish_alone(h, i);
}

void sha256_many(struct sha256_work *all, size_t count, struct sha256_trace *ret_trace)
{
	struct hasher h;

	if (count > 1 && __builtin_cpu_supports("avx2")) {
		h.todo = all;
		h.todo_count = count;
		h.busy = h.step = 0;
		h.trace = ret_trace;
		hash(&h);
		return;
	}
	for (size_t i = 0; i < count; i++)
		hash_at_once(&all[i]);
}

/* Whole blocks that both begin with, and after each of which the state was kept. */
static size_t shared_blocks(const struct sha256_work *like, struct span message)
{
	const struct span other = like->message;
	size_t n = 0, max = (other.len < message.len ? other.len : message.len) / BLOCK_SIZE;

	if (max > SHA256_TRACE_STEPS - like->step)
		max = SHA256_TRACE_STEPS - like->step;
	while (n < max &&
	       memcmp(other.ptr + n * BLOCK_SIZE, message.ptr + n * BLOCK_SIZE, BLOCK_SIZE) == 0)
		n++;
	return n;
}

void sha256_like(const struct sha256_work *like, const struct sha256_trace *trace,
		 struct span message, uint8_t ret_digest[static SHA256_SIZE])
{
	size_t shared = like && like->step < SHA256_TRACE_STEPS ? shared_blocks(like, message) : 0;
	uint32_t state[STATE];
	struct lane l;

	if (shared == 0) {
		sha256(message, ret_digest);
		return;
	}
	get_state(trace->states[like->step + shared - 1], like->lane, state);
	start(&l, message);
	l.next += shared * BLOCK_SIZE;
	l.left -= shared;
	while (!is_done(&l))
		sha256_compress(state, next_block(&l));
	put_digest(state, ret_digest);
}

#else

void sha256_many(struct sha256_work *all, size_t count, struct sha256_trace *ret_trace)
{
	(void)ret_trace;
	for (size_t i = 0; i < count; i++)
		sha256(all[i].message, all[i].digest);
}

void sha256_like(const struct sha256_work *like, const struct sha256_trace *trace,
		 struct span message, uint8_t ret_digest[static SHA256_SIZE])
{
	(void)like, (void)trace;
	sha256(message, ret_digest);
}

#endif
