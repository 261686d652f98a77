/*
 * The interop files: JSON, and the JSON form of the data model as DAG-CBOR
 * [data model: JSON representation].
 */
#pragma once

#include <jansson.h>

#include "common/cid.h"

/* A file below test_vectors(), which must not be NULL; ends the process if it is not there or not
 * JSON. Free with json_decref. */
json_t *json_vectors(const char *path);
/* The text of a member that must be there. */
const char *json_get_text(const json_t *object, const char *key);
/* The CID in its text form. */
void json_get_cid(const json_t *text, struct cid *ret);
/* Appends. Standard alphabet, padding not needed. */
void json_base64(const char *text, struct buf *out);
/* Appends the value as DAG-CBOR: {"$link": ...} is a CID, {"$bytes": ...} bytes. Members are put
 * into their order. */
void json_to_cbor(const json_t *value, struct buf *out);
