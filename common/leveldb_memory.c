#include "common/leveldb_memory.h"

#include "common/held.h"

#if defined(__SANITIZE_ADDRESS__)
#define HAS_OPERATORS 0
#elif defined(__has_feature)
#define HAS_OPERATORS !__has_feature(address_sanitizer)
#else
#define HAS_OPERATORS 1
#endif

#if HAS_OPERATORS
static struct held held;

/* The names that C++ gives to new, new[], delete and delete[]: all that LevelDB and snappy use. */
void *operator_new(size_t size) __asm__("_Znwm");
void *operator_new_array(size_t size) __asm__("_Znam");
void operator_delete(void *ptr) __asm__("_ZdlPv");
void operator_delete_array(void *ptr) __asm__("_ZdaPv");
/* With the size, as newer compilers call them. */
void operator_delete_sized(void *ptr, size_t size) __asm__("_ZdlPvm");
void operator_delete_array_sized(void *ptr, size_t size) __asm__("_ZdaPvm");

void *operator_new(size_t size)
{
	return held_malloc(&held, size);
}

void *operator_new_array(size_t size)
{
	return held_malloc(&held, size);
}

void operator_delete(void *ptr)
{
	held_free(&held, ptr);
}

void operator_delete_array(void *ptr)
{
	held_free(&held, ptr);
}

void operator_delete_sized(void *ptr, size_t size)
{
	(void)size;
	held_free(&held, ptr);
}

void operator_delete_array_sized(void *ptr, size_t size)
{
	(void)size;
	held_free(&held, ptr);
}

int64_t leveldb_memory_bytes(void)
{
	return held_bytes(&held);
}
#else
int64_t leveldb_memory_bytes(void)
{
	return -1;
}
#endif
