#include "common/crc32c.h"

/* What four bits leave behind, for the reflected polynomial 0x82f63b78. */
static const uint32_t nibbles[16] = {
	0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
	0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
	0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

uint32_t crc32c_table(uint32_t crc, struct span s)
{
	crc = ~crc;
	for (size_t i = 0; i < s.len; i++) {
		crc ^= s.ptr[i];
		crc = (crc >> 4) ^ nibbles[crc & 15];
		crc = (crc >> 4) ^ nibbles[crc & 15];
	}
	return ~crc;
}

#ifdef __x86_64__

__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc, struct span s)
{
	uint64_t c = (uint32_t)~crc;
	uint64_t word;

	for (; s.len >= sizeof(word); s.ptr += sizeof(word), s.len -= sizeof(word)) {
		memcpy(&word, s.ptr, sizeof(word));
		c = __builtin_ia32_crc32di(c, word);
	}
	for (; s.len > 0; s.ptr++, s.len--)
		c = __builtin_ia32_crc32qi((uint32_t)c, *s.ptr);
	return ~(uint32_t)c;
}

uint32_t crc32c(uint32_t crc, struct span s)
{
	if (__builtin_cpu_supports("sse4.2"))
		return crc32c_sse42(crc, s);
	return crc32c_table(crc, s);
}

#else

uint32_t crc32c(uint32_t crc, struct span s)
{
	return crc32c_table(crc, s);
}

#endif
