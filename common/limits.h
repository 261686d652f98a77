/*
 * Every limit on what comes from outside or crosses a pipe, with its origin. [n] is the rule's name
 * in the AT Protocol specifications: sync, event stream (ES), repository, data model, DID, NSID,
 * record key, handle.
 */
#pragma once

#define LIMIT_FRAME         5000000 /* bytes of one event stream frame: "5 MBytes" [sync] */
#define LIMIT_COMMIT_BLOCKS 2000000 /* bytes of #commit blocks [subscribeRepos lexicon] */
#define LIMIT_SYNC_BLOCKS   10000   /* bytes of #sync blocks [subscribeRepos lexicon] */
#define LIMIT_RECORD        1048576 /* bytes of one record block: 1 MiB [data validation] */
#define LIMIT_OPS           200     /* ops of one #commit [subscribeRepos lexicon] */
#define LIMIT_COMMIT_OBJECT 10000   /* bytes of one commit object: no #sync could hold more */

#define LIMIT_CBOR_DEPTH     32     /* nesting [data validation, recommended] */
#define LIMIT_CBOR_CONTAINER 131072 /* entries of a container [data validation, recommended] */
#define LIMIT_CBOR_ITEMS     262144 /* items in one, to bound the work: two full containers */
#define LIMIT_CBOR_KEY       8192   /* bytes of one map key [data validation, recommended] */
#define LIMIT_CBOR_CID       100    /* bytes of one CID [data validation, recommended] */

#define LIMIT_CAR_HEADER  4096  /* bytes; one root takes 58 */
#define LIMIT_CAR_BLOCKS  16384 /* blocks of one CAR: 2,000,000 bytes of the smallest, halved */
#define LIMIT_MST_ENTRIES 8192  /* entries of one node; as deployed relays have it */
#define LIMIT_MST_KEY     1024  /* bytes of one key; a path has at most 830 */
#define LIMIT_MST_DEPTH   128   /* a SHA-256 has 128 pairs of bits */

#define LIMIT_DID            2048 /* bytes [DID] */
#define LIMIT_NSID           317  /* bytes [NSID] */
#define LIMIT_RECORD_KEY     512  /* bytes [record key] */
#define LIMIT_REPO_PATH      (LIMIT_NSID + 1 + LIMIT_RECORD_KEY)
#define LIMIT_HANDLE         253                  /* bytes [handle] */
#define LIMIT_HOSTNAME       253                  /* bytes of a DNS name */
#define LIMIT_HOST           (LIMIT_HOSTNAME + 6) /* name, colon, port */
#define LIMIT_DATETIME       64  /* bytes; as deployed validators have it [lexicon] */
#define LIMIT_ACCOUNT_STATUS 128 /* bytes of #account status; known values have at most 14 */
#define LIMIT_SEQ            ((int64_t)1 << 53) /* first number that is no sequence number [ES] */

#define LIMIT_DID_DOCUMENT 65536 /* bytes of a DID document; real ones have under 2,000 */
#define LIMIT_HTTP_HEAD    8192  /* bytes of the answer to a WebSocket handshake */
#define LIMIT_XRPC_BODY    4096  /* bytes of a request body on the public port */
#define LIMIT_REMOTE       64    /* bytes of a client's address as text; IPv6 and port take 53 */
#define LIMIT_REASON       1024  /* bytes of a reason for people, as one stage tells it another */

#define LIMIT_BATCH_BYTES  131072 /* a batch is sent when it has this many bytes, */
#define LIMIT_BATCH_EVENTS 64     /* or this many events, */
#define LIMIT_BATCH_USEC   2000   /* or when its first event is this old */
/* Bytes of one pipe message: a full batch, and then one more largest frame. */
#define LIMIT_MESSAGE      (8u << 20)
