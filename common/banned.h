/* Forced into every file of ours: functions that have no safe use here. */
#pragma once

/* Their own headers first, so that only our uses are refused. */
#include <alloca.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Some of them are macros of the C library, depending on the compiler. */
#undef alloca
#undef sprintf
#undef strncpy
#undef vsprintf
#pragma GCC poison strcpy strcat sprintf vsprintf strncpy strncat strtok
#pragma GCC poison atoi atol atoll strtol strtoul strtoll strtoull
#pragma GCC poison gets localtime gmtime alloca system
