/*
 * OpenSSL's share of the heap: certificates, TLS contexts and streams, error tables, whoever asked
 * for them (our own code, curl).
 */
#pragma once

#include "common/bytes.h"

/* Before the process's first use of OpenSSL; later calls do nothing. false: OpenSSL was in use, and
 * nothing of it can be counted any more. */
bool openssl_memory_init(void);
/* 0 without openssl_memory_init. arg: not used. */
int64_t openssl_memory_bytes(void *arg);
