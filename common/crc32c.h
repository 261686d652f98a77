/* CRC-32C (Castagnoli; RFC 3720 appendix B.4): with the CPU's own instruction where it has one,
 * else by a table. */
#pragma once

#include "common/bytes.h"

/* 0 to begin with; the result of one call goes on in the next. */
uint32_t crc32c(uint32_t crc, struct span s);
/* The same without the CPU's instruction; the tests hold one against the other. */
uint32_t crc32c_table(uint32_t crc, struct span s);
