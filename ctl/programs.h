/*
 * Where the stages' programs are: beside this one (in the build folder), or in ../libexec/standpipe
 * (installed).
 */
#pragma once

#include <limits.h>

#include "common/bytes.h"

#define PROGRAMS_DIR_SIZE (PATH_MAX + 32)

/* Their folder. -ENOENT if they are in neither place. */
int programs_find(char ret[static PROGRAMS_DIR_SIZE]) MUST_CHECK;
