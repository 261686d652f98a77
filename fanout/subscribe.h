/*
 * com.atproto.sync.subscribeRepos up to the handshake: what is wrong with the request is said in
 * HTTP, before it; what is wrong with the cursor's place is said in the stream [event stream:
 * Streaming]. Any origin is welcome, and no subprotocol is ever agreed on.
 */
#pragma once

#include "fanout/request.h"

void subscribe_answer(struct request *q);
