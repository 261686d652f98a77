#include "common/sha256_many.h"

#include <endian.h>
#include <stdalign.h>

#if defined(__x86_64__)

#define BLOCK_SIZE      SHA256_BLOCK_SIZE
#define WORDS           16 /* of a block */
#define ROUNDS          64
#define LANES           SHA256_LANES
#define STATE           SHA256_STATE_WORDS
#define TAIL_BLOCKS_MAX 2
/* A longer message is hashed alone, in OpenSSL: not all its states could be kept. */
#define MESSAGE_MAX     (SHA256_TRACE_STEPS * BLOCK_SIZE)

/* One number of each lane. */
typedef uint32_t lanes __attribute__((vector_size(LANES * sizeof(uint32_t))));
typedef uint8_t lane_bytes __attribute__((vector_size(LANES * sizeof(uint32_t))));

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

/* How a processor does it. */
struct way {
	void (*compress)(uint32_t state[][LANES], const uint8_t *const blocks[LANES]);
	size_t alone_max; /* so few messages are faster one after another, in OpenSSL */
};

struct hasher {
	/* Not alignas(lanes): without AVX the compiler takes that for less. */
	alignas(sizeof(lanes)) uint32_t state[STATE][LANES];
	const uint8_t *places[LANES]; /* of the next blocks; an idle lane stays in one place */
	size_t strides[LANES];        /* to the blocks after them */
	uint32_t left[LANES];         /* blocks from there on, one or more; idle: very many */
	uint32_t tail_blocks[LANES];  /* to come after these */
	uint8_t tails[LANES][TAIL_BLOCKS_MAX * BLOCK_SIZE];
	struct sha256_work *work[LANES]; /* NULL: idle */
	struct sha256_work *todo, *end;  /* not begun */
	size_t busy;
	size_t step;
	struct sha256_trace *trace;
	const struct way *way;
};

#define ROTATE(x, n) ((x) >> (n) | (x) << (32 - (n)))

/* Turns rows into columns, by twos, fours and eights. */
#define LOW_1(a, b)  __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13)
#define HIGH_1(a, b) __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15)
#define LOW_2(a, b)  __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13)
#define HIGH_2(a, b) __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15)
#define LOW_4(a, b)  __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11)
#define HIGH_4(a, b) __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15)
#define SWAP_BYTES(v)                                                                              \
	__builtin_shufflevector(v, v, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12, 19,    \
				18, 17, 16, 23, 22, 21, 20, 27, 26, 25, 24, 31, 30, 29, 28)

/* Eight words of the block of each lane, from this byte on. */
static inline __attribute__((always_inline)) void load_words(const uint8_t *const blocks[LANES],
							     size_t from, lanes ret[LANES])
{
	lanes rows[LANES], pairs[LANES], fours[LANES];

	for (size_t i = 0; i < LANES; i++) {
		lane_bytes row;

		memcpy(&row, blocks[i] + from, sizeof(row));
		rows[i] = (lanes)SWAP_BYTES(row);
	}
	for (size_t i = 0; i < LANES; i += 2) {
		pairs[i] = LOW_1(rows[i], rows[i + 1]);
		pairs[i + 1] = HIGH_1(rows[i], rows[i + 1]);
	}
	for (size_t i = 0; i < LANES; i += 4)
		for (size_t j = 0; j < 2; j++) {
			fours[i + 2 * j] = LOW_2(pairs[i + j], pairs[i + j + 2]);
			fours[i + 2 * j + 1] = HIGH_2(pairs[i + j], pairs[i + j + 2]);
		}
	for (size_t i = 0; i < LANES / 2; i++) {
		ret[i] = LOW_4(fours[i], fours[i + LANES / 2]);
		ret[i + LANES / 2] = HIGH_4(fours[i], fours[i + LANES / 2]);
	}
}

/* From the schedule words of sixteen rounds to those of the next [FIPS 180-4, section 6.2.2]. */
static inline __attribute__((always_inline)) void expand(lanes w[WORDS])
{
#pragma GCC unroll 16
	for (size_t i = 0; i < WORDS; i++) {
		lanes x = w[(i + 1) % WORDS], y = w[(i + 14) % WORDS];

		w[i] += (ROTATE(x, 7) ^ ROTATE(x, 18) ^ x >> 3) + w[(i + 9) % WORDS] +
			(ROTATE(y, 17) ^ ROTATE(y, 19) ^ y >> 10);
	}
}

