#include "tests/simnet/world.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include <openssl/ec.h>
#include <openssl/obj_mac.h>
#include <secp256k1.h>

#include "tests/lib/random.h"

#define HOST_MAX    60000
#define ACCOUNT_MAX (1u << 30)
#define DOMAIN      "sim.test"

#define ADDRESS_BASE      0x7f4d0000u /* 127.77.0.0 */
#define ADDRESS_DIRECTORY (ADDRESS_BASE | 0xfffe)

/* Nine accounts in ten are on the big hosts. */
#define BIG_SHARE 9
#define ALL_SHARE 10

/* Text after "did:plc:": 24 characters of 5 bits, and the bytes in them. */
#define PLC_TEXT_SIZE 24
#define PLC_SIZE      15

#define UNCOMPRESSED_SIZE 65
#define BASE58_MAX        90 /* digits of 65 bytes, and a NUL */

/* An account whose document is not as it was at the beginning. */
struct change {
	bool is_used;
	uint32_t account;
	struct world_identity identity;
};

struct world {
	struct world_settings settings;
	struct change *changes; /* open addressing; cap is a power of two */
	size_t change_count, change_cap;
};

/* What a random number is for: each purpose has a sequence of its own. */
enum purpose {
	PURPOSE_DID = 1,
	PURPOSE_DID_MORE,
	PURPOSE_MASK,
	PURPOSE_CURVE,
	PURPOSE_WEB,
	PURPOSE_LEGACY
};

struct world *world_new(const struct world_settings *s)
{
	struct world *w = xcalloc(1, sizeof(*w));

	assert(s->hosts > 0 && s->hosts <= HOST_MAX && s->accounts <= ACCOUNT_MAX);
	w->settings = *s;
	return w;
}

void world_free(struct world *w)
{
	if (!w)
		return;
	free(w->changes);
	free(w);
}

const struct world_settings *world_settings(const struct world *w)
{
	return &w->settings;
}

static uint64_t random_of(const struct world *w, enum purpose purpose, uint64_t number)
{
	return random_mix(random_mix(w->settings.seed + (uint64_t)purpose * 0x9e3779b97f4a7c15u) +
			  number);
}

static bool is_among(const struct world *w, enum purpose purpose, uint32_t account,
		     unsigned percent)
{
	return random_of(w, purpose, account) % 100 < percent;
}

/* Hosts. */

const char *world_host_name(const struct world *w, uint32_t host, char ret[static LIMIT_HOST + 1])
{
	assert(host < w->settings.hosts);
	snprintf(ret, LIMIT_HOST + 1, "h%05" PRIu32 "." DOMAIN ":%u", host, w->settings.port);
	return ret;
}

const char *world_directory_name(const struct world *w, char ret[static LIMIT_HOST + 1])
{
	snprintf(ret, LIMIT_HOST + 1, "plc." DOMAIN ":%u", w->settings.port);
	return ret;
}

int world_find_host(const struct world *w, struct span name, uint32_t *ret)
{
	char text[LIMIT_HOST + 1], again[LIMIT_HOST + 1];
	uint32_t host;

	if (span_to_str(name, text, sizeof(text)) < 0 || sscanf(text, "h%5" SCNu32, &host) != 1 ||
	    host >= w->settings.hosts)
		return -ENOENT;
	*strchr(world_host_name(w, host, again), ':') = '\0';
	if (strcmp(text, again) != 0)
		return -ENOENT;
	*ret = host;
	return 0;
}

static struct in_addr address_of(uint32_t number)
{
	return (struct in_addr){htonl(number)};
}

struct in_addr world_address(const struct world *w, uint32_t host)
{
	assert(host < w->settings.hosts);
	return address_of(ADDRESS_BASE + 1 + host);
}

struct in_addr world_directory_address(const struct world *w)
{
	(void)w;
	return address_of(ADDRESS_DIRECTORY);
}

/* Where the account begins. */
static uint32_t first_host(const struct world *w, uint32_t account)
{
	const struct world_settings *s = &w->settings;
	uint32_t group = account / ALL_SHARE, place = account % ALL_SHARE;

	if (s->big_hosts == 0 || s->big_hosts >= s->hosts)
		return account % s->hosts;
	if (place >= BIG_SHARE)
		return s->big_hosts + group % (s->hosts - s->big_hosts);
	return (group * BIG_SHARE + place) % s->big_hosts;
}

