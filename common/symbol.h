/*
 * Which function of this process an address lies in: read from the symbol tables of the program and
 * its libraries, so that a report is readable without other tools. Static functions are found too,
 * unless the file was stripped; then only what it exports is.
 *
 * The files are mapped when they are first asked for, and until symbols_free. Files of the system
 * are trusted to be what the linker took them for; offsets in them are checked all the same.
 */
#pragma once

#include "common/bytes.h"

struct symbols;

struct symbol {
	char module[64];    /* "standpipe-resolve", "libcurl.so.4"; "?" if the address is in none */
	char function[128]; /* "" if it is in none that the module tells of */
	uint64_t offset_bytes; /* in the function, or in the module */
};

struct symbols *symbols_new(void);
void symbols_free(struct symbols *s);
void symbols_find(struct symbols *s, uint64_t address, struct symbol *ret);