/* One block of each lane. Sixteen rounds are as much code as the processor keeps decoded. */
static inline __attribute__((always_inline)) void compress(uint32_t state[][LANES],
							   const uint8_t *const blocks[LANES])
{
	lanes *s = (lanes *)state, w[WORDS];
	lanes a, b, c, d, e, f, g, h, b_c;

	load_words(blocks, 0, w);
	load_words(blocks, BLOCK_SIZE / 2, w + LANES);
	a = s[0], b = s[1], c = s[2], d = s[3], e = s[4], f = s[5], g = s[6], h = s[7];
	b_c = b ^ c;
#pragma GCC unroll 1
	for (size_t n = 0; n < ROUNDS; n += WORDS) {
		if (n > 0)
			expand(w);
#pragma GCC unroll 16
		for (size_t i = 0; i < WORDS; i++) {
			lanes a_b = a ^ b;
			lanes t1 = h + (ROTATE(e, 6) ^ ROTATE(e, 11) ^ ROTATE(e, 25)) +
				   (g ^ (e & (f ^ g))) + constants[n + i] + w[i];
			/* The majority is b unless a and c differ from it. */
			lanes t2 = (ROTATE(a, 2) ^ ROTATE(a, 13) ^ ROTATE(a, 22)) +
				   (b ^ (a_b & b_c));

			b_c = a_b;
			h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
		}
	}
	s[0] += a, s[1] += b, s[2] += c, s[3] += d, s[4] += e, s[5] += f, s[6] += g, s[7] += h;
}

__attribute__((target("avx2"))) static void compress_avx2(uint32_t state[][LANES],
							  const uint8_t *const blocks[LANES])
{
	compress(state, blocks);
}

/* AVX-512 has rotations and functions of three operands, half as many instructions in all. Its
 * registers must be used no wider than AVX2's: a single move of 64 bytes slows the processor's
 * clock down, and what runs after this, such as the check of the signature, by more than is saved.
 * Such moves are what copying the state with memcpy compiles to. */
__attribute__((target("avx512f,avx512vl"))) static void
compress_avx512vl(uint32_t state[][LANES], const uint8_t *const blocks[LANES])
{
	compress(state, blocks);
}

/* What follows the last whole block: the rest, a 1 bit, zeros, and the length in bits. Gives how
 * many blocks that is. */
static uint32_t fill_tail(struct span message, uint8_t ret[static TAIL_BLOCKS_MAX * BLOCK_SIZE])
{
	const size_t rest = message.len % BLOCK_SIZE;
	const uint64_t bits = htobe64((uint64_t)message.len * 8);
	uint32_t blocks = 1;

	memset(ret, 0, BLOCK_SIZE);
	if (rest + 1 + sizeof(bits) > BLOCK_SIZE) {
		memset(ret + BLOCK_SIZE, 0, BLOCK_SIZE);
		blocks = 2;
	}
	if (rest > 0)
		memcpy(ret, message.ptr + message.len - rest, rest);
	ret[rest] = 0x80;
	memcpy(ret + blocks * BLOCK_SIZE - sizeof(bits), &bits, sizeof(bits));
	return blocks;
}