/* DIDs. */

static bool has_web(const struct world *w, uint32_t account)
{
	return is_among(w, PURPOSE_WEB, account, w->settings.web_percent);
}

static void web_name(uint32_t account, char ret[static LIMIT_HOSTNAME + 1])
{
	snprintf(ret, LIMIT_HOSTNAME + 1, "w%07" PRIu32 "." DOMAIN, account);
}

static void put_address(const char *name, struct in_addr address, struct buf *b)
{
	uint32_t a = ntohl(address.s_addr);

	buf_printf(b, "%u.%u.%u.%u %s\n", a >> 24, a >> 16 & 255, a >> 8 & 255, a & 255, name);
}

void world_hosts_file(const struct world *w, struct buf *b)
{
	char name[LIMIT_HOST + 1];

	put_address("plc." DOMAIN, world_directory_address(w), b);
	for (uint32_t i = 0; i < w->settings.hosts; i++) {
		*strchr(world_host_name(w, i, name), ':') = '\0';
		put_address(name, world_address(w, i), b);
	}
	for (uint32_t i = 0; w->settings.web_percent > 0 && i < w->settings.accounts; i++) {
		if (!has_web(w, i))
			continue;
		web_name(i, name);
		put_address(name, world_address(w, first_host(w, i)), b);
	}
}

/* Check bits that follow from the number, and the number under a mask that follows from them. */
static void plc_bytes(const struct world *w, uint32_t account, uint8_t ret[static PLC_SIZE])
{
	uint64_t check = random_of(w, PURPOSE_DID, account);
	uint64_t more = random_of(w, PURPOSE_DID_MORE, account);
	uint32_t number = account ^ (uint32_t)random_of(w, PURPOSE_MASK, check);

	memcpy(ret, &number, sizeof(number));
	memcpy(ret + sizeof(number), &check, sizeof(check));
	memcpy(ret + sizeof(number) + sizeof(check), &more,
	       PLC_SIZE - sizeof(number) - sizeof(check));
}

static const char base32[] = "abcdefghijklmnopqrstuvwxyz234567";

static void put_base32(const uint8_t bytes[static PLC_SIZE], char ret[static PLC_TEXT_SIZE])
{
	for (size_t i = 0; i < PLC_TEXT_SIZE; i++) {
		size_t at = 5 * i / 8, shift = 5 * i % 8;
		unsigned pair = (unsigned)bytes[at] << 8 | (at + 1 < PLC_SIZE ? bytes[at + 1] : 0);

		ret[i] = base32[pair >> (11 - shift) & 31];
	}
}

static int get_base32(struct span text, uint8_t ret[static PLC_SIZE])
{
	unsigned bits = 0, bit_count = 0;
	size_t at = 0;

	if (text.len != PLC_TEXT_SIZE)
		return -ENOENT;
	for (size_t i = 0; i < text.len; i++) {
		const char *digit = memchr(base32, text.ptr[i], sizeof(base32) - 1);

		if (!digit)
			return -ENOENT;
		bits = bits << 5 | (unsigned)(digit - base32);
		bit_count += 5;
		if (bit_count >= 8) {
			bit_count -= 8;
			ret[at++] = (uint8_t)(bits >> bit_count);
		}
	}
	return 0;
}

const char *world_did(const struct world *w, uint32_t account, char ret[static LIMIT_DID + 1])
{
	uint8_t bytes[PLC_SIZE];
	char text[LIMIT_HOSTNAME + 1];

	assert(account < w->settings.accounts);
	if (has_web(w, account)) {
		web_name(account, text);
		snprintf(ret, LIMIT_DID + 1, "did:web:%s%%3A%u", text, w->settings.port);
		return ret;
	}
	plc_bytes(w, account, bytes);
	put_base32(bytes, text);
	snprintf(ret, LIMIT_DID + 1, "did:plc:%.*s", PLC_TEXT_SIZE, text);
	return ret;
}

