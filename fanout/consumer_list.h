/* What the standpipe command shows of consumers: answers to MESSAGE_CONSUMERS, a page at a time. */
#pragma once

#include "common/pipe.h"

#include "fanout/consumers.h"

/* set: struct consumers. r: what follows the message's type. */
void consumer_list_answer(void *set, struct call *call, struct reader *r);