static void put_digest(const uint32_t state[STATE], uint8_t ret[static SHA256_SIZE])
{
#pragma GCC unroll 8
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

static void make_idle(struct hasher *h, size_t lane)
{
	static const uint8_t nothing[BLOCK_SIZE];

	h->work[lane] = NULL;
	h->places[lane] = nothing;
	h->strides[lane] = 0;
	h->left[lane] = UINT32_MAX;
}

/* After the last whole block; false: the tail was hashed already. */
static bool go_on_with_tail(struct hasher *h, size_t lane)
{
	if (h->tail_blocks[lane] == 0)
		return false;
	h->places[lane] = h->tails[lane];
	h->left[lane] = h->tail_blocks[lane];
	h->tail_blocks[lane] = 0;
	return true;
}

/* Gives the lane the next message that is not too long. */
static void begin(struct hasher *h, size_t lane)
{
	struct sha256_work *work;

	for (; h->todo < h->end && h->todo->message.len > MESSAGE_MAX; h->todo++)
		hash_at_once(h->todo);
	if (h->todo == h->end) {
		make_idle(h, lane);
		return;
	}
	work = h->work[lane] = h->todo++;
	work->step = h->step;
	work->lane = lane;
	h->busy++;
	h->strides[lane] = BLOCK_SIZE;
	h->places[lane] = work->message.ptr;
	h->left[lane] = (uint32_t)(work->message.len / BLOCK_SIZE);
	h->tail_blocks[lane] = fill_tail(work->message, h->tails[lane]);
	if (h->left[lane] == 0)
		go_on_with_tail(h, lane);
#pragma GCC unroll 8
	for (size_t i = 0; i < STATE; i++)
		h->state[i][lane] = initial[i];
}

static void get_state(const uint32_t states[STATE][LANES], size_t lane, uint32_t ret[STATE])
{
#pragma GCC unroll 8
	for (size_t i = 0; i < STATE; i++)
		ret[i] = states[i][lane];
}

static void finish(struct hasher *h, size_t lane)
{
	uint32_t state[STATE];

	get_state(h->state, lane, state);
	put_digest(state, h->work[lane]->digest);
	h->busy--;
	begin(h, lane);
}

/* As many blocks of each lane as they all have in one place. */
static void run(struct hasher *h)
{
	uint32_t count = h->left[0];

	for (size_t i = 1; i < LANES; i++)
		count = h->left[i] < count ? h->left[i] : count;
	for (uint32_t n = 0; n < count; n++, h->step++) {
		h->way->compress(h->state, h->places);
		if (h->step < SHA256_TRACE_STEPS)
			memcpy(h->trace->states[h->step], h->state, sizeof(h->state));
		for (size_t i = 0; i < LANES; i++)
			h->places[i] += h->strides[i];
	}
	for (size_t i = 0; i < LANES; i++)
		h->left[i] -= count;
	for (size_t i = 0; i < LANES; i++)
		if (h->left[i] == 0 && !go_on_with_tail(h, i))
			finish(h, i);
}

static void finish_alone(struct hasher *h, size_t lane)
{
	uint32_t state[STATE];
	size_t n = h->step;

	get_state(h->state, lane, state);
	do {
		for (; h->left[lane] > 0; h->left[lane]--, n++) {
			sha256_compress(state, h->places[lane], 1);
			h->places[lane] += BLOCK_SIZE;
			for (size_t i = 0; n < SHA256_TRACE_STEPS && i < STATE; i++)
				h->trace->states[n][i][lane] = state[i];
		}
	} while (go_on_with_tail(h, lane));
	put_digest(state, h->work[lane]->digest);
}

static void hash(struct hasher *h)
{
	for (size_t i = 0; i < LANES; i++)
		begin(h, i);
	while (h->busy > h->way->alone_max)
		run(h);
	for (size_t i = 0; i < LANES; i++)
		if (h->work[i])
			finish_alone(h, i);
}

/* Best first. */
static const struct way ways[] = {{compress_avx512vl, 1}, {compress_avx2, 2}};

static bool can(const struct way *way)
{
	if (way->compress == compress_avx512vl)
		return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl");
	return __builtin_cpu_supports("avx2");
}

static const struct way *find_way(size_t number)
{
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
		if (can(&ways[i]) && number-- == 0)
			return &ways[i];
	return NULL;
}

bool sha256_many_by(size_t number, struct sha256_work *all, size_t count,
		    struct sha256_trace *ret_trace)
{
	const struct way *way = find_way(number);
	struct hasher h;

	if (!way)
		return false;
	h.todo = all;
	h.end = all + count;
	h.busy = h.step = 0;
	h.trace = ret_trace;
	h.way = way;
	hash(&h);
	return true;
}

void sha256_many(struct sha256_work *all, size_t count, struct sha256_trace *ret_trace)
{
	if (count > 1 && sha256_many_by(0, all, count, ret_trace))
		return;
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
	uint8_t tail[TAIL_BLOCKS_MAX * BLOCK_SIZE];
	uint32_t state[STATE];

	if (shared == 0) {
		sha256(message, ret_digest);
		return;
	}
	get_state(trace->states[like->step + shared - 1], like->lane, state);
	sha256_compress(state, message.ptr + shared * BLOCK_SIZE,
			message.len / BLOCK_SIZE - shared);
	sha256_compress(state, tail, fill_tail(message, tail));
	put_digest(state, ret_digest);
}

#else

bool sha256_many_by(size_t number, struct sha256_work *all, size_t count,
		    struct sha256_trace *ret_trace)
{
	(void)number, (void)all, (void)count, (void)ret_trace;
	return false;
}

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