/* The number that the DID holds, whether or not the DID is right. */
static int number_in(const struct world *w, struct span did, uint32_t *ret)
{
	struct span plc = SPAN_LITERAL("did:plc:");
	uint8_t bytes[PLC_SIZE];
	char text[64];
	uint64_t check;

	if (!span_starts_with(did, plc)) {
		if (span_to_str(did, text, sizeof(text)) < 0)
			return -ENOENT;
		return sscanf(text, "did:web:w%10" SCNu32, ret) == 1 ? 0 : -ENOENT;
	}
	if (get_base32(span_of(did.ptr + plc.len, did.len - plc.len), bytes) < 0)
		return -ENOENT;
	memcpy(ret, bytes, sizeof(*ret));
	memcpy(&check, bytes + sizeof(*ret), sizeof(check));
	*ret ^= (uint32_t)random_of(w, PURPOSE_MASK, check);
	return 0;
}

int world_find(const struct world *w, struct span did, uint32_t *ret_account)
{
	char again[LIMIT_DID + 1];
	uint32_t account;

	if (number_in(w, did, &account) < 0 || account >= w->settings.accounts ||
	    !span_is(did, world_did(w, account, again)))
		return -ENOENT;
	*ret_account = account;
	return 0;
}

const char *world_handle(const struct world *w, uint32_t account, uint32_t number,
			 char ret[static LIMIT_HANDLE + 1])
{
	assert(account < w->settings.accounts);
	if (number > 0)
		snprintf(ret, LIMIT_HANDLE + 1, "user%07" PRIu32 "-%" PRIu32 "." DOMAIN, account,
			 number);
	else
		snprintf(ret, LIMIT_HANDLE + 1, "user%07" PRIu32 "." DOMAIN, account);
	return ret;
}

/* Identities. */

/* The account's place, or the empty one where it would be. */
static struct change *find_change(const struct world *w, uint32_t account)
{
	size_t at = random_mix(account) & (w->change_cap - 1);

	while (w->changes[at].is_used && w->changes[at].account != account)
		at = (at + 1) & (w->change_cap - 1);
	return &w->changes[at];
}

static void grow_changes(struct world *w)
{
	struct change *old = w->changes;
	size_t old_cap = w->change_cap;

	w->change_cap = old_cap ? 2 * old_cap : 64;
	w->changes = xcalloc(w->change_cap, sizeof(*w->changes));
	for (size_t i = 0; i < old_cap; i++)
		if (old[i].is_used)
			*find_change(w, old[i].account) = old[i];
	free(old);
}

void world_identity(const struct world *w, uint32_t account, struct world_identity *ret)
{
	assert(account < w->settings.accounts);
	if (w->change_cap > 0) {
		const struct change *c = find_change(w, account);

		if (c->is_used) {
			*ret = c->identity;
			return;
		}
	}
	*ret = (struct world_identity){.host = first_host(w, account)};
}

void world_change(struct world *w, uint32_t account, const struct world_identity *i)
{
	struct change *c;

	assert(account < w->settings.accounts && i->host < w->settings.hosts);
	if (4 * (w->change_count + 1) > 3 * w->change_cap)
		grow_changes(w);
	c = find_change(w, account);
	w->change_count += !c->is_used;
	*c = (struct change){true, account, *i};
}

enum curve world_curve(const struct world *w, uint32_t account)
{
	return is_among(w, PURPOSE_CURVE, account, w->settings.p256_percent) ? CURVE_P256
									     : CURVE_K256;
}

void world_key(const struct world *w, uint32_t account, uint32_t key, struct test_key *ret)
{
	char seed[64];

	snprintf(seed, sizeof(seed), "%" PRIx64 "/%" PRIu32 "/%" PRIu32, w->settings.seed, account,
		 key);
	test_key_make(world_curve(w, account), seed, ret);
}

/* Documents. */

static void uncompress_k256(const struct public_key *key, uint8_t ret[static UNCOMPRESSED_SIZE])
{
	secp256k1_pubkey point;
	size_t size = UNCOMPRESSED_SIZE;
	int ok = secp256k1_ec_pubkey_parse(secp256k1_context_static, &point, key->point,
					   PUBLIC_KEY_SIZE);

	assert(ok);
	secp256k1_ec_pubkey_serialize(secp256k1_context_static, ret, &size, &point,
				      SECP256K1_EC_UNCOMPRESSED);
}

static void uncompress_p256(const struct public_key *key, uint8_t ret[static UNCOMPRESSED_SIZE])
{
	EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	EC_POINT *point = EC_POINT_new(group);
	size_t size = 0;

	if (EC_POINT_oct2point(group, point, key->point, PUBLIC_KEY_SIZE, NULL))
		size = EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, ret,
					  UNCOMPRESSED_SIZE, NULL);
	assert(size == UNCOMPRESSED_SIZE);
	EC_POINT_free(point);
	EC_GROUP_free(group);
}

/* Multibase base58btc of a point, whose first byte is not zero; by long division. */
static void put_base58(uint8_t bytes[static UNCOMPRESSED_SIZE], struct buf *b)
{
	static const char digits[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
	char text[BASE58_MAX] = "";
	size_t at = BASE58_MAX - 1, zeros = 0;

	while (zeros < UNCOMPRESSED_SIZE) {
		unsigned rest = 0;

		for (size_t i = zeros; i < UNCOMPRESSED_SIZE; i++) {
			rest = rest << 8 | bytes[i];
			bytes[i] = (uint8_t)(rest / 58);
			rest %= 58;
		}
		text[--at] = digits[rest];
		while (zeros < UNCOMPRESSED_SIZE && bytes[zeros] == 0)
			zeros++;
	}
	buf_printf(b, "z%s", text + at);
}

/* The form before Multikey: the curve in the type, the bare point [DID: public key encoding]. */
static void put_legacy_method(const char *did, const struct public_key *key, struct buf *b)
{
	uint8_t point[UNCOMPRESSED_SIZE];
	const char *type = "EcdsaSecp256k1VerificationKey2019";

	if (key->curve == CURVE_K256) {
		uncompress_k256(key, point);
	} else {
		uncompress_p256(key, point);
		type = "EcdsaSecp256r1VerificationKey2019";
	}
	buf_printf(b,
		   "{\"id\":\"#atproto\",\"type\":\"%s\",\"controller\":\"%s\","
		   "\"publicKeyMultibase\":\"",
		   type, did);
	put_base58(point, b);
	buf_append_str(b, "\"}");
}

static void put_method(const char *did, const struct public_key *key, struct buf *b)
{
	buf_printf(b,
		   "{\"id\":\"%s#atproto\",\"type\":\"Multikey\",\"controller\":\"%s\","
		   "\"publicKeyMultibase\":\"",
		   did, did);
	multikey_format(key, b);
	buf_append_str(b, "\"}");
}

void world_document(const struct world *w, uint32_t account, struct buf *b)
{
	char did[LIMIT_DID + 1], handle[LIMIT_HANDLE + 1], host[LIMIT_HOST + 1];
	struct world_identity identity;
	struct test_key key;

	world_identity(w, account, &identity);
	world_did(w, account, did);
	world_handle(w, account, identity.handle, handle);
	world_host_name(w, identity.host, host);
	world_key(w, account, identity.key, &key);
	buf_printf(b,
		   "{\"@context\":[\"https://www.w3.org/ns/did/v1\"],\"id\":\"%s\","
		   "\"alsoKnownAs\":[\"at://%s\"],\"verificationMethod\":[",
		   did, handle);
	if (identity.state != WORLD_IDENTITY_NO_KEY) {
		if (is_among(w, PURPOSE_LEGACY, account, w->settings.legacy_percent))
			put_legacy_method(did, &key.public, b);
		else
			put_method(did, &key.public, b);
	}
	buf_append_str(b, "],\"service\":[");
	if (identity.state != WORLD_IDENTITY_NO_PDS)
		buf_printf(b,
			   "{\"id\":\"#atproto_pds\",\"type\":\"AtprotoPersonalDataServer\","
			   "\"serviceEndpoint\":\"%s://%s\"}",
			   w->settings.plain ? "http" : "https", host);
	buf_append_str(b, "]}");
}
